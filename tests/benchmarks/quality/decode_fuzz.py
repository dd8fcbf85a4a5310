"""Decode a million random and mutated messages, and account for every one.

Valid messages of every preset (recorded ones, and documents made from its table) are mutated: bits
flipped, cut, spliced, filled with JSON's hard cases, values replaced by values of other types,
nested deeply, bundled into arrays and lines.
Checks for every message: no exception; each element of it is one event or one rejection; events
have the types that they declare, and decode from their own JSON to themselves. In the native
format, the fast path and the decoder give identical columns, to the bit.

    python -m tests.benchmarks.quality.decode_fuzz --count 1000000 --seed 1
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from monitor.identity import Identity
from monitor.kernels.buffers import Messages
from monitor.requests.columns import Columns, Reader
from monitor.requests.decoder import MAX_AHEAD, Decoded, Decoder, RequestEvent
from monitor.requests.mappings import FieldMapping
from monitor.requests.parsing.fields import PARSERS
from monitor.requests.parsing.times import EARLIEST, PER_SECOND
from monitor.requests.presets import NAMES, load
from monitor.requests.reasons import REASONS
from tests.support.gateway_records import RECORDS

NOW = 1_772_040_010.0
PAYLOADS = json.loads((Path(__file__).parents[2] / "support" / "payloads.json").read_text())
MAPPINGS: dict[str, Any] = {
    **{preset: preset for preset in PAYLOADS},
    "a table": {"preset": "native", "ip": ["/0/1", "/ip"]},
}
GATEWAYS: dict[str, list[Any]] = {}
for _preset, _record, *_ in RECORDS.values():
    GATEWAYS.setdefault(_preset, []).append(_record)
ALL_MAPPINGS = MAPPINGS | {preset: preset for preset in NAMES}
BATCH = 1_000

# A value of each kind of field, for documents that are made from a preset's table.
_MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
_SAMPLE: dict[str, Any] = {
    **dict.fromkeys(PARSERS, 12),
    **{field: f"a {field}" for field in ("prompt", "system", "documents", "end_user", "account")},
    **{"ts": NOW - 10, "api_key": "sk-one", "messages": _MESSAGES, "model": "atlas", "status": 200},
}


def seeds_of(name: str) -> list[Any]:
    """Valid documents of a mapping: recorded ones, and some with values where its table says."""
    if name not in NAMES:
        return list(PAYLOADS["native"])
    made = [_made(load(name), random.Random(seed)) for seed in range(6)]
    return [*PAYLOADS.get(name, []), *GATEWAYS.get(name, []), *made]


def bundles(mapping: Any) -> bool:
    """Whether an element of a message may hold several records, or none."""
    table = load(mapping) if isinstance(mapping, str) else mapping
    return not FieldMapping(mapping).single or "only" in table


def _made(table: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A document with a value at one of the places of each field."""
    record: dict[str, Any] = {}
    for field in sorted(PARSERS.keys() & table.keys()):
        place = rng.choice(table[field] if isinstance(table[field], list) else [table[field]])
        place = place if isinstance(place, dict) else {"path": place}
        value = _SAMPLE[field]
        if field == "ts" and "unit" in place:
            value = int(value * PER_SECOND[place["unit"]])
        _put(record, place["path"], value)
    if only := table.get("only"):
        _put(record, only["path"], only["values"][0])
    for option in ("root", "each"):
        pointers = table.get(option, "")
        if pointer := rng.choice(pointers) if isinstance(pointers, list) else pointers:
            inner: Any = [record] if option == "each" else rng.choice([record, json.dumps(record)])
            record = {}
            _put(record, pointer, inner)
    return record


def _put(document: dict[str, Any], pointer: str, value: Any) -> None:
    *steps, name = (step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])
    holder: Any = document
    for step in steps:
        holder = holder.setdefault(step, {}) if isinstance(holder, dict) else None
    if isinstance(holder, dict):
        holder.setdefault(name, value)


HARD_CASES = [
    *(b"\\ud800", b"\\udc00\\ud800", b"\\u0000", b"\\x", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
    *(b"NaN", b"-Infinity", b"1e999", b"-0", b"01", b"9" * 25, b"9" * 5000, b"0." + b"0" * 400),
    *(b"null", b"true", b"{}", b"[]", b'""', b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\"),
    *(b"\n", b"\r\n", b"\x00", b"\x1f", b" " * 50, b'"ts":', b'"api_key":', b'"messages":'),
]
ODD_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 2**31, 2**63, -(2**64), 10**40, 1e300, -1e-300),
    *(math.nan, math.inf, -math.inf, "", " ", "12", "-1", "1e3", "nan", "\ud800", "\x00", "é" * 99),
    *("2026-02-25T17:20:00", "2026-02-25T17:20:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31"),
    *("-", "null", "None", "undefined", "[REDACTED]", "Bearer k", "Bearer -", " k ", 4711),
    *([], {}, [None], [[]], [{}], {"": ""}, [1, "a", {"text": "b"}], {"role": "user"}),
    *([{"role": "user", "content": []}], [{"role": [], "parts": [{"type": {}, "text": 1}]}]),
    *([{"key": "gen_ai.x", "value": {"arrayValue": {"values": [{"kvlistValue": 1}]}}}], "[{]"),
]


