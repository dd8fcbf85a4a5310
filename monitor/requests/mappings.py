"""Mappings: where each field of a request event stands in another system's log record.

A mapping is a table from field to place. A place is a JSON Pointer (RFC 6901), a list of places of
which the first usable one wins, or a table that also gives the unit of a time or the meaning of
words:

    [mapping]
    preset = "litellm"                              # optional: start from a preset
    root = "/message"                               # the record stands inside an envelope
    each = "/records"                               # an array of records in one element
    only = { path = "/type", values = ["chat"] }    # records of another type are no requests
    zone = "Europe/Berlin"                          # of times that have no offset
    identity = "sha256"                             # the log names keys by their SHA-256
    strip = ["Bearer "]                             # prefixes that do not belong to the key
    api_key = "/metadata/user_api_key_alias"
    end_user = ["/end_user", "/metadata/user_id"]
    ts = { path = "/startTimeMs", unit = "ms", add = { path = "/took", unit = "s" } }
    status = { path = "/outcome", values = { ok = 200, failed = 500 } }
    system = []                                     # ignore this field
    response = "/output"                            # the model's answer, which is only sketched

All places of texts (`messages`, `prompt`, `system`, `documents`) are read, so that no text of the
client hides another; of a place and one inside it, the outer. Only `ts` and `api_key` are required.
Any other field that cannot be read is left out and counted. The presets are such tables
(`monitor/requests/presets/*.toml`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from monitor.errors import ConfigError
from monitor.requests import presets
from monitor.requests.parsing import options
from monitor.requests.parsing.fields import (
    KINDS,
    PARSERS,
    Place,
    Reading,
    clean_key,
    of_first_element,
)
from monitor.requests.parsing.json_text import parse_text
from monitor.requests.parsing.pointers import (
    Document,
    Holders,
    Pointer,
    compile_pointer,
    is_headers,
)
from monitor.requests.parsing.response_text import text_of
from monitor.requests.parsing.times import PER_SECOND, TimeError
from monitor.requests.reasons import ElementError

_REQUIRED = ("ts", "api_key")
_ABSENT: tuple[Any, ...] = (None, "")
_DURATIONS = ("ts", "latency_ms")
_PLACE = {"path", "unit", "values", "add"}
_MAX_ADDED = 86_400.0  # seconds: a longer request is a wrong duration


class FieldMapping:
    """A mapping, compiled for reading documents.

    Args:
        mapping: name of a preset, or a mapping table.

    Attributes:
        native: whether the format is the native one and every field stands in its own place.
        single: whether every element is one record.
        binary: decodes values that are no JSON, if the preset reads such values.

    Raises:
        ConfigError: if the mapping is invalid.
    """

    def __init__(self, mapping: str | Mapping[str, Any]) -> None:
        spec = {"preset": mapping} if isinstance(mapping, str) else dict(mapping)
        preset = spec.pop("preset", "")
        if preset not in ["", *presets.NAMES]:
            raise ConfigError(
                f"Unknown mapping preset {preset!r}. Use {', '.join(presets.NAMES)} "
                "or a table of fields."
            )
        self.native = preset == "native" and spec.keys() <= {"zone", "identity"}
        table = (presets.load(preset) if preset else {}) | spec
        self._prepare = presets.code(preset, spec, table)
        self.binary = presets.BINARY.get(preset)
        self._joins = preset == "otel-genai"
        self._roots = options.pointers("root", table.pop("root", []))
        self._each = options.pointers("each", table.pop("each", []))
        self._only = options.only(table.pop("only", None))
        self._identity = options.identity(table.pop("identity", "plain"))
        strip = options.strip(table.pop("strip", ["Bearer "]))
        self._responses = options.pointers("response", table.pop("response", []))
        self._reading = Reading(options.zone(table.pop("zone", None)), strip)
        places = {
            field: [_place(field, each) for each in (found if isinstance(found, list) else [found])]
            for field, found in table.items()
        }
        for field in _REQUIRED:
            if not places.get(field):
                raise ConfigError(
                    f"The mapping has no place for the required field {field}. Add a line such as "
                    f'{field} = "/{field}".'
                )
        if not (self._each or self._roots):
            self._each, places = of_first_element(places)
        self.single = not (self._roots or self._each or self._prepare)
        self._holders = Holders()
        self._plan = [
            (field, [(self._holders.add(place.steps), place) for place in places[field]], parser)
            for field, parser in PARSERS.items()
            if field in places
        ]

    def key_forms(self, raw: str) -> list[str]:
        """The forms under which the log may name an API key that a gateway asks with.

        Args:
            raw: the key as the client sent it, with or without a scheme such as `Bearer`.

        Returns:
            The key without blanks and prefixes and, if the log names keys by their SHA-256, its
            hash in lower-case hex; nothing if `raw` names no key.
        """
        key = clean_key(raw, self._reading.strip)
        if key is None:
            return []
        if self._identity == "plain":
            return [key]
        return [key, hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()]

    def names(self, value: dict[str, Any]) -> set[str]:
        """The fields that have a value in a record, usable or not."""
        document = Document(value)
        holders = self._holders.find(document)
        return {
            field
            for field, places, _ in self._plan
            if any(
                document.child(holders[index], place.name, place.headers) not in _ABSENT
                for index, place in places
            )
        }

    def records(self, value: dict[str, Any], ignored: Counter[str]) -> list[Any]:
        """The records in one element of a message: documents or `ElementError`s.

        Args:
            ignored: gets the number of records that are no request, by reason.

        Raises:
            ElementError: if the element has no records where the mapping says.
        """
        found = self._found_records(value)
        if self._prepare is None:
            return found
        prepared: list[Any] = []
        for record in found:
            if type(record) is dict:
                prepared += self._prepare(record, ignored)
            else:
                prepared.append(record)
        return prepared

    def _found_records(self, value: dict[str, Any]) -> list[Any]:
        found: list[Any] = [value]
        if self._each:
            document = Document(value)
            arrays = (_opened(document, steps) for steps in self._each)
            records = next((each for each in arrays if each is not None), None)
            if records is None and self.names(value) >= {*_REQUIRED}:
                records = [value]  # one record alone, as the re-keying agent copies it
            if records is None:
                raise ElementError("missing_field", f"no records at {_names(self._each)} (each)")
            found = records if type(records) is list else [records]
            if not found:
                raise ElementError("empty", f"no records at {_names(self._each)} (each)")
        return [self._root(each) for each in found] if self._roots else found

    def wants(self, parse: Callable[[], Any]) -> bool:
        """Whether the record that `parse` gives is of a type that is a request, or of none."""
        if self._only is None:
            return True
        pointer, types = self._only
        record = parse()
        return type(record) is not dict or Document(record).find(pointer) in (None, *types)

    def _root(self, value: Any) -> Any:
        document = Document(value)
        for steps in self._roots:
            record = _opened(document, steps)
            if type(record) is dict:
                return record
        return ElementError("missing_field", f"no record at {_names(self._roots)} (root)")

    def read(
        self,
        value: dict[str, Any],
        latest: float,
        unreadable: Counter[str],
        parse_text: Callable[[str], Any] = parse_text,
    ) -> dict[str, Any]:
        """The fields of an event in a record, each in its own type.

        Args:
            latest: the latest possible time, epoch seconds.
            unreadable: gets one for each field that is present but cannot be read.
            parse_text: reads the JSON in a string.

        Raises:
            ElementError: if a required field is absent or cannot be read.
        """
        document = Document(value, parse_text)
        reading = self._reading._replace(latest=latest)
        holders = self._holders.find(document)
        fields = {}
        for field, places, parser in self._plan:
            found: list[Any] = []
            where: list[Pointer] = []
            error: Exception | None = None
            for index, place in places:
                holder = holders[index]
                if holder is None:
                    continue
                if type(holder) is dict and not place.headers:  # most places: no call for them
                    each = holder.get(place.name)
                else:
                    each = document.child(holder, place.name, place.headers)
                if each is not None and place.values is not None:
                    each = _translate(each, place.values)
                if each is None:
                    continue
                try:
                    parsed = parser.parse(each, place, reading)
                except (ValueError, TypeError, OverflowError) as failed:
                    error = error or _described(failed, each)
                    continue
                if parsed is not None:
                    if place.add is not None:  # never past the clock: that would reject the request
                        parsed = min(parsed + self._duration(document, place.add), latest)
                    found.append(parsed)
                    where.append((*place.steps, place.name))
                    if parser.combine is None:
                        break
            if len(found) > 1:
                found = _outermost(document, dict(zip(where, found, strict=True)))
            if found:
                fields[field] = parser.combine(found) if parser.combine else found[0]
            elif field in _REQUIRED:
                raise _required(field, places, error)
            if error is not None and (parser.combine is not None or not found):
                unreadable[field] += 1
        if fields.get("end_user") == fields["api_key"]:  # the key is a user's own
            del fields["end_user"]
        return _with_texts(fields)

    def response(self, document: Any) -> str:
        """The text of the response that a record holds; empty if it holds none."""
        if type(document) is not dict:
            return ""
        holder = Document(document)
        texts = (text_of(holder.find(steps)) for steps in self._responses)
        return next(filter(None, texts), "")

    def second_id(self, document: dict[str, Any], first: str | None) -> str | None:
        """The second id of a request that several records may describe, empty if it has one id.

        Returns:
            `None` if no other record describes the request.
        """
        if not self._joins or first is None:
            return None
        second = document.get("callId")
        return second if type(second) is str and second != first else ""

    def _duration(self, document: Document, place: Place) -> float:
        """The duration at a place, in seconds; 0 if there is none that makes sense."""
        value = document.child(document.find(place.steps), place.name, place.headers)
        try:
            seconds = PARSERS["temperature"].parse(value, place, self._reading)
        except (ValueError, TypeError, OverflowError):
            return 0.0
        seconds = (seconds or 0.0) / (place.per_second or 1.0)
        return float(seconds) if 0.0 <= seconds <= _MAX_ADDED else 0.0


def _outermost(document: Document, found: dict[Pointer, Any]) -> list[Any]:
    """The values that no other one contains. A container that is a string is opened: what stands
    inside it shows that it holds JSON.
    """
    inner = {steps: [steps[:end] for end in range(1, len(steps))] for steps in found}
    containers = {steps for above in inner.values() for steps in above}
    return [
        document.opened(value) if steps in containers and type(value) is str else value
        for steps, value in found.items()
        if not any(container in found for container in inner[steps])
    ]


def _with_texts(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with one prompt and one system prompt; all other texts are with the messages."""
    first, *others = fields.pop("prompt", [None])
    documents = [{"type": "document", "text": text} for text in fields.pop("documents", ())]
    messages = [*others, *documents, *fields.pop("messages", ())]
    return {
        **fields,
        "prompt": first,
        "system": "\n".join(fields.pop("system", ())) or None,
        "messages": messages if len(messages) > 1 else messages[0] if messages else None,
    }


