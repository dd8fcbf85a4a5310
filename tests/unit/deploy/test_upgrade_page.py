"""The page on upgrades names the versions of data that the code writes and reads."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from monitor.alerting.alerts import Alert
from monitor.campaigns.fingerprint import FINGERPRINT_VERSION, LAYOUTS
from monitor.config import Settings
from monitor.errors import StoreRefusedError
from monitor.linker import LinkPartition
from monitor.operator import PartitionState
from monitor.partition import Partition
from monitor.records.baseline import shipped_reference
from monitor.records.migrations import EARLIER
from monitor.records.profile import RECORD_VERSION

PAGE = Path(__file__).parents[3] / "deploy/docs/upgrade.md"
PARTITIONS = (Partition("x:0", 0, shipped_reference()), LinkPartition("x:0", 0, Settings()))


def versions_in_page() -> list[tuple[int, list[int]]]:
    """The version written and those read, of each row of the table."""
    rows = re.findall(r"\| (\d+) \| (\d+)(?: to (\d+))? \|$", PAGE.read_text(), re.MULTILINE)
    return [(int(w), [*range(int(first), int(last or first) + 1)]) for w, first, last in rows]


def versions_of(partition: PartitionState) -> tuple[int, list[int]]:
    """The version of the state that a partition writes, and those that it reads."""
    state = msgspec.msgpack.decode(partition.snapshot())
    with pytest.raises(StoreRefusedError, match="newest release") as refusal:
        partition.restore(msgspec.msgpack.encode([state[0] + 1, *state[1:]]))
    (_, known) = str(refusal.value).split("not ", 1)
    return state[0], [int(each) for each in re.findall(r"\d+", known.split(":")[0])]


def test_page_names_versions_of_data():
    alert = next(each for each in msgspec.structs.fields(Alert) if each.name == "version")
    assert versions_in_page() == [
        (RECORD_VERSION, sorted([*EARLIER, RECORD_VERSION])),
        *map(versions_of, PARTITIONS),
        (FINGERPRINT_VERSION, sorted(LAYOUTS)),
        (alert.default, [alert.default]),
    ]
