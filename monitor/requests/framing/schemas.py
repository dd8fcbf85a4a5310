"""Values that are encoded with a schema: Confluent's wire format, and bare values.

In Confluent's wire format a zero byte and a four-byte id precede the value. The schema comes from
a registry, by the id, or from one file for all messages. JSON needs no schema.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monitor.config import Registry as Settings
from monitor.errors import ConfigError
from monitor.requests.framing import avro, protobuf
from monitor.requests.framing.registry import Registry, Resolved
from monitor.requests.reasons import ElementError

Decode = Callable[[bytes], Any]

_HEADER = 5  # bytes: the zero and the id
_LONG_HEADER = 9  # bytes, with the ids that Apicurio writes by default
_NO_SOURCE = (
    "Avro or Protobuf with schema {}: set XM_REGISTRY__URL (registry) or XM_REGISTRY__FILE (schema)"
)


class Schemas:
    """Decodes values by their schema.

    Args:
        settings: where schemas are.
        clock: seconds, rising.

    Raises:
        ConfigError: if a schema file cannot be used.
    """

    def __init__(
        self, settings: Settings | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        settings = settings or Settings()
        self._registry = Registry(settings, clock) if settings.url else None
        self._file: Decode | None = None
        self._has_paths = False  # in front of framed values
        if settings.file:
            self._file, self._has_paths = _file_decoder(settings.file, settings.message)
        self._decoders: dict[tuple[int, tuple[int, ...]], Decode] = {}
        self._files: dict[int, protobuf.Files] = {}

    @property
    def bare(self) -> Callable[[bytes], list[Any]] | None:
        """Decodes values without an id by the schema file; `None` without one."""
        return None if self._file is None else self._by_file

    def confluent(self, value: bytes) -> bytes | list[Any]:
        """The JSON text or the documents of a value that begins with a zero byte.

        Raises:
            ElementError: if it cannot be decoded, with the remedy.
            RegistryUnavailableError: if its schema cannot be fetched now.
        """
        for header in (_HEADER, _LONG_HEADER):
            text = value[header:]
            if text[:1] in (b"{", b"[") and text.rstrip()[-1:] in (b"}", b"]"):
                return text
        if len(value) < _HEADER:
            raise ElementError("undecodable", "the value is binary and has no schema id")
        number = int.from_bytes(value[1:_HEADER], "big")
        if self._file is not None:
            return self._framed_by_file(value)
        if self._registry is None:
            raise ElementError("undecodable", _NO_SOURCE.format(number))
        return self._by_registry(self._registry, number, value[_HEADER:])

    def _by_file(self, value: bytes) -> list[Any]:
        assert self._file is not None
        return [self._file(value)]

    def _framed_by_file(self, value: bytes) -> list[Any]:
        inner = value[_HEADER:]
        try:
            return self._by_file(protobuf.message_path(inner)[1] if self._has_paths else inner)
        except ElementError:
            return self._by_file(value)  # a bare value that begins with a zero

    def _by_registry(self, registry: Registry, number: int, value: bytes) -> bytes | list[Any]:
        found = registry(number)
        path: tuple[int, ...] = ()
        if found.schema.kind == "JSON":
            return value
        if found.schema.kind == "PROTOBUF":
            path, value = protobuf.message_path(value)
        if (number, path) not in self._decoders:
            self._decoders[number, path] = self._decoder(number, found, path)
        return [self._decoders[number, path](value)]

    def _decoder(self, number: int, found: Resolved, path: tuple[int, ...]) -> Decode:
        schema, references = found
        if schema.kind == "AVRO":
            texts = {name: inner.text for name, inner in references.items()}
            return avro.decoder(schema.text, texts)
        if schema.kind != "PROTOBUF":
            raise ElementError("undecodable", f"schema {number} is neither Avro, Protobuf nor JSON")
        protobuf.require()
        if number not in self._files:
            needed = [*references.values(), schema]
            files = [protobuf.from_base64(each.text) for each in needed]
            self._files[number] = protobuf.Files(files)
        return self._files[number].numbered(path)


def _file_decoder(file: Path, message: str | None) -> tuple[Decode, bool]:
    """The function that decodes by a schema file, and whether it is for Protobuf."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"XM_REGISTRY__FILE names {file}, which cannot be read: {error.strerror}."
        ) from error
    try:
        if data.lstrip()[:1] in (b"{", b"["):
            return avro.decoder(data.decode("utf-8", "replace"), {}), False
        return protobuf.Files.of_set(data).named(message), True
    except ElementError as error:
        raise ConfigError(
            f"XM_REGISTRY__FILE names {file}, which cannot be used: {error.detail}. Give an Avro "
            "schema (.avsc) or a descriptor set from "
            "`protoc --include_imports --descriptor_set_out=FILE`."
        ) from error
