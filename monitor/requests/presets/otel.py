"""OpenTelemetry: the model calls of an export (`monitor/requests/otel`), as a mapping needs them.

A field that the operator maps and that is about the model marks a model call. So instrumentation
with attributes of its own needs nothing but the mapping.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from monitor.requests.otel.calls import model_calls
from monitor.requests.otel.protobuf import decode_export
from monitor.requests.parsing.pointers import Document, Pointer, compile_pointer
from monitor.requests.reasons import ElementError

# Fields that say who asks, from where. A call takes them from the spans around it.
_OF_CUSTOMERS = (
    *("api_key", "account", "end_user", "payment", "ip", "tls_fingerprint", "user_agent"),
    *("country", "asn"),
)
_OF_MODELS = (
    *("messages", "prompt", "system", "documents", "model", "input_tokens", "output_tokens"),
    *("cached_tokens", "max_tokens", "temperature", "n", "logprobs", "tools", "turns"),
)


class ModelCalls:
    """Finds the model calls in a document.

    Args:
        own: what the operator maps.
        table: the whole mapping.
    """

    def __init__(self, own: Mapping[str, Any], table: Mapping[str, Any]) -> None:
        self._signs = list(_pointers(own, _OF_MODELS))
        self._inherited = list(
            dict.fromkeys(
                steps[1]
                for steps in _pointers(table, _OF_CUSTOMERS)
                if len(steps) > 1 and steps[0] == "attributes"
            )
        )

    def __call__(self, document: dict[str, Any], ignored: Counter[str]) -> list[Any]:
        """The model calls, one object each.

        Args:
            document: an export, a span or a log record.
            ignored: gets the number of records that are no request of their own, by reason.
        """
        calls, others = model_calls(document, self._is_mapped, self._inherited)
        ignored.update(others)
        return list(calls)

    def _is_mapped(self, record: dict[str, Any]) -> bool:
        document = Document(record)
        return any(document.find(steps) not in (None, "") for steps in self._signs)


def decode_binary(value: bytes) -> list[Any]:
    """The export in OTLP protobuf.

    Raises:
        ElementError: if the value is anything else.
    """
    export = decode_export(value)
    if export is None:
        raise ElementError(
            "undecodable",
            "binary, but no OTLP export of spans or logs: set encoding to otlp_proto or otlp_json",
        )
    return [export]


def _pointers(table: Mapping[str, Any], fields: tuple[str, ...]) -> Iterator[Pointer]:
    """The places of some fields in a mapping table."""
    for field in fields:
        places = table.get(field, [])
        for place in places if isinstance(places, list) else [places]:
            steps = compile_pointer(place.get("path") if isinstance(place, Mapping) else place)
            if steps:
                yield steps
