"""Envelopes: what log shippers, message buses and change data capture put around a record.

An envelope is recognised by its fields. The decoder opens one only where the mapping finds nothing
but a time or an id in the document as it is. So a client cannot write fields into a gateway's
record that make it look like an envelope: the gateway's own fields in it prevent that.

>>> opener = Opener(lambda value: value, 1_000, 10)
>>> opener({"host": {"name": "gw-1"}, "message": '{"ts": 1, "api_key": "k"}'})
[b'{"ts": 1, "api_key": "k"}']
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from monitor.requests.reasons import ElementError

LAYERS = 4  # of envelopes in envelopes


class Envelope(NamedTuple):
    """One kind of envelope.

    Attributes:
        name: what writes it.
        fields: top-level fields that all envelopes of this kind have.
        record: path to the record, or to the array of records.
        skipped: a field and its values in envelopes that hold no request, for example of a
            deletion.
    """

    name: str
    fields: tuple[str, ...]
    record: tuple[str, ...]
    skipped: tuple[str, tuple[str, ...]] = ("", ())


_NO_ROW = ("op", ("d", "t", "m"))  # delete, truncate, message
_NO_INSERT = ("type", ("delete", "DELETE", "truncate", "TRUNCATE"))
_CONTROL = ("messageType", ("CONTROL_MESSAGE",))

# A field that must hold text with JSON in it is the last resort of several shippers; kinds with
# more telling fields come first.
ENVELOPES = (
    Envelope("cloudevents", ("specversion", "data"), ("data",)),
    Envelope("cloudevents", ("specversion", "data_base64"), ("data_base64",)),
    Envelope("debezium", ("op", "after"), ("after",), _NO_ROW),
    Envelope("debezium", ("op", "before"), ("after",), _NO_ROW),
    Envelope("kafka-connect", ("schema", "payload"), ("payload",)),
    Envelope(
        "cloudwatch",
        ("messageType", "logEvents"),
        ("logEvents",),
        ("messageType", ("CONTROL_MESSAGE",)),
    ),
    Envelope("cloudwatch", ("awslogs",), ("awslogs", "data")),
    Envelope("kinesis", ("kinesis",), ("kinesis", "data")),
    Envelope("firehose", ("recordId", "data"), ("data",)),
    Envelope("sns", ("Type", "Message"), ("Message",)),
    Envelope("sns", ("Sns",), ("Sns", "Message")),
    Envelope("sqs", ("messageId", "body"), ("body",)),
    Envelope("aws-lambda", ("Records",), ("Records",)),
    Envelope("eventbridge", ("detail-type", "detail"), ("detail",)),
    Envelope("event-hub", ("records",), ("records",)),
    Envelope("event-grid", ("eventType", "data"), ("data",)),
    Envelope("pubsub", ("subscription", "message"), ("message", "data")),
    Envelope("pubsub", ("receivedMessages",), ("receivedMessages",)),
    Envelope("pubsub", ("ackId", "message"), ("message", "data")),
    Envelope("gcp-logging", ("logName", "jsonPayload"), ("jsonPayload",)),
    Envelope("gcp-logging", ("insertId", "jsonPayload"), ("jsonPayload",)),
    Envelope("gcp-logging", ("logName", "textPayload"), ("textPayload",)),
    Envelope("maxwell", ("database", "table", "type", "data"), ("data",), _NO_INSERT),
    Envelope("airbyte", ("_airbyte_data",), ("_airbyte_data",)),
    Envelope("elasticsearch", ("_index", "_source"), ("_source",)),
    Envelope("kcat", ("topic", "partition", "payload"), ("payload",)),
    Envelope("kafka-rest", ("topic", "partition", "value"), ("value",)),
    Envelope("splunk", ("sourcetype", "event"), ("event",)),
    Envelope("splunk", ("host", "event"), ("event",)),
    Envelope("logstash", ("event", "@timestamp"), ("event", "original")),
    Envelope("filebeat", ("message",), ("message",)),
    Envelope("fluentbit", ("log",), ("log",)),
    Envelope("journald", ("MESSAGE",), ("MESSAGE",)),
    Envelope("loki", ("line",), ("line",)),
)
NAMES = tuple(dict.fromkeys(envelope.name for envelope in ENVELOPES))


class Opener:
    """Opens the envelopes of one message.

    Args:
        open_text: unwraps text that is base64, compressed or both.
        most_bytes: that the wrapped records of the message may have together, unwrapped.
        most_records: of the message.
    """

    def __init__(
        self,
        open_text: Callable[[bytes], bytes],
        most_bytes: int,
        most_records: int,
    ) -> None:
        self._open_text = open_text
        self._bytes_left = most_bytes
        self._records_left = most_records

    def __call__(self, document: dict[str, Any]) -> list[Any] | None:
        """The records in an envelope, text as bytes; `None` if the document is none.

        Raises:
            ElementError: if a wrapped record is damaged or too large.
        """
        for envelope in ENVELOPES:
            if all(field in document for field in envelope.fields):
                field, values = envelope.skipped
                if field and document[field] in values:
                    return []
                records = self._records(_at(document, envelope.record))
                if records is not None:
                    self._records_left -= len(records)
                    if self._records_left < 0:
                        raise ElementError("too_large", "the message has too many records")
                    return records
        return None

    def _records(self, value: Any) -> list[Any] | None:
        if type(value) is dict:
            return [value]
        if type(value) is list:
            return [
                each.encode("utf-8", "replace") if type(each) is str else each for each in value
            ]
        return self._unwrapped(value) if type(value) is str else None

    def _unwrapped(self, value: str) -> list[Any] | None:
        data = value.encode("utf-8", "replace")
        found = self._open_text(data)
        if found != data:
            self._bytes_left -= len(found)
            if self._bytes_left < 0:
                raise ElementError("too_large", "the message has too many bytes decompressed")
        return [found] if found.lstrip()[:1] in (b"{", b"[") else None


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        document = document.get(step) if type(document) is dict else None
    return document