class Mutant(NamedTuple):
    """A message, and the number of its elements if it is known."""

    value: bytes | None
    elements: int | None = None


def mutants(rng: random.Random, seeds: list[Any]) -> Iterator[Mutant]:
    """Endless mutations of the seeds."""
    while True:
        yield rng.choice(_WAYS)(rng, seeds)


def _noise(rng: random.Random, seeds: list[Any]) -> Mutant:
    return Mutant(rng.choice([None, rng.randbytes(rng.randrange(60)), _soup(rng)]))


def _soup(rng: random.Random) -> bytes:
    return b"".join(rng.choices(HARD_CASES, k=rng.randrange(12)))


def _bytes(rng: random.Random, seeds: list[Any]) -> Mutant:
    value = bytearray(_dumps(rng, rng.choice(seeds)))
    for _ in range(rng.randint(1, 4)):
        at, end = sorted(rng.choices(range(len(value) + 1), k=2))
        match rng.randrange(6):
            case 0 if at < len(value):
                value[at] ^= 1 << rng.randrange(8)
            case 1:
                del value[at:]
            case 2:
                del value[at : min(end, at + 20)]
            case 3:
                value[at:at] = value[at : min(end, at + 200)]
            case 4:
                value[at:at] = rng.choice(HARD_CASES)
            case _:
                value[at:] = _dumps(rng, rng.choice(seeds))[at:]
    return Mutant(bytes(value))


def _types(rng: random.Random, seeds: list[Any]) -> Mutant:
    return Mutant(_dumps(rng, _with_other_values(rng, rng.choice(seeds))), 1)


def _deep(rng: random.Random, seeds: list[Any]) -> Mutant:
    depth = rng.choice([50, 400, 990, 1_100, 20_000])
    opening, closing = rng.choice([(b"[", b"]"), (b'{"a":', b"}"), (b'[{"parts":', b"}]")])
    value = _dumps(rng, rng.choice(seeds))
    at = rng.choice([i for i in range(len(value)) if value[i : i + 1] == b":"]) + 1
    return Mutant(value[:at] + opening * depth + b"1" + closing * depth + b"," + value[at:])


def _array(rng: random.Random, seeds: list[Any]) -> Mutant:
    elements = [_element(rng, seeds) for _ in range(rng.randint(1, 6))]
    return Mutant(_dumps(rng, elements), len(elements))


def _lines(rng: random.Random, seeds: list[Any]) -> Mutant:
    # A line that begins with "!" is invalid and cannot become part of a larger document.
    lines = [json.dumps(_element(rng, seeds)).encode() for _ in range(rng.randint(1, 4))]
    lines += [b"!" + _soup(rng).translate(None, b"\r\n") for _ in range(rng.randint(0, 2))]
    rng.shuffle(lines)
    lines += [b"{}", b"{}"]
    return Mutant(rng.choice([b"\n", b"\r\n", b"\n\n"]).join(lines), len(lines))


_WAYS: list[Callable[[random.Random, list[Any]], Mutant]] = [
    *(_noise, _bytes, _bytes, _bytes, _types, _types, _array, _lines, _deep),
]


def _element(rng: random.Random, seeds: list[Any]) -> Any:
    seed = rng.choice(seeds)
    return rng.choice([seed, _with_other_values(rng, seed), rng.choice(ODD_VALUES)])


def _with_other_values(rng: random.Random, document: Any) -> Any:
    """A copy of an object with one to three values, at any depth, replaced by others."""
    document = json.loads(json.dumps(document))
    for _ in range(rng.randint(1, 3)):
        holder: Any = document
        while holder:
            names = list(holder) if isinstance(holder, dict) else range(len(holder))
            name = rng.choice(names)
            if not isinstance(holder[name], dict | list) or rng.random() < 0.3:
                holder[name] = copy.deepcopy(rng.choice(ODD_VALUES))
                break
            holder = holder[name]
    return document


def _dumps(rng: random.Random, document: Any) -> bytes:
    escaped = rng.random() < 0.5
    indent = rng.choice([None, None, None, 1])
    text = json.dumps(document, ensure_ascii=escaped, indent=indent)
    return text.encode("utf-8", "surrogatepass")


