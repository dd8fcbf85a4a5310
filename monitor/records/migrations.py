"""Records of other versions: what an older worker wrote is brought up to date as it is read.

A worker writes its own version only. So a new version is rolled out by replacing the workers one
by one; an old worker that meets a record of a new one refuses it, loses nothing, and says so. A
field that both versions have is carried over; what an older version did not keep starts empty.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.errors import StoreRefusedError
from monitor.records.profile import RECORD, VERSION

#: The layouts of earlier versions, by their number.
EARLIER = {
    1: np.dtype(
        [
            ("version", "<u2"),
            ("severity", "u1", 8),
            ("reserved", "u1", 6),
            ("first_seen", "<f8"),
            ("last_seen", "<f8"),
            ("opened", "<f8", 8),
            ("upheld", "<f8", 8),
            ("decided", "<f8"),
            ("requests", "<u8"),
            ("tokens", "<f8"),
            ("prompts", "<u8"),
            ("matches", "<u8", 2),
            ("looked", "<u8"),
            ("ids", "<u8", 16),
            ("short_head", "<i8"),
            ("middle_head", "<i8"),
            ("long_head", "<i8"),
            ("short_requests", "<u4", 30),
            ("middle_requests", "<u4", 12),
            ("long_requests", "<u4", 24),
            ("short_tokens", "<f4", 30),
            ("middle_tokens", "<f4", 12),
            ("long_tokens", "<f4", 24),
            ("day", "<i4"),
            ("hour", "<i4"),
            ("level", "<f4", 10),
            ("day_peak", "<f4", 10),
            ("hour_peak", "<f4", 10),
            ("own_hours", "<f4"),
            ("own_mean", "<f4", 10),
            ("own_variance", "<f4", 10),
            ("spare", "u1", 4),
        ]
    ),
    2: np.dtype(
        [
            ("version", "<u2"),
            ("severity", "u1", 8),
            ("group", "u1"),
            ("taught", "u1"),
            ("accused", "u1"),
            ("reserved", "u1", 3),
            ("first_seen", "<f8"),
            ("last_seen", "<f8"),
            ("opened", "<f8", 8),
            ("upheld", "<u4", 8),
            ("decided", "<f8"),
            ("tokens", "<f8"),
            ("requests", "<u4"),
            ("prompts", "<u4"),
            ("matches", "<u4", 2),
            ("looked", "<u4"),
            ("sketched", "<u4"),
            ("ids", "<u4", 12),
            ("id_count", "<u4"),
            ("budget_pane", "<i4"),
            ("budget_used", "<u4"),
            ("short_head", "<i4"),
            ("middle_head", "<i4"),
            ("long_head", "<i4"),
            ("day", "<i4"),
            ("hour", "<i4"),
            ("short_tokens", "<f4", 30),
            ("middle_tokens", "<f4", 12),
            ("long_tokens", "<f4", 24),
            ("middle_requests", "<u4", 12),
            ("long_requests", "<u4", 24),
            ("short_requests", "<u2", 30),
            ("level", "<f4", 16),
            ("day_peak", "<f4", 16),
            ("hour_peak", "<f4", 8),
            ("own_hours", "<f4"),
            ("own_mean", "<f4", 8),
            ("own_variance", "<f4", 8),
            ("followups", "<f4"),
            ("model_names", "<u4", 4),
            ("model_counts", "<f4", 4),
            ("templates", "<u4", 16),
            ("meaning", "<i2", (2, 64)),
            ("words", "<i2", (2, 32)),
            ("content", "<i2", (2, 64)),
            ("lists", "<f4", (5, 2)),
            ("distinct", "u1", (7, 32)),
            ("novelty", "u1", (2, 32)),
            ("rhythm", "u1", 24),
            ("model", "<u2"),
            ("spare", "u1", 2),
        ]
    ),
}

_OWN = {"version", "reserved", "spare"}  # fields that every version fills itself


def read(data: bytes) -> np.void:
    """The record that some bytes are, brought to this version.

    Raises:
        StoreRefusedError: if they are no record that this version knows.
    """
    version = int.from_bytes(data[:2], "little")
    if version == VERSION and len(data) == RECORD.itemsize:
        record: np.void = np.frombuffer(data, RECORD)[0]
        return record
    if version in EARLIER and len(data) == EARLIER[version].itemsize:
        return _migrated(np.frombuffer(data, EARLIER[version])[0])
    raise StoreRefusedError(
        f"A record in the store ({len(data)} bytes) is of no version that this one knows: "
        "run all workers with the same version, the newest that has written to this store."
    )


def _migrated(old: np.void) -> np.void:
    record: np.void = np.zeros(1, RECORD)[0]
    for name in set(RECORD.names or ()) & set(old.dtype.names or ()) - _OWN:
        record[name] = _within(name, old[name])
    record["version"] = VERSION
    record["day"] = -1  # it counts anew among the keys of its day, of which more is known now
    return record


def _within(name: str, values: object) -> npt.NDArray[Any]:
    """The values of an old field as far as the new one holds them."""
    found = np.asarray(values)
    field, shape = RECORD[name].base, RECORD[name].shape
    if found.ndim > len(shape):  # of which one half-life is left
        found = found[0]
    if shape and found.shape[0] > shape[0]:  # levels that have no past of the key's own any more
        found = found[: shape[0]]
    elif shape and found.shape[0] < shape[0]:  # levels that there were not
        found = np.concatenate([found, np.zeros(shape[0] - found.shape[0], found.dtype)])
    if field.kind in "ui" and found.dtype.kind in "ui" and name != "ids":
        found = np.minimum(found, np.iinfo(field).max)
    return found.astype(field)
