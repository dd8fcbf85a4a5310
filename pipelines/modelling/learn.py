"""Learning how ordinary prompts are written, and what tells work lists from them.

Of each key and file the first hundred different prompts count, so that no customer's template
becomes the measure of all. What is kept are means and directions (`prompts/content_model.py`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec

from monitor.config import Settings
from monitor.errors import InputError
from monitor.prompts.content_model import Content, load_content, write_content
from monitor.prompts.extractor import Extractor
from monitor.prompts.normalise import join
from monitor.prompts.projection import LISTS
from monitor.requests.decoder import Decoder
from pipelines.modelling.fit_content import LEAST, Written, fit
from pipelines.traffic.files import LineFile, Progress, no_progress

OF_A_KEY = 100
_BATCH = 2_000


def learn(
    files: list[str],
    lists: list[str],
    settings: Settings,
    out: Path,
    *,
    source: str,
    progress: Progress = no_progress,
) -> tuple[int, int]:
    """Write a content model; returns how many ordinary and how many listed prompts it is from.

    Args:
        files: each a recording of ordinary traffic.
        lists: files of prompts off work lists, named after LISTS; or none.
        source: where all of it is from, for whoever reads the file.
    """
    named = {Path(name).name.partition(".")[0]: name for name in lists}
    if named and set(named) != set(LISTS):
        raise InputError(
            f"There must be a file for each kind of work list or none at all: name "
            f"{', '.join(f'{kind}.jsonl' for kind in LISTS)}."
        )
    ordinary = _ordinary(files, settings, progress)
    listed = {kind: _listed(named[kind]) for kind in named}
    _enough("ordinary traffic", ordinary, 10 * LEAST)
    for kind, prompts in listed.items():
        _enough(named[kind], prompts, LEAST)
    before = Content.none() if listed else load_content(settings.content)
    parts = {kind: written(prompts) for kind, prompts in listed.items()}
    model = fit(written(ordinary), parts, before)
    counts = {kind: len(prompts) for kind, prompts in listed.items()}
    notes = {"from": source, "ordinary_prompts": len(ordinary), "listed_prompts": counts}
    try:
        out.write_bytes(write_content(model, **notes))
    except OSError as error:
        raise InputError(
            f"{out} cannot be written ({error.strerror}): name another file with --out."
        ) from error
    return len(ordinary), sum(counts.values())


def written(prompts: Sequence[str]) -> Written:
    """How prompts are written. Neither the secret nor a content model matters to that."""
    extractor = Extractor(0, Content.none())
    batches = (prompts[i : i + _BATCH] for i in range(0, len(prompts), _BATCH))
    return Written.of([extractor(join(batch)) for batch in batches])


def _ordinary(files: list[str], settings: Settings, progress: Progress) -> list[str]:
    """Different prompts of requests, the first of each key and file, in their order."""
    decoder, found = Decoder(settings.mapping), dict[str, None]()
    for name in files:
        of_key: defaultdict[str, set[str]] = defaultdict(set)
        with LineFile(name) as file:
            for lines in file.batches():
                for event in decoder.decode([x for x in lines if x], time.time()).events:
                    mine = of_key[event.api_key]
                    if event.prompt and len(mine) < OF_A_KEY:
                        mine.add(event.prompt)
                        found[event.prompt] = None
                progress(file)
    return list(found)


def _listed(name: str) -> list[str]:
    """Different prompts of a list, one JSON string a line."""
    with LineFile(name) as file:
        lines = [line for batch in file.batches() for line in batch if line and not line.isspace()]
    try:
        return list(dict.fromkeys(msgspec.json.decode(line, type=str) for line in lines))
    except msgspec.DecodeError as error:
        raise InputError(
            f"{name} is no list of prompts ({error}): write one JSON string a line."
        ) from error


def _enough(what: str, prompts: list[str], least: int) -> None:
    if len(prompts) < least:
        raise InputError(
            f"There are {len(prompts):,} different prompts in {what}, too few to learn from: "
            f"have {least:,} or more."
        )
