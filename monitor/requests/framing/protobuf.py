"""Protobuf values, decoded with the descriptors of their files.

A descriptor is what `protoc` compiles a `.proto` file to. Registries answer it for
`format=serialized`; `protoc --include_imports --descriptor_set_out=FILE` writes it to a file.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Any

from monitor.errors import ConfigError
from monitor.requests.reasons import ElementError

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
    from google.protobuf.message import DecodeError
except ImportError:  # pragma: no cover
    descriptor_pb2 = None

_LONGEST_PATH = 16  # message types nested in each other


def require() -> None:
    """Check that the library is installed.

    Raises:
        ConfigError: names the extra that has it.
    """
    if descriptor_pb2 is None:
        raise ConfigError(
            "These messages are Protobuf, and protobuf is not installed. "
            "Install it: `pip install 'extraction-monitor[protobuf]'`."
        )


class Files:
    """The message types of some `.proto` files.

    Args:
        descriptors: serialized `FileDescriptorProto`s, those that others import first.
            The last one is the file whose types are numbered.

    Raises:
        ElementError: if a descriptor is invalid or an import is missing.
    """

    def __init__(self, descriptors: Sequence[bytes]) -> None:
        require()
        self._pool = descriptor_pool.DescriptorPool()
        try:
            for data in _well_known():
                self._pool.AddSerializedFile(data)
            for data in descriptors:
                file = descriptor_pb2.FileDescriptorProto.FromString(data)
                self._file = file.name
                if not file.name.startswith("google/protobuf/"):
                    self._pool.AddSerializedFile(data)
            self._messages = list(self._pool.FindFileByName(self._file).message_types_by_name)
        except (DecodeError, TypeError, KeyError, ValueError) as error:
            reason = type(error).__name__
            raise ElementError(
                "undecodable", f"the Protobuf descriptor is invalid or lacks an import ({reason})"
            ) from None

    @classmethod
    def of_set(cls, data: bytes) -> Files:
        """From a `FileDescriptorSet`, as `protoc` writes it."""
        require()
        try:
            files = descriptor_pb2.FileDescriptorSet.FromString(data).file
        except DecodeError:
            files = []
        if not files:
            raise ElementError("undecodable", "it is no descriptor set")
        return cls([file.SerializeToString() for file in files])

    def numbered(self, path: Sequence[int]) -> Callable[[bytes], Any]:
        """A function that decodes the message type at a path of indices in the last file."""
        try:
            types = list(self._pool.FindFileByName(self._file).message_types_by_name.values())
            found = types[path[0]]
            for index in path[1:]:
                found = found.nested_types[index]
        except IndexError:
            raise ElementError(
                "undecodable", "the value names a message type that its schema does not have"
            ) from None
        return self._decoder(found)

    def named(self, name: str | None) -> Callable[[bytes], Any]:
        """A function that decodes a message type; default: the first of the last file."""
        if name is None:
            return self.numbered([0])
        try:
            return self._decoder(self._pool.FindMessageTypeByName(name))
        except KeyError:
            raise ElementError("undecodable", f"there is no message type {name}") from None

    def _decoder(self, descriptor: Any) -> Callable[[bytes], Any]:
        message = message_factory.GetMessageClass(descriptor)

        def decode(value: bytes) -> Any:
            try:
                return json_format.MessageToDict(
                    message.FromString(value),
                    preserving_proto_field_name=True,
                    descriptor_pool=self._pool,
                )
            except Exception:  # DecodeError, and what the printer of well-known types raises
                raise ElementError(
                    "undecodable", "the value does not fit its Protobuf schema"
                ) from None

        return decode


def message_path(value: bytes) -> tuple[tuple[int, ...], bytes]:
    """The path of indices in front of a Confluent Protobuf value, and the value without it."""
    count, rest = _zigzag(value)
    if not 0 <= count <= _LONGEST_PATH:
        raise _bad_path()
    path = []
    for _ in range(count):
        index, rest = _zigzag(rest)
        path.append(index)
    if any(index < 0 for index in path):
        raise _bad_path()
    return tuple(path) or (0,), rest


def _zigzag(value: bytes) -> tuple[int, bytes]:
    number = 0
    for at, byte in enumerate(value[:5]):
        number |= (byte & 0x7F) << 7 * at
        if byte < 0x80:
            return number >> 1 ^ -(number & 1), value[at + 1 :]
    raise _bad_path()


def _bad_path() -> ElementError:
    return ElementError("undecodable", "the value names no Protobuf message type")


def from_base64(text: str) -> bytes:
    """A descriptor as a registry answers it."""
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise ElementError(
            "undecodable",
            "the schema registry serves no descriptors (format=serialized): write one with protoc, "
            "set XM_REGISTRY__FILE",
        ) from None


def _well_known() -> list[bytes]:
    """Descriptors of the files that `protoc` brings along."""
    from google.protobuf import (
        any_pb2,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    )

    modules = (
        any_pb2,
        descriptor_pb2,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    )
    return [module.DESCRIPTOR.serialized_pb for module in modules]
