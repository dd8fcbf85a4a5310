"""Guess the mapping of a log: the preset and envelope that read most, or places by their names.

Every preset is tried on a sample of the records. If none reads them, the objects and arrays inside
a record are taken for the record (`root`, `each`), with every preset again. If that fails too,
places are chosen by the names that fields have in logs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from monitor.requests import presets
from monitor.requests.decoder import Decoded, Decoder, RequestEvent
from monitor.requests.framing.elements import parse
from monitor.requests.parsing.json_text import parse_text

Mapping = dict[str, Any]

FIELDS = (
    *("id", "account", "end_user", "payment", "ip", "asn", "country", "tls_fingerprint"),
    *("user_agent", "model", "status", "input_tokens", "output_tokens", "max_tokens"),
)  # that tell something of a request, beside its time, key and texts
_TEXT_WORTH = 4  # fields that a text is worth
_SAMPLE, _FEW = 60, 8  # elements that mappings are compared on; those that envelopes are tried on
_DEPTH, _MOST = 5, 40  # levels of an envelope, and places in it that are tried
_ZONE = "UTC"


class Guess(NamedTuple):
    """A mapping and how well it reads a sample.

    Attributes:
        mapping: a table as under `[mapping]`.
        score: fields read of a request, texts counting more, times `read`.
        read: share of the records that are read.
        prompts: share of the requests that have a text.
    """

    mapping: Mapping
    score: float
    read: float
    prompts: float


def guess(values: Sequence[bytes]) -> list[Guess]:
    """Mappings that read something of a sample, the best first.

    Args:
        values: elements of the log.
    """
    values = values[:: max(len(values) // _SAMPLE, 1)][:_SAMPLE]
    found = [_rated({"preset": name}, values) for name in presets.NAMES]
    if _best(found).read < 0.5 or not _best(found).prompts:
        few = values[:_FEW]
        tried = (
            _rated({"preset": name, **envelope}, few)
            for envelope in _envelopes(_document(few))
            for name in presets.NAMES
        )
        likely = sorted((each for each in tried if each.score), key=_by_score)[:3]
        found += [_rated(each.mapping, values) for each in likely]
    if _best(found).read < 0.5:
        few = values[:_FEW]
        for envelope in ({}, *_envelopes(_document(few))):
            if named := _by_names(_record(_document(few), envelope)):
                found.append(_rated({**envelope, **named}, values))
    return sorted((each for each in found if each.score), key=_by_score)


def _best(found: Sequence[Guess]) -> Guess:
    return min(found, key=_by_score)


def _by_score(each: Guess) -> tuple[float, int]:
    return -each.score, len(each.mapping)


def _rated(mapping: Mapping, values: Sequence[bytes]) -> Guess:
    """A mapping rated on a sample, with the zone of its times if it needs one."""
    decoded = Decoder(mapping).decode(values, math.inf)
    if needs_zone(decoded):
        zoned = {**mapping, "zone": _ZONE}
        again = Decoder(zoned).decode(values, math.inf)
        if len(again.events) > len(decoded.events):
            mapping, decoded = zoned, again
    events = decoded.events
    records = len(events) + len(decoded.rejections)
    score = sum(map(worth, events)) / max(len(events), 1)
    read = len(events) / records if records else 0.0
    texts = sum(bool(event.parts or event.prompt) for event in events)
    return Guess(mapping, score * read, read, texts / len(events) if events else 0.0)


def needs_zone(decoded: Decoded) -> bool:
    """Whether times were rejected because they have no offset."""
    return any(each.reason == "bad_time" and "offset" in each.detail for each in decoded.rejections)


def worth(event: RequestEvent) -> float:
    """How much a mapping reads of a request."""
    text = _TEXT_WORTH if event.parts or event.prompt else 0
    return 2 + text + sum(getattr(event, field) is not None for field in FIELDS)


# Envelopes


def _document(values: Sequence[bytes]) -> Any:
    return next((each for each in map(parse, values) if type(each) is dict), None)


def _envelopes(document: Any) -> list[Mapping]:
    """Where a record may stand in a document, the outermost first."""
    return [envelope for _, envelope in sorted(_places(document), key=lambda each: each[0])][:_MOST]


def _places(node: Any, path: str = "", each: str | None = None) -> Iterator[tuple[int, Mapping]]:
    if path.count("/") >= _DEPTH:
        return
    for name, value in node.items() if type(node) is dict else ():
        place = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
        value = _opened(value)
        if type(value) is list and value and each is None:
            first = _opened(value[0])
            if type(first) is dict:
                yield place.count("/"), {"each": place}
                yield from _places(first, "", place)
        elif type(value) is dict:
            yield place.count("/"), {"root": place} | ({} if each is None else {"each": each})
            yield from _places(value, place, each)


def _opened(value: Any) -> Any:
    """What a string that holds JSON holds."""
    if type(value) is str and value.lstrip()[:1] in ("{", "["):
        try:
            return parse_text(value)
        except (ValueError, RecursionError):
            return value
    return value


def _record(document: Any, envelope: Mapping) -> Any:
    for pointer in (envelope.get("each"), envelope.get("root")):
        for step in pointer.split("/")[1:] if pointer else ():
            step = step.replace("~1", "/").replace("~0", "~")
            document = _opened(document.get(step)) if type(document) is dict else None
        if type(document) is list:
            document = _opened(document[0]) if document else None
    return document


# Places by names

_NAMES = {
    "ts": r"@?(ts|time|timestamp|datetime|date|start|started|created|request|logged|logging|event|"
    r"received|end|completed)(time|at|timestamp|ts|date|ms|ns|us)*",
    "api_key": r".*(apikey|keyid|keyhash|accesskey|credential|consumer|principal|clientid|token|"
    r"customer|tenant|apikeyid|keyalias|userarn|arn|key)(id|hash|name|username)*",
    "id": r"(request|call|trace|correlation|log|event)?(id|uuid)",
    "account": r"(account|org|organization|team|tenant|project|workspace|customer)(id|name)?",
    "end_user": r"(enduser|user|safetyidentifier|username|userid|enduserid)",
    "ip": r"(ip|clientip|remoteaddr|remoteip|sourceip|ipaddress|sourceaddress|xforwardedfor)",
    "user_agent": r"useragent",
    "model": r"(model|modelname|modelid|requestmodel|deployment)",
    "status": r"(status|statuscode|httpstatus|responsecode|responsestatus)",
    "latency_ms": r"(latency|duration|elapsed|responsetime)(ms)",
    "input_tokens": r"(input|prompt)tokens?(count)?",
    "output_tokens": r"(output|completion)tokens?(count)?",
    "max_tokens": r"max(completion|output|new)?tokens",
    "messages": r"(messages|contents|conversation|chat|inputmessages)",
    "prompt": r"(user)?(prompt|input|question|query|message|inputtext|text|content)",
    "system": r"(system|systemprompt|instructions|systeminstruction)",
}
_MAPPED_AS_TEXT = ("messages", "prompt", "system")


def _by_names(document: Any) -> Mapping:
    """A mapping of the places whose names fit, `{}` without a time or a key."""
    leaves = list(_leaves(document))
    mapping: Mapping = {}
    for field, names in _NAMES.items():
        pattern = re.compile(names)
        fitting = [
            (place.count("/"), order, place)
            for order, (place, name, value) in enumerate(leaves)
            if pattern.fullmatch(name) and _fits(field, value)
        ]
        if fitting:
            mapping[field] = min(fitting)[2]
    return mapping if {"ts", "api_key"} <= mapping.keys() else {}


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Places, their names without signs and case, and what stands there."""
    if type(node) is not dict or path.count("/") >= _DEPTH:
        return
    for name, value in node.items():
        place = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
        yield place, re.sub(r"[^a-z]", "", name.lower()), value
        yield from _leaves(_opened(value), place)


def _fits(field: str, value: Any) -> bool:
    if field in _MAPPED_AS_TEXT:
        return type(value) in (str, list) and bool(value)
    if type(value) not in (str, int, float):
        return False
    if field != "ts":
        return bool(value != "")
    record = msgspec.json.encode({"ts": value, "api_key": "k"})
    return bool(Decoder({"preset": "native", "zone": _ZONE}).decode([record], math.inf).events)