def faults(
    decoder: Decoder, batch: list[Mutant], decoded: Decoded, bundled: bool = False
) -> list[str]:
    """Descriptions of what is wrong with a decoded batch.

    Args:
        bundled: see `bundles`.
    """
    found = []
    events, sources, elements, rejections, *_ = decoded
    places = defaultdict(list)
    for source, element in zip(sources, elements, strict=True):
        places[source].append(element)
    for each in rejections:
        places[each.source].append(each.element)
    for source, (value, expected) in enumerate(batch):
        count = len(decoder.split(value or b""))
        if sorted(places[source]) != list(range(count)):
            found.append(f"elements {sorted(places[source])} of {count} in {value!r}")
        if expected and count != expected and not bundled:
            found.append(f"{count} elements instead of {expected} in {value!r}")
    found += [
        f"incomplete: {event}"
        for event in events
        if not (
            EARLIEST <= event.ts <= NOW + MAX_AHEAD and event.api_key and event.messages is None
        )
    ]
    again = Decoder().decode([msgspec.json.encode(event) for event in events], NOW)
    if list(map(as_encoded, again.events)) != list(map(as_encoded, events)):
        found.append("events do not decode to themselves")
    for rejection in rejections:
        detail = rejection.detail
        if rejection.reason not in REASONS or not detail.isprintable() or len(detail) > 160:
            found.append(f"odd: {rejection}")
    return found


def parts_of(columns: Columns) -> list[list[tuple[int, int, bytes]]]:
    """Kind, hash and text of each event's parts."""
    parts, data = columns.parts, columns.parts.data.tobytes()
    texts = [data[begin:end] for begin, end in parts.places.tolist()]
    whole = list(zip(parts.kinds.tolist(), parts.hashes.tolist(), texts, strict=True))
    return [whole[begin:end] for begin, end in parts.ranges.tolist()]


def as_encoded(event: RequestEvent) -> RequestEvent:
    """The event as it is encoded: without what the decoder derives."""
    return msgspec.structs.replace(event, parts=[], joins=None)


def differences(reader: Reader, decoder: Decoder, batch: list[Mutant]) -> list[str]:
    """Columns in which the fast path and the decoder disagree.

    How deep a document may nest depends on the depth of the call stack, so deep ones are left out.
    """
    values = [
        value for value, _ in batch if not value or value.count(b"[") + value.count(b"{") < 500
    ]
    columns, rejections, counts = reader(Messages.of(values), NOW)
    decoded = decoder.decode(values, NOW)
    expected = reader.from_events(decoded)
    arrays = ("sources", "elements", "ts", "tokens", "marks", "hashes")
    found = [
        f"{name} differ"
        for name in arrays
        if not _same(getattr(columns, name), getattr(expected, name))
    ]
    if parts_of(columns) != parts_of(expected) or columns.keys != expected.keys:
        found.append("parts or keys differ")
    if rejections != decoded.rejections or counts.unreadable != decoded.unreadable:
        found.append("rejections differ")
    return found


def _same(one: Any, other: Any) -> bool:
    return bool(one.dtype == other.dtype and one.tobytes() == other.tobytes())


def run(mapping: Any, seeds: list[Any], count: int, seed: int) -> tuple[Counter[str], float]:
    """Decode `count` mutants; count events, rejections by reason, exceptions and faults."""
    decoder, rng, tally, spent = Decoder(mapping), random.Random(seed), Counter[str](), 0.0
    reader = Reader(decoder, Identity(b"0123456789abcdef"))
    source = mutants(rng, seeds)
    bundled = bundles(mapping)
    for start in range(0, count, BATCH):
        batch = [next(source) for _ in range(min(BATCH, count - start))]
        began = time.perf_counter()
        try:
            decoded = decoder.decode([mutant.value for mutant in batch], NOW)
        except Exception as error:
            tally["exceptions"] += 1
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            continue
        finally:
            spent += time.perf_counter() - began
        wrong = faults(decoder, batch, decoded, bundled)
        if decoder.native:
            wrong += differences(reader, decoder, batch)
        for fault in wrong[:3]:
            print(fault[:2000], file=sys.stderr)
        tally["messages"] += len(batch)
        tally["events"] += len(decoded.events)
        tally["faults"] += len(wrong)
        tally.update(rejection.reason for rejection in decoded.rejections)
    return tally, spent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1_000_000, help="messages, over all mappings")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    columns = ("messages", "events", *REASONS, "exceptions", "faults")
    table = Table(title=f"{options.count:,} messages, seed {options.seed}")
    for column in ("mapping", *columns, "seconds"):
        table.add_column(column.replace("_", " "), justify="right")
    total: Counter[str] = Counter()
    seconds = 0.0
    share, rest = divmod(options.count, len(ALL_MAPPINGS))
    for number, (name, mapping) in enumerate(ALL_MAPPINGS.items()):
        tally, spent = run(mapping, seeds_of(name), share + (number < rest), options.seed + number)
        total += tally
        seconds += spent
        table.add_row(name, *(f"{tally[column]:,}" for column in columns), f"{spent:.1f}")
    table.add_section()
    table.add_row("all", *(f"{total[column]:,}" for column in columns), f"{seconds:.1f}")
    Console(width=170).print(table)
    whole = total["messages"] == options.count
    return 0 if whole and not total["exceptions"] and not total["faults"] else 1


if __name__ == "__main__":
    sys.exit(main())
