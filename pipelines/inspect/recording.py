"""A first look at a log: its format, the mapping that reads it, what is missing and its cost."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

import msgspec
import numpy as np

from monitor.requests.decoder import MAX_AHEAD, Decoded, Decoder, RequestEvent
from monitor.requests.turns import ASSISTANT, DOCUMENT, SYSTEM, TOOL, USER
from pipelines.inspect.guess import FIELDS, Guess, guess
from pipelines.traffic.files import LineFile, expand
from pipelines.traffic.rejections import Rejections
from pipelines.traffic.sample import FEW_TEXTS, Sample, text_of

SAMPLE = 2_000  # elements that are looked at
EXAMPLES = 3  # requests that are shown
_SHOWN = 60  # characters of a field, and of a prompt

COSTS = {
    "prompt": "only volume and timing are evaluated: no elicitation, coverage or templates",
    "end_user": "end users of an application cannot be distinguished: its key is evaluated as one",
    "account": "keys of one account are not added up: an attacker who rotates keys is seen later",
    "payment": "accounts with the same payment are not linked",
    "ip": "keys are not linked by network; a stolen key is seen later",
    "tls_fingerprint": "keys are not linked by client software",
    "user_agent": "keys are not linked by client software",
    "id": "a request that is delivered twice counts twice",
    "model": "a move to a new model is not seen",
    "input_tokens": "volume is counted in requests, not in tokens",
    "output_tokens": "volume is counted in requests, not in tokens",
    "status": "requests that the gateway refused count like others",
}  # of a field that is missing

_KINDS = {
    SYSTEM: "system",
    USER: "user",
    DOCUMENT: "document",
    TOOL: "tool",
    ASSISTANT: "assistant",
}
_RAW = re.compile(r"(sk|pk|gsk|xai|hf|key|AIza|ak)[-_A-Za-z0-9]{14,}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_TOKEN = re.compile(r"eyJ[\w-]+\.")
_ENCODED = re.compile(r"[A-Za-z0-9+/=_-]{40,}")


class Example(msgspec.Struct):
    """How a request is read.

    Attributes:
        fields: as read; a key is shortened.
        text: length and kind of its longest text, and how many parts of each kind it has.
        prompt: the first characters, if they are asked for.
    """

    fields: dict[str, Any]
    text: str
    prompt: str | None = None


class Missing(msgspec.Struct):
    """A field that requests lack: the share of them, and what that costs."""

    field: str
    share: float
    cost: str


class Keys(msgspec.Struct):
    """The API keys in the sample: how many differ, and whether a gateway can ask by the raw key."""

    different: int
    form: str
    lookup: str


class Inspection(msgspec.Struct):
    """A first look at a log.

    Attributes:
        format: of the file, such as "JSON lines, gzip".
        elements: in the sample.
        requests: that were read.
        rejected: why others were not, with the first of each kind.
        ignored: records that are no requests of their own, by reason.
        mapping: the table that reads the log best, as under `[mapping]`.
        toml: the lines to write.
        others: presets that read it too, with the share of records.
        unreadable: share of requests by field that they have, but that cannot be read.
        without_prompt: share of the requests.
        placeholders: share of the prompts that are one of a few texts; 0 if it is not large.
        order: of the requests in time.
        times: of the first and the last, epoch seconds.
        notes: on zones and clocks.
    """

    file: str
    format: str
    elements: int
    requests: int
    rejected: list[str]
    ignored: dict[str, int]
    mapping: dict[str, Any]
    toml: str
    others: list[str]
    examples: list[Example]
    missing: list[Missing]
    unreadable: dict[str, float]
    without_prompt: float
    placeholders: float
    order: str
    times: tuple[float, float] | None
    keys: Keys | None
    notes: list[str]

    @property
    def mostly_read(self) -> bool:
        """Whether at least half of the records are read."""
        return self.requests > 0 and self.requests >= self._rejected

    @property
    def _rejected(self) -> int:
        return sum(int(line.split()[0].replace(",", "")) for line in self.rejected)


def inspect_recording(
    path: str, configured: str | dict[str, Any], *, prompts: bool = False
) -> Inspection:
    """Look at the beginning of a log.

    Args:
        path: a file; of a folder, its first file; `-` is stdin.
        configured: the mapping of the settings; "native" leaves it to guess.
        prompts: show the beginnings of prompts.

    Raises:
        InputError: the file cannot be read.
    """
    name = expand([path])[0]
    values, places, form = _sample(name)
    guesses = guess(values) if configured == "native" else []
    mapping = guesses[0].mapping if guesses else _table(configured)
    decoded = Decoder(mapping).decode(values, math.inf)
    rejections, sample = Rejections(), Sample()
    rejections.add(decoded.rejections, places.__getitem__)
    sample.add(decoded)
    events, number = decoded.events, max(len(decoded.events), 1)
    return Inspection(
        file=name,
        format=form,
        elements=len(values),
        requests=len(events),
        rejected=rejections.lines(),
        ignored=dict(decoded.ignored),
        mapping=mapping,
        toml=to_toml(mapping),
        others=_others(guesses),
        examples=[_example(event, prompts=prompts) for event in islice(events, EXAMPLES)],
        missing=_missing(events, sample),
        unreadable={field: n / number for field, n in decoded.unreadable.most_common()},
        without_prompt=sample.without_prompt / number,
        placeholders=sample.placeholder_share,
        order=_order(events),
        times=_times(events),
        keys=_keys(events, mapping) if events else None,
        notes=_notes(mapping, decoded, sample),
    )


def _sample(path: str) -> tuple[list[bytes], list[str], str]:
    """The first elements of a file, where each stands, and the format."""
    values: list[bytes] = []
    places: list[str] = []
    with LineFile(path) as file:
        for batch in file.batches(SAMPLE):
            for value, number in zip(batch, file.numbers, strict=True):
                if value and not value.isspace():
                    values.append(value)
                    places.append(f"{file.origin} {number}")
            if len(values) >= SAMPLE:
                break
        return values[:SAMPLE], places[:SAMPLE], file.format


def _table(configured: str | dict[str, Any]) -> dict[str, Any]:
    return {"preset": configured} if isinstance(configured, str) else configured


def _others(guesses: Sequence[Guess]) -> list[str]:
    others = [each for each in guesses[1:] if "preset" in each.mapping and each.read > 0]
    names = dict.fromkeys((each.mapping["preset"], f"{each.read:.0%}") for each in others)
    return [f"{name} ({read})" for name, read in names][:3]


def to_toml(mapping: dict[str, Any]) -> str:
    """A mapping as lines of TOML."""
    lines = [f"{field} = {_toml(value)}" for field, value in mapping.items()]
    return "\n".join(["[mapping]", *lines])


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {_toml(each)}' for name, each in value.items())} }}"
    return msgspec.json.encode(value).decode()


# Requests


def _example(event: RequestEvent, *, prompts: bool) -> Example:
    fields = {"ts": event.ts, "api_key": _shortened(event.api_key)} | {
        field: value[:_SHOWN] if isinstance(value, str) else value
        for field in FIELDS
        if (value := getattr(event, field)) is not None
    }
    text = text_of(event)
    return Example(fields, _kind(event, text), text[:_SHOWN] if prompts and text else None)


def _shortened(key: str) -> str:
    """A key that can be recognised, but not used."""
    return key if len(key) < 12 else f"{key[:5]}…{key[-3:]} ({len(key)} characters)"


def _kind(event: RequestEvent, text: str | None) -> str:
    if not text:
        return "none"
    if text.lstrip()[:1] in ("{", "["):
        kind = "JSON"
    elif _ENCODED.fullmatch(text.strip()):
        kind = "encoded"
    else:
        kind = "text" if " " in text.strip() or not text.isascii() else "one word"
    parts = Counter(_KINDS[part.kind] for part in event.parts)
    counts = ", ".join(f"{number} {name}" for name, number in parts.items())
    return f"{len(text):,} characters of {kind}" + (f"; parts: {counts}" if counts else "")


def _missing(events: Sequence[RequestEvent], sample: Sample) -> list[Missing]:
    """The fields that at least half of the requests lack."""
    if not events:
        return []
    shares = {
        field: sum(getattr(event, field) is None for event in events) / len(events)
        for field in COSTS
        if field != "prompt"
    }
    shares = {"prompt": sample.without_prompt / len(events), **shares}
    return [Missing(field, share, COSTS[field]) for field, share in shares.items() if share >= 0.5]


# Times


def _order(events: Sequence[RequestEvent]) -> str:
    steps = np.diff([event.ts for event in events])
    if not len(steps) or not steps.any():
        return "one time"
    if (steps >= 0).all():
        return "oldest first"
    if (steps <= 0).all():
        return "newest first; `xm replay` sorts it"
    return f"{np.mean(steps < 0):.1%} of requests lie before an earlier one; `xm replay` sorts them"


def _times(events: Sequence[RequestEvent]) -> tuple[float, float] | None:
    times = [event.ts for event in events]
    return (min(times), max(times)) if times else None


def _notes(mapping: dict[str, Any], decoded: Decoded, sample: Sample) -> list[str]:
    notes = []
    if "zone" in mapping:
        notes.append(
            f"Times have no offset. They are read in the zone {mapping['zone']}: set `zone` to "
            'that of the writer, for example "Europe/Berlin".'
        )
    ahead = max((event.ts for event in decoded.events), default=0.0) - time.time()
    if ahead > MAX_AHEAD:
        notes.append(
            f"The last request is {ahead / 3600:.1f} hours ahead of this machine's clock. Check "
            "the zone and the gateway's clock: a worker rejects such requests."
        )
    if sample.placeholder_share:
        few = min(FEW_TEXTS, len(sample.texts))
        notes.append(
            f"{sample.placeholder_share:.0%} of the prompts are {few} texts. Does the log redact "
            "prompts? Then only volume and timing are evaluated."
        )
    if refused := sum(event.status in (401, 403, 429) for event in decoded.events):
        share = refused / len(decoded.events)
        notes.append(f"{share:.0%} of requests were refused (401, 403, 429): not evaluated.")
    return notes


# Keys


def _keys(events: Sequence[RequestEvent], mapping: dict[str, Any]) -> Keys:
    names = Counter(event.api_key for event in events)
    forms = Counter(_form(name) for name in names)
    form = forms.most_common(1)[0][0]
    hashed = mapping.get("identity") == "sha256" or mapping.get("preset", "").startswith("litellm")
    lookup = {
        "raw keys": "A gateway can ask for decisions by the raw key.",
        "SHA-256 hashes": "The mapping hashes the raw key that a gateway asks with."
        if hashed
        else 'If these are hashes of keys, add identity = "sha256": a gateway asks with raw keys.',
        "tokens": "Tokens change: name a field that stays, such as the account, as api_key.",
        "names or ids": "A gateway must ask for decisions by the same name, not by the raw key.",
    }[form]
    return Keys(len(names), form, lookup)


def _form(key: str) -> str:
    if _SHA256.fullmatch(key):
        return "SHA-256 hashes"
    if _TOKEN.match(key):
        return "tokens"
    return "raw keys" if _RAW.fullmatch(key) else "names or ids"
