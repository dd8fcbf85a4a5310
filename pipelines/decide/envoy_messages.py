"""The messages of Envoy's `envoy.service.auth.v3` that the decision service reads and writes.

They have Envoy's field numbers and are made when the process starts, under names of their own. So
they work with every version of protobuf, and beside packages that bring all of Envoy's messages.
Fields that are not listed are skipped.

What a client writes has the type `bytes`, which looks the same on the wire as `string`. Protobuf
rejects a message whose strings are not UTF-8, and Envoy would let the request pass.

Source of the numbers: `external_auth.proto`, `attribute_context.proto`, `base.proto` and
`http_status.proto` of https://github.com/envoyproxy/envoy/tree/main/api.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_PACKAGE = "extraction_monitor.ext_authz"
#: By message: name, number and type of each field. `*`: repeated; `%`: a map from text to bytes.
_FIELDS: dict[str, list[tuple[str, int, str]]] = {
    "CheckRequest": [("attributes", 1, "Attributes")],
    "Attributes": [("request", 4, "Request"), ("context_extensions", 10, "%")],
    "Request": [("http", 2, "HttpRequest")],
    "HttpRequest": [("headers", 3, "%"), ("path", 4, "bytes"), ("header_map", 13, "HeaderMap")],
    "HeaderMap": [("headers", 1, "*HeaderValue")],
    "HeaderValue": [("key", 1, "string"), ("value", 2, "bytes"), ("raw_value", 3, "bytes")],
    "CheckResponse": [
        ("status", 1, "Status"),
        ("denied_response", 2, "Denied"),
        ("ok_response", 3, "Ok"),
    ],
    "Status": [("code", 1, "int32"), ("message", 2, "string")],
    "Denied": [
        ("status", 1, "HttpStatus"),
        ("headers", 2, "*HeaderOption"),
        ("body", 3, "string"),
    ],
    "HttpStatus": [("code", 1, "int32")],
    "Ok": [("headers", 2, "*HeaderOption"), ("headers_to_remove", 5, "*string")],
    "HeaderOption": [("header", 1, "HeaderValue"), ("append_action", 3, "int32")],
}
_SCALARS = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "int32": FieldDescriptorProto.TYPE_INT32,
}


def message(name: str) -> Any:
    """The class of a message."""
    return GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


def _described() -> FileDescriptorProto:
    file = FileDescriptorProto(name="extraction_monitor/ext_authz.proto", package=_PACKAGE)
    file.syntax = "proto3"
    for name, fields in _FIELDS.items():
        described = file.message_type.add(name=name)
        for field, number, kind in fields:
            _add(described, field, number, kind)
    return file


def _add(described: Any, name: str, number: int, kind: str) -> None:
    field = described.field.add(name=name, number=number)
    repeated = kind.startswith(("*", "%"))
    field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
    kind = kind.removeprefix("*")
    if kind == "%":
        kind = "".join(part.capitalize() for part in name.split("_")) + "Entry"
        entry = described.nested_type.add(name=kind)
        entry.options.map_entry = True
        _add(entry, "key", 1, "string")
        _add(entry, "value", 2, "bytes")
        kind = f"{described.name}.{kind}"
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"


_POOL = DescriptorPool()
_POOL.AddSerializedFile(_described().SerializeToString())
