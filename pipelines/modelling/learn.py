"""Learn a content model from recordings of ordinary traffic and, optionally, distillation lists.

Only the first hundred different prompts of each key and file are used, so that one customer's
template does not dominate. Keys that the current model flags are left out, so that attackers do not
become ordinary, unless a person has found that they are no attackers. Without lists, the result is
a mean of the current model and the traffic, weighted by prompts. It holds means and directions, no
prompt (`prompts/content_model.py`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Container, Sequence
from pathlib import Path

import msgspec

from monitor.alerting.alerts import Alert
from monitor.config import Settings
from monitor.engine import Engine
from monitor.errors import InputError
from monitor.identity import Identity
from monitor.linker import Linker
from monitor.prompts.content_model import Content, load_content, write_content
from monitor.prompts.extractor import Extractor
from monitor.prompts.normalise import Texts
from monitor.prompts.projection import LISTS
from monitor.requests.decoder import Decoder
from monitor.store.memory import MemoryStore
from pipelines.modelling.fit_content import MIN_PROMPTS, PromptFeatures, fit_content
from pipelines.traffic.files import LineFile, Progress, expand, no_progress
from pipelines.traffic.recording import Recording
from pipelines.traffic.rejections import Rejections
from pipelines.traffic.replay import replay

PROMPTS_PER_KEY = 100
# Pseudonyms stay in this process, and a fixed key makes the result reproducible.
_IDENTITY = Identity(bytes(32), plain=True)
_BATCH_SIZE = 2_000  # prompts


def learn_content(
    files: list[str],
    lists: list[str],
    settings: Settings,
    out: Path,
    *,
    source: str,
    ordinary_keys: Container[str] = frozenset(),
    progress: Progress = no_progress,
) -> tuple[int, int]:
    """Save a content model.

    Args:
        files: recordings of ordinary traffic.
        lists: one file of prompts for each of LISTS, named after it; or none.
        source: a note in the model on where the prompts are from.
        ordinary_keys: API keys that count as ordinary even if the model flags them.

    Returns:
        the number of ordinary prompts and of list prompts.

    Raises:
        InputError: files that cannot be used, too few prompts, or an output file that cannot be
            written.
    """
    paths = {Path(name).name.partition(".")[0]: name for name in lists}
    if paths and set(paths) != set(LISTS):
        raise InputError(
            "The lists are incomplete. Name one file of each kind, or none: "
            f"{', '.join(f'{kind}.jsonl' for kind in LISTS)}."
        )
    ordinary = _load_ordinary(files, settings, ordinary_keys, progress)
    listed = {kind: _load_list(path) for kind, path in paths.items()}
    _require(10 * MIN_PROMPTS, ordinary, "ordinary traffic")
    for kind, prompts in listed.items():
        _require(MIN_PROMPTS, prompts, paths[kind])
    previous = Content.none() if listed else load_content(settings.content)
    features = {kind: extract_features(prompts) for kind, prompts in listed.items()}
    model = fit_content(extract_features(ordinary), features, previous)
    counts = {kind: len(prompts) for kind, prompts in listed.items()}
    notes = {"from": source, "ordinary_prompts": len(ordinary), "listed_prompts": counts}
    try:
        out.write_bytes(write_content(model, **notes))
    except OSError as error:
        raise InputError(
            f"Cannot write {out}: {error.strerror}. Name another file with --out."
        ) from error
    return len(ordinary), sum(counts.values())


def extract_features(prompts: Sequence[str]) -> PromptFeatures:
    """The features of prompts, which depend neither on the secret nor on a content model."""
    extractor = Extractor(b"0", Content.none())
    batches = (prompts[i : i + _BATCH_SIZE] for i in range(0, len(prompts), _BATCH_SIZE))
    return PromptFeatures.concatenate([extractor(Texts.of(batch)) for batch in batches])


def _load_ordinary(
    files: list[str], settings: Settings, ordinary_keys: Container[str], progress: Progress
) -> list[str]:
    """The first different prompts of each ordinary key and file."""
    decoder, prompts, rejections = Decoder.of(settings), dict[str, None](), Rejections()

    def read(recording: Recording) -> tuple[list[dict[str, None]], Rejections]:
        by_key: defaultdict[str, dict[str, None]] = defaultdict(dict)
        rejected, flagged = Rejections(), set[str]()

        def collect(values: Sequence[bytes]) -> None:
            decoded = decoder.decode(values, time.time())
            rejected.add(decoded.rejections, recording.place)
            for event in decoded.events:
                if event.prompt and len(by_key[event.api_key]) < PROMPTS_PER_KEY:
                    by_key[event.api_key][event.prompt] = None

        store = MemoryStore()
        engine, linker = Engine(settings, _IDENTITY, store), Linker(settings, store)
        for outcome in replay(recording, engine, store, linker, collect):
            flagged |= _flagged(outcome.alerts)
        found = (by_key[key] for key in by_key if key not in flagged or key in ordinary_keys)
        return list(found), rejected

    for name in expand(files):
        ordinary, rejected = Recording([name], decoder, progress=progress).run(read)
        rejections.merge(rejected)
        for found in ordinary:
            prompts |= found
    if rejections.total() and not prompts:
        raise InputError(rejections.why_nothing(files))
    return list(prompts)


def _flagged(alerts: Sequence[Alert]) -> set[str]:
    """The API keys that alerts above info are about; not those of which only an end user is."""
    keys = set[str]()
    for alert in alerts:
        if alert.severity != "info" and alert.subject.type != "end_user":
            keys |= {alert.subject.id, *alert.subject.members}
    return keys


def _load_list(path: str) -> list[str]:
    """The different prompts of a list, one JSON string per line."""
    with LineFile(path) as file:
        lines = [line for batch in file.batches() for line in batch if line and not line.isspace()]
    try:
        return list(dict.fromkeys(msgspec.json.decode(line, type=str) for line in lines))
    except msgspec.DecodeError as error:
        raise InputError(
            f"{path} is not a list of prompts: {error}. Write one JSON string per line."
        ) from error


def _require(count: int, prompts: list[str], source: str) -> None:
    if len(prompts) < count:
        raise InputError(
            f"{len(prompts):,} different prompts in {source} are too few. Provide {count:,} or "
            "more."
        )
