"""Avro values, decoded with a schema or as object container files.

The compiled reader of fastavro does not bound two things, so such schemas are refused: a type that
contains itself (a deep value would exhaust the C stack) and an array whose items take no bytes (a
count of billions would fill the memory).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from monitor.errors import ConfigError
from monitor.requests.reasons import ElementError

CONTAINER = b"Obj\x01"  # the first bytes of an object container file

try:
    import fastavro
except ImportError:  # pragma: no cover
    fastavro = None  # type: ignore[assignment]

_MISSING = (
    "These messages are Avro, and fastavro is not installed. "
    "Install it: `pip install 'extraction-monitor[avro]'`."
)


def decoder(text: str, references: Mapping[str, str]) -> Callable[[bytes], Any]:
    """A function from an Avro value without a header to its document.

    Args:
        text: the schema, JSON.
        references: the schemas that it names, those that others need first.

    Raises:
        ConfigError: if fastavro is not installed.
        ElementError: if the schema cannot be used.
    """
    if fastavro is None:
        raise ConfigError(_MISSING)
    named: dict[str, Any] = {}
    try:
        for inner in references.values():
            fastavro.parse_schema(json.loads(inner), named_schemas=named)
        schema = fastavro.parse_schema(json.loads(text), named_schemas=named)
        _check(schema, named, ())
    except ElementError:
        raise
    except Exception as error:  # fastavro raises many types
        kind = type(error).__name__
        raise ElementError("undecodable", f"the Avro schema is invalid ({kind})") from None

    def decode(value: bytes) -> Any:
        source = io.BytesIO(value)
        try:
            document = to_json(fastavro.schemaless_reader(source, schema, None))
        except Exception:  # fastavro raises many types
            raise _damaged() from None
        if source.tell() != len(value):
            raise _damaged()
        return document

    return decode


def container_documents(value: bytes) -> list[Any]:
    """The records of an object container file, which brings its own schema.

    Raises:
        ConfigError: if fastavro is not installed.
        ElementError: if the file is compressed, damaged, or of a schema that cannot be used.
    """
    if fastavro is None:
        raise ConfigError(_MISSING)
    try:
        reader = fastavro.reader(io.BytesIO(value))
        if reader.codec != "null":
            raise ElementError(
                "undecodable", f"the Avro file is compressed with {reader.codec}: write it plain"
            )
        named: dict[str, Any] = {}
        _check(fastavro.parse_schema(reader.writer_schema, named_schemas=named), named, ())
        return [to_json(record) for record in reader]
    except ElementError:
        raise
    except Exception:  # fastavro raises many types
        raise _damaged() from None


def to_json(value: Any) -> Any:
    """The value with JSON's types only. Times become RFC 3339, whatever unit Avro stores."""
    if isinstance(value, dict):
        return {str(name): to_json(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [to_json(inner) for inner in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC).isoformat()
    if value is None or isinstance(value, (str, int, float)):
        return value
    return str(value)


def _check(schema: Any, named: Mapping[str, Any], inside: tuple[str, ...]) -> bool:
    """Whether a value can take no bytes.

    Raises:
        ElementError: if a type contains itself, or an array could hold billions of such values.
    """
    if isinstance(schema, list):
        for each in schema:
            _check(each, named, inside)
        return False
    if isinstance(schema, str):
        if schema not in named:
            return schema == "null"
        schema = named[schema]
    kind, name = schema["type"], schema.get("name")
    if kind in ("record", "error"):
        if name in inside:
            raise ElementError("undecodable", "the Avro schema has a type that contains itself")
        empty = [_check(each["type"], named, (*inside, name)) for each in schema["fields"]]
        return all(empty)
    if kind == "array" and _check(schema["items"], named, inside):
        raise ElementError("undecodable", "the Avro schema has an array of values without bytes")
    if kind == "map":
        _check(schema["values"], named, inside)
    if kind == "fixed":
        return bool(schema["size"] == 0)
    if isinstance(kind, (dict, list)):
        return _check(kind, named, inside)
    return bool(kind == "null")


def _damaged() -> ElementError:
    return ElementError("undecodable", "the value does not fit its Avro schema")
