"""`xm forward` follows log files into Kafka."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.support.apps import new_topic
from tests.support.forwarder import Forwarder, read_topic
from tests.support.workers import until


def line(number: int, key: str = "sk-1", **more: object) -> bytes:
    event = {"ts": 1_772_020_800.0 + number, "api_key": key, "id": f"r{number}", **more}
    return json.dumps(event).encode()


def append(path: Path, *lines: bytes) -> None:
    with path.open("ab") as file:
        file.writelines(each + b"\n" for each in lines)


def arrived(kafka: str, topic: str, number: int) -> Callable[[], bool]:
    return lambda: len(read_topic(kafka, topic)) >= number


def test_lines_arrive_as_they_are_with_their_keys(kafka: str, tmp_path: Path) -> None:
    topic, log = new_topic(kafka), tmp_path / "access.json"
    lines = [
        line(1),
        line(2, key="Bearer sk-2"),
        line(3, account="acct-1"),
        b'{"ts": 1772020804.0, "api_key": "sk-4", "prompt": "caf\\u00e9 \xc3\xa9"}\r',
        b"no request",
        b"[" + line(6, "sk-6") + b", " + line(7, "sk-7") + b"]",
    ]
    append(log, *lines[:2], b"", *lines[2:])
    with Forwarder(tmp_path / "forwarder", kafka, topic, log):
        until(arrived(kafka, topic, 7))
        append(log, line(8))
        until(arrived(kafka, topic, 8))
    found = [(record.key, record.value) for record in read_topic(kafka, topic)]
    assert found == [
        (b"sk-1", lines[0]),
        (b"sk-2", lines[1]),
        (b"acct-1", lines[2]),
        (b"sk-4", lines[3]),
        (b"", lines[4]),
        (b"sk-6", line(6, "sk-6")),
        (b"sk-7", line(7, "sk-7")),
        (b"sk-1", line(8)),
    ]
