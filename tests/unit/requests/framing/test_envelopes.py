"""Records in the envelopes of log shippers, buses and change data capture, through the decoder."""

import base64
import doctest
import gzip
import json

import pytest

import monitor.requests.framing.envelopes
import monitor.requests.framing.text
import monitor.requests.framing.unframe
from monitor.requests.decoder import Decoder
from monitor.requests.framing.elements import MAX_ELEMENTS

NOW = 1_772_040_010.0
RECORD = {"ts": 1_772_040_000.0, "api_key": "key-inner", "prompt": "Name three rivers in Peru."}
TEXT = json.dumps(RECORD)
BASE64 = base64.b64encode(TEXT.encode()).decode()
TIME = "2026-02-25T17:20:01Z"
LOG_EVENTS = {
    "messageType": "DATA_MESSAGE",
    "logGroup": "gateway",
    "logEvents": [{"id": "1", "timestamp": 1, "message": TEXT}],
}
MAPPINGS = ["native", {"ts": "/ts", "api_key": "/api_key", "prompt": "/prompt"}]

ENVELOPES = {
    "CloudEvents": {"specversion": "1.0", "id": "1", "time": TIME, "data": RECORD},
    "CloudEvents, text": {"specversion": "1.0", "id": "1", "type": "t", "data": TEXT},
    "CloudEvents, base64": {"specversion": "1.0", "id": "1", "data_base64": BASE64},
    "Debezium": {"before": None, "after": RECORD, "op": "c", "ts_ms": 1},
    "Debezium, snapshot": {"after": RECORD, "op": "r", "source": {}},
    "Debezium, MongoDB": {"after": TEXT, "op": "c", "source": {}},
    "Debezium, with schema": {"schema": {}, "payload": {"after": RECORD, "op": "u"}},
    "Kafka Connect": {"schema": {"type": "struct"}, "payload": RECORD},
    "Filebeat": {"@timestamp": TIME, "agent": {"type": "filebeat"}, "message": TEXT},
    "Filebeat of Docker": {"@timestamp": TIME, "message": json.dumps({"log": TEXT + "\n"})},
    "Fluent Bit": {"date": 1.5, "log": TEXT + "\n", "kubernetes": {"pod_name": "gw-1"}},
    "Vector": {"timestamp": TIME, "source_type": "file", "message": TEXT},
    "Logstash": {"@timestamp": TIME, "@version": "1", "event": {"original": TEXT}},
    "journald": {"MESSAGE": TEXT, "_PID": "7"},
    "Promtail": {"line": TEXT, "labels": "{}"},
    "Splunk": {"time": 1.5, "host": "gw-1", "sourcetype": "_json", "event": RECORD},
    "CloudWatch": LOG_EVENTS,
    "CloudWatch, Lambda": {
        "awslogs": {
            "data": base64.b64encode(gzip.compress(json.dumps(LOG_EVENTS).encode())).decode()
        }
    },
    "Kinesis, Lambda": {"Records": [{"eventID": "1", "kinesis": {"data": BASE64}}]},
    "Firehose": {"invocationId": "1", "records": [{"recordId": "1", "data": BASE64}]},
    "SQS": {"Records": [{"messageId": "1", "body": TEXT}]},
    "SNS": {"Type": "Notification", "MessageId": "1", "Message": TEXT},
    "EventBridge": {"detail-type": "request", "time": TIME, "detail": RECORD},
    "Event Hub": {"records": [RECORD]},
    "Event Grid": {"id": "1", "eventType": "t", "eventTime": TIME, "data": RECORD},
    "Pub/Sub push": {"message": {"data": BASE64, "messageId": "1"}, "subscription": "s"},
    "Pub/Sub pull": {"receivedMessages": [{"ackId": "1", "message": {"data": BASE64}}]},
    "Cloud Logging": {"insertId": "1", "logName": "l", "timestamp": TIME, "jsonPayload": RECORD},
    "Cloud Logging, text": {"logName": "l", "timestamp": TIME, "textPayload": TEXT},
    "Maxwell": {"database": "d", "table": "t", "type": "insert", "ts": 1, "data": RECORD},
    "Airbyte": {"_airbyte_raw_id": "1", "_airbyte_data": TEXT},
    "Elasticsearch": {"_index": "i", "_id": "1", "_source": RECORD},
    "kcat": {"topic": "t", "partition": 0, "offset": 1, "key": None, "payload": TEXT},
}