def _described(error: Exception, value: Any) -> Exception:
    if isinstance(error, TimeError):
        return error
    return TypeError(KINDS.get(type(value), "a value"))


def _required(field: str, places: list[tuple[int, Place]], error: Exception | None) -> ElementError:
    """Why a required field cannot be used, with the remedy."""
    if isinstance(error, TimeError):
        return ElementError("future" if error.future else "bad_time", str(error))
    if error is not None:
        expected = PARSERS[field].expected
        return ElementError("wrong_type", f"{field} is {error}, not {expected}")
    first = "/".join(("", *places[0][1].steps, places[0][1].name))
    where = first if len(places) == 1 else f"{first} or {len(places) - 1} more places"
    return ElementError(
        "missing_field", f'{field} is missing or empty at {where[:80]}: set {field} = "/its/place"'
    )


def _opened(document: Document, steps: Pointer) -> Any:
    value = document.find(steps)
    return document.opened(value) if type(value) is str else value


def _names(pointers: list[Pointer]) -> str:
    return " or ".join("/".join(("", *steps))[:40] or '""' for steps in pointers[:3])


def _translate(word: Any, values: Mapping[str, Any]) -> Any:
    """The meaning of a word. An unlisted number means itself, any other unlisted word nothing."""
    if type(word) not in (str, int):
        return None
    return values.get(str(word), word if str(word).isdecimal() else None)


