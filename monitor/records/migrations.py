"""Migrations: records that an older worker wrote are converted when they are loaded.

A worker writes its own version only. An old worker that meets a newer record refuses it, loses
nothing and reports it. Fields that both versions have are carried over under their present names.
Fields that the older version lacks start empty.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.errors import StoreRefusedError
from monitor.kernels.zeros import expanded
from monitor.records.baseline_mean import GROUPS
from monitor.records.profile import (
    BINS,
    EXCLUDED,
    FRAMES,
    IDS,
    MAX_IN_PANE,
    MAX_LEVEL,
    PARTS,
    PER_LEVEL,
    RECORD,
    RECORD_VERSION,
    SHORT,
    Records,
)

_OLD_WIDTH, _OLD_PANES = 10, 30  # seconds and panes of the shortest ring before version 6
_RING_FIELDS: list[tuple[Any, ...]] = [
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
]
# Fields that versions 2 and 3 have in common.
_FIRST_FIELDS: list[tuple[Any, ...]] = [
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
    *_RING_FIELDS,
]
_USUAL_FIELDS: list[tuple[Any, ...]] = [
    ("hour_peak", "<f4", 8),
    ("own_hours", "<f4"),
    ("own_mean", "<f4", 8),
    ("own_variance", "<f4", 8),
    ("followups", "<f4"),
    ("model_names", "<u4", 4),
    ("model_counts", "<f4", 4),
]
_SKETCH_FIELDS: list[tuple[Any, ...]] = [
    ("content", "<i2", (2, 64)),
    ("lists", "<f4", (5, 2)),
    ("distinct", "u1", (7, 32)),
    ("novelty", "u1", (2, 32)),
    ("rhythm", "u1", 24),
]

#: Layouts of earlier versions, by version number.
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
            *_FIRST_FIELDS,
            ("level", "<f4", 16),
            ("day_peak", "<f4", 16),
            *_USUAL_FIELDS,
            ("templates", "<u4", 16),
            ("meaning", "<i2", (2, 64)),
            ("words", "<i2", (2, 32)),
            *_SKETCH_FIELDS,
            ("model", "<u2"),
            ("spare", "u1", 2),
        ]
    ),
    3: np.dtype(
        [
            *_FIRST_FIELDS,
            ("level", "<f4", 20),
            ("day_peak", "<f4", 20),
            *_USUAL_FIELDS,
            ("arrived", "<u4"),
            ("arrival", "<u4"),
            ("arrivals", "<u4"),
            ("strays", "<u4"),
            ("before", "<f4"),
            ("unattended", "<f4"),
            ("regular", "<f4"),
            ("gap", "<f4"),
            ("templates", "<u4", 16),
            ("meaning", "<i2", (2, 64)),
            ("words", "<i2", 32),
            *_SKETCH_FIELDS,
            ("model", "<u2"),
            ("told", "<u2"),
        ]
    ),
    4: np.dtype(
        [
            ("version", "<u2"),
            ("content_model", "<u2"),
            ("published", "<u2"),
            ("severity", "u1", 8),
            ("baseline_group", "u1"),
            ("baseline_prompts", "u1"),
            ("first_seen", "<f8"),
            ("last_seen", "<f8"),
            ("opened", "<f8", 8),
            ("confirmed", "<u4", 8),
            ("decided", "<f8"),
            ("tokens", "<f8"),
            ("requests", "<u4"),
            ("prompts", "<u4"),
            ("matches", "<u4", 2),
            ("evaluated", "<u4"),
            ("sketch_prompts", "<u4"),
            *_RING_FIELDS,
            ("level", "<f4", 20),
            ("day_peak", "<f4", 20),
            ("hour_peak", "<f4", 8),
            ("own_hours", "<f4"),
            ("own_mean", "<f4", 8),
            ("own_variance", "<f4", 8),
            ("follow_ups", "<f4"),
            ("model_names", "<u4", 4),
            ("model_counts", "<f4", 4),
            ("new_model", "<u4"),
            ("new_model_since", "<u4"),
            ("new_model_requests", "<u4"),
            ("other_model_requests", "<u4"),
            ("rate_before", "<f4"),
            ("unattended", "<f4"),
            ("regular", "<f4"),
            ("gap", "<f4"),
            ("meaning", "<i2", 64),
            *_SKETCH_FIELDS,
            ("flagged", "u1"),
        ]
    ),
    5: np.dtype(
        [
            ("version", "<u2"),
            ("content_model", "<u2"),
            ("published", "<u2"),
            ("severity", "u1", 8),
            ("baseline_group", "u1"),
            ("baseline_prompts", "u1"),
            ("first_seen", "<f8"),
            ("last_seen", "<f8"),
            ("opened", "<f8", 8),
            ("confirmed", "<u4", 8),
            ("decided", "<f8"),
            ("tokens", "<f8"),
            ("requests", "<u4"),
            ("prompts", "<u4"),
            ("matches", "<u4", 2),
            ("evaluated", "<u4"),
            ("sketch_prompts", "<u4"),
            ("ids", "<u4", 12),
            ("id_checks", "u1", 12),
            ("id_count", "u1"),
            ("reused_ids", "<u2"),
            ("late", "<u2"),
            ("parts", "<u2", 60),
            ("systems", "u1"),
            ("part_hand", "u1"),
            *_RING_FIELDS[2:],
            ("level", "<f4", 21),
            ("day_peak", "<f4", 21),
            ("hour_peak", "<f4", 8),
            ("own_hours", "<f4"),
            ("own_mean", "<f4", 8),
            ("own_variance", "<f4", 8),
            ("follow_ups", "<f4"),
            ("tiny_turns", "<f4"),
            ("unexplained", "<f4"),
            ("unreadable", "<f4"),
            ("user_names", "<u4", 8),
            ("user_counts", "<u2", 8),
            ("networks", "<u4", 3),
            ("network_counts", "<f4", 3),
            ("clients", "<u4", 3),
            ("client_counts", "<f4", 3),
            ("moved_since", "<u4"),
            ("moved_requests", "<u2"),
            ("unmoved_requests", "<u2"),
            ("model_names", "<u4", 4),
            ("model_counts", "<f4", 4),
            ("new_model", "<u4"),
            ("new_model_since", "<u4"),
            ("new_model_requests", "<u4"),
            ("other_model_requests", "<u4"),
            ("rate_before", "<f4"),
            ("unattended", "<f4"),
            ("regular", "<f4"),
            ("gap", "<f4"),
            ("meaning", "<i2", 64),
            *_SKETCH_FIELDS,
            ("flagged", "u1"),
        ]
    ),
}
assert EARLIER[5].itemsize == 2040, EARLIER[5].itemsize

#: Present names of fields that earlier versions named differently.
RENAMED = {
    "model": "content_model",
    "told": "published",
    "group": "baseline_group",
    "taught": "baseline_prompts",
    "accused": "flagged",
    "upheld": "confirmed",
    "looked": "evaluated",
    "sketched": "sketch_prompts",
    "followups": "follow_ups",
    "arrival": "new_model",
    "arrived": "new_model_since",
    "arrivals": "new_model_requests",
    "strays": "other_model_requests",
    "before": "rate_before",
}

#: Fields whose values have changed since version 5.
_CONVERTED = ("short_head", "short_requests", "short_tokens", "day_peak")
_MODELS = (
    *("model_names", "model_counts", "new_model", "new_model_since"),
    *("new_model_requests", "other_model_requests", "rate_before"),
)
#: Fields made from hashes, and the first version that makes them as today. Older values are
#: dropped: a model that a key has always used would look new to it.
REHASHED = {"ids": 5, "id_count": 5} | dict.fromkeys(_MODELS, 4)


def read(data: bytes) -> np.void:
    """Read a record of any version and convert it to this one.

    Raises:
        StoreRefusedError: if the bytes are not a record of a known version.
    """
    data = expanded(data)
    version = int.from_bytes(data[:2], "little")
    if version == RECORD_VERSION and len(data) == RECORD.itemsize:
        record: np.void = np.frombuffer(data, RECORD)[0]
        return record
    if version in EARLIER and len(data) == EARLIER[version].itemsize:
        return _migrated(np.frombuffer(data, EARLIER[version])[0])
    raise StoreRefusedError(
        f"A record in the store ({len(data)} bytes) has an unknown version. Run all workers with "
        "the same version, the newest that has written to this store."
    )


def damaged(records: Records) -> npt.NDArray[np.bool_]:
    """Which of n records hold values that no worker writes, and that kernels cannot process.

    Args:
        records: `(n,) RECORD`.

    Returns:
        `(n,) bool`.
    """
    level = records["level"]
    sound = ((level >= 0.0) & (level <= MAX_LEVEL)).all(axis=1)
    peaks = records["day_peak"]
    sound &= ((peaks < BINS) | (peaks == EXCLUDED)).all(axis=1)
    sound &= records["baseline_group"] < GROUPS
    sound &= (records["id_count"] < IDS) & (records["part_hand"] < PARTS)
    sound &= records["frame_hand"] < FRAMES
    sound &= np.isfinite(records["first_seen"]) & np.isfinite(records["last_seen"])
    return np.asarray(~sound)


def _migrated(old: np.void) -> np.void:
    record: np.void = np.zeros(1, RECORD)[0]
    for name in old.dtype.names or ():
        field = RENAMED.get(name, name)
        known = field in (RECORD.names or ()) and field not in _CONVERTED
        if known and old["version"] >= REHASHED.get(field, 0):
            record[field] = _fitted(field, old[name])
    _convert_panes(old, record)
    peaks = np.where(np.isinf(old["day_peak"]), EXCLUDED, old["day_peak"] * PER_LEVEL)
    record["day_peak"] = _fitted("day_peak", peaks.astype(np.int64))
    if old["version"] < 3:
        record["day"] = -1  # it counts again among today's keys, whose levels were fewer
    elif (record["day_peak"] == EXCLUDED).any():
        record["day_peak"] = EXCLUDED  # today's keys are without it at the new levels, too
    record["version"] = RECORD_VERSION
    return record


def _convert_panes(old: np.void, record: np.void) -> None:
    """Move the counts from panes of 10 seconds, before version 6, to those of SHORT. A pane that
    lies in two of SHORT counts in the first one."""
    panes = int(old["short_head"]) - np.arange(_OLD_PANES)
    slots = panes * _OLD_WIDTH // SHORT.width
    panes, slots = panes[slots > slots[0] - SHORT.panes], slots[slots > slots[0] - SHORT.panes]
    record["short_head"] = slots[0]
    for name in ("short_requests", "short_tokens"):
        counts = np.zeros(SHORT.panes)
        np.add.at(counts, slots % SHORT.panes, old[name][panes % _OLD_PANES])
        record[name] = np.minimum(counts, MAX_IN_PANE) if name == "short_requests" else counts


def _fitted(name: str, values: object) -> npt.NDArray[Any]:
    """The values of an old field, cut or zero-padded to the shape of the present one."""
    found = np.asarray(values)
    field, shape = RECORD[name].base, RECORD[name].shape
    if found.ndim > len(shape):  # several half-lives then, the first one now
        found = found[0]
    if shape and found.shape[0] > shape[0]:
        found = found[: shape[0]]
    elif shape and found.shape[0] < shape[0]:
        missing = (shape[0] - found.shape[0], *found.shape[1:])
        found = np.concatenate([found, np.zeros(missing, found.dtype)])
    if field.kind in "ui" and found.dtype.kind in "ui" and name != "ids":
        found = np.minimum(found, np.iinfo(field).max)
    return found.astype(field)