def decode(document, mapping="native"):
    return Decoder(mapping).decode([json.dumps(document).encode()], NOW)


@pytest.mark.parametrize("mapping", MAPPINGS, ids=["native", "mapped"])
@pytest.mark.parametrize("document", ENVELOPES.values(), ids=ENVELOPES)
def test_envelope_is_opened(document, mapping):
    decoded = decode(document, mapping)
    assert [event.api_key for event in decoded.events] == ["key-inner"]
    assert decoded.rejections == []


@pytest.mark.parametrize("document", ENVELOPES.values(), ids=ENVELOPES)
def test_envelope_splits_as_it_decodes(document):
    assert [json.loads(each) for each in Decoder().split(json.dumps(document).encode())] == [RECORD]


def test_every_record_of_an_envelope_counts():
    records = [RECORD | {"api_key": str(i)} for i in range(5)]
    decoded = decode({"records": records})
    assert [event.api_key for event in decoded.events] == list("01234")
    assert decoded.elements == [0, 1, 2, 3, 4]


def test_record_of_an_envelope_is_rejected_alone():
    decoded = decode({"records": [RECORD, {"ts": 1}, RECORD]})
    assert (len(decoded.events), [each.element for each in decoded.rejections]) == (2, [1])


@pytest.mark.parametrize(
    "document",
    [
        {"before": RECORD, "after": None, "op": "d", "ts_ms": 1},
        {"schema": {}, "payload": {"before": RECORD, "after": None, "op": "d"}},
        {"database": "d", "table": "t", "type": "delete", "data": RECORD},
        {"messageType": "CONTROL_MESSAGE", "logEvents": [{"message": "CWL CONTROL MESSAGE"}]},
    ],
)
def test_deleted_row_is_no_request(document):
    decoded = decode(document)
    assert (decoded.events, decoded.rejections, decoded.ignored) == ([], [], {"no_row": 1})


@pytest.mark.parametrize(
    "decoy",
    [
        {"specversion": "1.0", "data": RECORD},
        {"op": "d", "before": RECORD, "after": None},
        {"message": TEXT},
        {"records": [RECORD]},
    ],
)
@pytest.mark.parametrize("named", [{"api_key": "key-outer"}, {"status": 401}])
def test_client_cannot_turn_a_record_into_an_envelope(decoy, named):
    decoded = decode({"ts": RECORD["ts"]} | decoy | named)
    assert "key-inner" not in [event.api_key for event in decoded.events]
    assert len(decoded.events) + len(decoded.rejections) == 1


def test_message_that_is_not_json_is_rejected():
    decoded = decode({"@timestamp": TIME, "message": "Listening on port 4000."})
    assert [each.reason for each in decoded.rejections] == ["missing_field"]


def test_envelope_in_envelope_without_end_is_rejected():
    document = RECORD
    for _ in range(9):
        document = {"records": [document]}
    assert len(decode(document).rejections) == 1


def test_envelope_of_too_many_records_is_too_large():
    decoded = decode({"records": [0] * (MAX_ELEMENTS + 1)})
    assert [each.reason for each in decoded.rejections] == ["too_large"]


@pytest.mark.parametrize("module", ["envelopes", "text", "unframe"])
def test_framing_examples_hold(module):
    tested = doctest.testmod(getattr(monitor.requests.framing, module))
    assert (tested.failed, tested.attempted > 0) == (0, True)
