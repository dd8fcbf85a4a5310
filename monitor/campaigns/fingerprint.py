"""Fingerprints: what is said of a key to those who look for keys that act as one.

A fingerprint is a fixed-size record of its own, 380 bytes: where the key's prompts lie among the
public's, how like work lists they are; when the key was busy; and
hashes of what it was sent with: its payment, network, TLS and user agent, system prompt and model.
It holds nothing that the key's record does not hold, but for those hashes, which are of the request
that brought it about. On Kafka its bytes are followed by the key's pseudonym; in Redis they are
part of a row (`population.py`). There is no other codec.

A key says so again when it has changed enough: after an eighth more requests, not sooner than after
8 nor later than after 64, and no more than sixteen times an hour (`records/update.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.prompts.projection import CONTENT, LISTS
from monitor.records.profile import DISTINCT, LONG, MIDDLE, Profile, Records
from monitor.requests.fast_json import HASHED, NETWORK
from monitor.sketches import hyperloglog
from monitor.sketches.kernel_mean import HALF_LIVES

VERSION = 2
IDENTIFIERS = ("payment", "network", "tls_fingerprint", "user_agent", "system", "model")
COUNTED = ("prompts", "templates")
_COLUMNS = [NETWORK if name == "network" else HASHED.index(name) for name in IDENTIFIERS]

FINGERPRINT = np.dtype(
    [
        ("version", "<u2"),
        ("severity", "u1"),  # of the severest alert that is open on the key, 0 without one
        ("reserved", "u1"),
        ("requests", "<u4"),
        ("ts", "<f8"),
        ("first_seen", "<f8"),
        ("tokens", "<f8"),
        ("sketched", "<u4"),  # prompts that content is the mean of
        ("nats", "<f4"),  # the surprise at all that detectors say of the key, -log p
        ("content", "<i2", CONTENT),  # as records hold it, of the longer half-life
        ("lists", "<f4", len(LISTS)),
        ("long_head", "<i4"),
        ("middle_head", "<i4"),
        ("long_requests", "<u2", LONG.panes),
        ("middle_requests", "<u2", MIDDLE.panes),
        ("ids", "<u8", len(IDENTIFIERS)),  # hashes, 0 without one
        ("distinct", "u1", (len(COUNTED), hyperloglog.BYTES)),
    ]
)
assert FINGERPRINT.itemsize == 380, FINGERPRINT.itemsize


def _earlier(fields: Sequence[tuple[Any, ...]], after: str) -> np.dtype[np.void]:
    """The present layout with further fields after one of its own."""
    descr = list(FINGERPRINT.descr)
    at = [name for name, *_ in descr].index(after) + 1
    return np.dtype([*descr[:at], *fields, *descr[at:]])


#: Layouts of earlier versions, by version number. Version 1 had a MinHash of the templates.
EARLIER = {1: _earlier([("places", "<u4", 16)], after="lists")}
LAYOUTS = {**EARLIER, VERSION: FINGERPRINT}

Fingerprints = npt.NDArray[np.void]


def told(looks: Records) -> npt.NDArray[np.int64]:
    """Which of some looks are to be told of, as the kernel has marked them."""
    return np.flatnonzero(looks["published"] == looks["requests"].astype(np.uint16))


def fingerprints(
    looks: Records, ts: Any, nats: Any, hashes: npt.NDArray[np.uint64], severity: Any
) -> Fingerprints:
    """What n records say.

    Args:
        looks: `(n,) RECORD`.
        ts: `(n,) float64`, event time.
        nats: `(n,) float64`, the surprise at each.
        hashes: `(n, …) uint64`, of the requests that brought the looks about, see `Columns`.
        severity: `(n,) uint8`.
    """
    profile = Profile(looks)
    said = np.zeros(len(looks), FINGERPRINT)
    said["version"] = VERSION
    said["severity"] = severity
    for name in ("requests", "first_seen", "tokens", "sketched", "long_head", "middle_head"):
        said[name] = looks[name]
    said["ts"], said["nats"] = ts, nats
    said["distinct"] = looks["distinct"][:, [DISTINCT.index(kind) for kind in COUNTED]]
    said["content"] = looks["content"][:, len(HALF_LIVES) - 1]
    said["lists"] = profile.lists.max(axis=2)
    for name in ("long_requests", "middle_requests"):
        said[name] = np.minimum(looks[name], np.iinfo(np.uint16).max)
    said["ids"] = hashes[:, _COLUMNS]
    return said


def encode(said: Fingerprints, keys: Sequence[str]) -> list[bytes]:
    """Messages, one a fingerprint."""
    return [row.tobytes() + key.encode() for row, key in zip(said, keys, strict=True)]


def decode(values: Sequence[bytes]) -> tuple[Fingerprints, list[str], list[int]]:
    """Decode messages of this and of earlier versions.

    Returns:
        The fingerprints, their keys, and the indices of the messages that held one.
    """
    said, keys, which = [], [], []
    for i, value in enumerate(values):
        layout = LAYOUTS.get(int.from_bytes(value[:2], "little"))
        if layout is not None and len(value) > layout.itemsize:
            said.append(value[: layout.itemsize])
            keys.append(value[layout.itemsize :].decode("utf-8", "replace"))
            which.append(i)
    if {len(each) for each in said} <= {FINGERPRINT.itemsize}:
        return np.frombuffer(b"".join(said), FINGERPRINT), keys, which
    return np.concatenate([migrated(each) for each in said]), keys, which


def migrated(data: bytes) -> Fingerprints:
    """One fingerprint of any version as `(1,) FINGERPRINT`.

    Raises:
        KeyError: if the version is unknown.
    """
    old = np.frombuffer(data, LAYOUTS[int.from_bytes(data[:2], "little")])
    new = np.zeros(1, FINGERPRINT)
    for name in FINGERPRINT.names or ():
        new[name] = old[name]
    new["version"] = VERSION
    return new