def _place(field: str, spec: Any) -> Place:
    if field not in PARSERS:
        raise ConfigError(
            f"Unknown mapping field {field!r}. Use one of {', '.join(PARSERS)}, or root, each, "
            "only, zone, identity, strip."
        )
    entry = {"path": spec} if isinstance(spec, str) else spec
    if not isinstance(entry, Mapping) or entry.keys() - _PLACE:
        raise ConfigError(
            f"Mapping field {field} must be a JSON Pointer, a list of places, or a table of "
            "path and, where needed, unit, values or add."
        )
    path, unit, values = entry.get("path"), entry.get("unit", "s"), entry.get("values")
    steps = compile_pointer(path)
    if not steps:
        raise ConfigError(
            f"Mapping field {field}: {path!r} is not a JSON Pointer. Write it like /request/model, "
            "with ~1 for / and ~0 for ~ inside a name."
        )
    if "unit" in entry and (unit not in [*PER_SECOND] or field not in _DURATIONS):
        raise ConfigError(
            f"Mapping field {field} cannot have the unit {unit!r}. Only ts and latency_ms have a "
            f"unit, one of {', '.join(PER_SECOND)}."
        )
    if values is not None and not isinstance(values, Mapping):
        raise ConfigError(
            f"Mapping field {field}: values must be a table such as {{ success = 200 }}."
        )
    add = entry.get("add")
    if add is not None and field != "ts":
        raise ConfigError(f"Mapping field {field} cannot have add. Only ts adds a duration.")
    return Place(
        steps[:-1],
        steps[-1],
        any(is_headers(step) for step in steps[-2:-1]),
        PER_SECOND[unit] if "unit" in entry else None,
        values,
        None if add is None else _place("latency_ms", add),
    )
