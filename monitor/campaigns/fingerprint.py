"""Fingerprints: what the linker knows about a key.

Each key periodically emits a fingerprint, a fixed-size record of 416 bytes: the key's mean prompt,
its similarity to distillation prompt lists, its distinct prompts and templates, its requests per
hour, how it is used (follow-ups, end users, timers), and keyed hashes of its payment, network, TLS
and user agent, system prompt and model. Except for these hashes, a fingerprint holds nothing that
the key's record does not hold. On Kafka the key's pseudonym follows the bytes, and the fingerprints
of one batch of requests share a message. In Redis the bytes are part of a row (`population.py`).

A key emits a fingerprint when its requests have grown by an eighth: at least 8 and at most 64 after
the last one, but no more than 16 times per hour (`records/update.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.identity import ACCOUNT_PREFIX, is_pseudonym
from monitor.prompts.projection import CONTENT, LISTS
from monitor.records.end_users import from_few
from monitor.records.inputs import ACCOUNT, ACCOUNT_KEYS, SHORT_LIVED
from monitor.records.origins import from_usual_network
from monitor.records.profile import (
    DAY,
    DISTINCT,
    HALF_LIVES,
    LONG,
    MIDDLE,
    PAST_DAYS,
    Profile,
    Records,
)
from monitor.requests.hashing import HASHED_FIELDS, NETWORK
from monitor.requests.ties import network_tie, payment_tie
from monitor.sketches import hyperloglog

FINGERPRINT_VERSION = 4
ACCOUNT_BYTES = 12  # of the pseudonym of an account
# Flags: of an account, not of a key; the evidence against the key is of few of its end users; and
# nearly all of its recent requests came from the network whose hash is given.
IS_ACCOUNT, FEW_END_USERS, USUAL_NETWORK = 1, 2, 4
#: How a key is used, and -log p of the strongest detector that judges its prompts, nats; NaN if
#: unknown (before version 3; `prompt_surprisal` before version 4).
USE = ("follow_ups", "unattended", "regular", "prompt_surprisal", "end_users")
_V3_USE = (*USE[:3], "novelty", *USE[4:])
IDENTIFIERS = ("payment", "network", "tls_fingerprint", "user_agent", "system", "model")
FINGERPRINT_DISTINCT = ("prompts", "templates")
_COLUMNS = [NETWORK if name == "network" else HASHED_FIELDS.index(name) for name in IDENTIFIERS]

_SHARED: list[Any] = [
    ("version", "<u2"),
    ("severity", "u1"),  # of the most severe open alert of the key, 0 without one
    ("flags", "u1"),  # IS_ACCOUNT, FEW_END_USERS, USUAL_NETWORK
    ("requests", "<u4"),
    ("ts", "<f8"),
    ("first_seen", "<f8"),
    ("tokens", "<f8"),
    ("sketch_prompts", "<u4"),  # prompts in the mean
    ("surprisal", "<f4"),  # -log p of the strongest detector, nats
    ("content", "<i2", CONTENT),  # mean prompt with the longest half-life, as in the record
    ("lists", "<f4", len(LISTS)),
    ("long_head", "<i4"),
    ("middle_head", "<i4"),
    ("long_requests", "<u2", LONG.panes),
    ("middle_requests", "<u2", MIDDLE.panes),
    ("ids", "<u8", len(IDENTIFIERS)),  # hashes, 0 if unknown
    ("distinct", "u1", (len(FINGERPRINT_DISTINCT), hyperloglog.BYTES)),
]
_ACCOUNT = ("account", "u1", ACCOUNT_BYTES)  # its pseudonym; 0 if unknown
FINGERPRINT = np.dtype([*_SHARED, *((name, "<f4") for name in USE), _ACCOUNT])
assert FINGERPRINT.itemsize == 392 + 4 * len(LISTS), FINGERPRINT.itemsize

_V2: list[Any] = [
    ("version", "<u2"),
    ("severity", "u1"),
    ("flags", "u1"),
    ("requests", "<u4"),
    ("ts", "<f8"),
    ("first_seen", "<f8"),
    ("tokens", "<f8"),
    ("sketch_prompts", "<u4"),
    ("surprisal", "<f4"),
    ("content", "<i2", 64),
    ("lists", "<f4", 5),
    ("long_head", "<i4"),
    ("middle_head", "<i4"),
    ("long_requests", "<u2", 24),
    ("middle_requests", "<u2", 12),
    ("ids", "<u8", 6),
    ("distinct", "u1", (2, 32)),
]
#: The layouts of earlier versions. Version 1 also held a MinHash of the templates.
FINGERPRINT_V3 = np.dtype([*_SHARED, *((name, "<f4") for name in _V3_USE)])
FINGERPRINT_V2 = np.dtype(_V2)
FINGERPRINT_V1 = np.dtype([*_V2[:11], ("minhash", "<u4", 16), *_V2[11:]])
assert (FINGERPRINT_V1.itemsize, FINGERPRINT_V2.itemsize) == (444, 380)

LAYOUTS = {
    1: FINGERPRINT_V1,
    2: FINGERPRINT_V2,
    3: FINGERPRINT_V3,
    FINGERPRINT_VERSION: FINGERPRINT,
}

#: The first bytes of a message of several fingerprints; no version of a single one.
_SEVERAL = b"\x01\x80"

Fingerprints = npt.NDArray[np.void]


def due(records: Records) -> npt.NDArray[np.int64]:
    """Which of n evaluated records emit a fingerprint; `records/update.py` marks them."""
    return np.flatnonzero(records["published"] == records["requests"].astype(np.uint16))


def from_records(
    records: Records,
    ts: npt.NDArray[np.float64],
    surprisal: npt.NDArray[np.float64],
    hashes: npt.NDArray[np.uint64],
    severity: Any,
    roles: npt.NDArray[np.uint8],
    accounts: Sequence[str],
) -> Fingerprints:
    """The fingerprints of n records.

    Args:
        records: `(n,) RECORD`.
        ts: `(n,) float64`, event time, epoch seconds.
        surprisal: `(2, n) float64`, -log p of each key's strongest detector, and of its strongest
            one that judges prompts, nats.
        hashes: `(n, columns) uint64`, of the requests that were evaluated, see `Columns`.
        severity: `(n,) uint8`, of each key's most severe open alert.
        roles: `(n,) uint8`, KEY or ACCOUNT. An account whose keys have many requests each has no
            prompts in its fingerprint: the linker compares these keys instead.
        accounts: n pseudonyms of accounts, empty if unknown.

    Returns:
        `(n,) FINGERPRINT`.
    """
    out = np.zeros(len(records), FINGERPRINT)
    out["version"] = FINGERPRINT_VERSION
    out["severity"] = severity
    for name in ("requests", "first_seen", "tokens", "sketch_prompts", "long_head", "middle_head"):
        out[name] = records[name]
    out["ts"] = ts
    out["surprisal"], out["prompt_surprisal"] = surprisal
    of_accounts = roles == ACCOUNT
    few = from_few(records, roles)
    usual = from_usual_network(records, hashes[:, NETWORK])
    out["flags"] = of_accounts * IS_ACCOUNT + few * FEW_END_USERS + usual * USUAL_NETWORK
    keys = np.maximum(records["user_counts"][:, ACCOUNT_KEYS], 1)
    out["sketch_prompts"][of_accounts & (records["requests"] > SHORT_LIVED * keys)] = 0
    out["distinct"] = records["distinct"][
        :, [DISTINCT.index(kind) for kind in FINGERPRINT_DISTINCT]
    ]
    out["content"] = records["content"][:, len(HALF_LIVES) - 1]
    profile = Profile(records)
    out["lists"] = profile.lists.max(axis=2)
    for name in ("follow_ups", "unattended", "regular"):
        out[name] = records[name]
    out["end_users"] = profile.distinct("end_users")
    for name in ("long_requests", "middle_requests"):
        out[name] = np.minimum(records[name], np.iinfo(np.uint16).max)
    out["ids"] = hashes[:, _COLUMNS]
    for i, account in enumerate(accounts):
        if is_pseudonym(account):  # not if the deployment has plain names
            out["account"][i] = bytearray.fromhex(account[2:])
    return out


def migrated(earlier: Fingerprints) -> Fingerprints:
    """Fingerprints of an earlier layout, `(n,)`, as `(n,) FINGERPRINT`."""
    out = np.zeros(len(earlier), FINGERPRINT)
    for name in USE:
        out[name] = np.nan
    lists = earlier["lists"]
    out["lists"][:, : lists.shape[1]] = lists  # there are more lists now
    for name in earlier.dtype.names or ():
        if name in (FINGERPRINT.names or ()) and name != "lists":
            out[name] = earlier[name]
    out["version"] = FINGERPRINT_VERSION
    return out


def ties(fingerprint: Any) -> tuple[str, ...]:
    """The pseudonyms of the account, the payment and the usual network in a FINGERPRINT."""
    payment, network = fingerprint["ids"][: IDENTIFIERS.index("network") + 1].tolist()
    account = fingerprint["account"].tobytes()
    found = (
        ACCOUNT_PREFIX + account.hex() if any(account) else "",
        payment_tie(payment),
        network_tie(network) if fingerprint["flags"] & USUAL_NETWORK else "",
    )
    return tuple(filter(None, found))


def usual_hour(fingerprint: Any) -> float:
    """Requests per active hour of the last day; 0 of a key that is new."""
    hours = fingerprint["long_requests"]
    known = fingerprint["ts"] - fingerprint["first_seen"] >= PAST_DAYS * DAY
    return float(hours[hours > 0].mean()) if known and hours.any() else 0.0


def to_messages(fingerprints: Fingerprints, keys: Sequence[str]) -> list[bytes]:
    """Kafka messages, one per fingerprint."""
    return [row.tobytes() + key.encode() for row, key in zip(fingerprints, keys, strict=True)]


def from_messages(values: Sequence[bytes]) -> tuple[Fingerprints, list[str], list[int]]:
    """The fingerprints of all known versions among some messages.

    Returns:
        `(n,) FINGERPRINT`, the n keys, and the n indices of the messages that hold a fingerprint.
    """
    found = np.zeros(len(values), FINGERPRINT)
    valid = np.zeros(len(values), bool)
    keys = [""] * len(values)
    for version, layout in LAYOUTS.items():
        size, begins = layout.itemsize, version.to_bytes(2, "little")
        at = [i for i, value in enumerate(values) if len(value) > size and value[:2] == begins]
        part = np.frombuffer(b"".join([values[i][:size] for i in at]), layout)
        found[at] = part if layout is FINGERPRINT else migrated(part)
        valid[at] = True
        for i in at:
            keys[i] = values[i][size:].decode("utf-8", "replace")
    which = np.flatnonzero(valid).tolist()
    return found[which], [keys[i] for i in which], which


def join(values: Sequence[bytes]) -> bytes:
    """One Kafka message of n > 0 messages of a fingerprint each; a single one stays as it is.

    The layout is `_SEVERAL`, n as `<u4`, the n lengths as `<u4`, the n messages.
    """
    if len(values) == 1:
        return values[0]
    numbers = np.array([len(values), *map(len, values)], "<u4")
    return b"".join([_SEVERAL, numbers.tobytes(), *values])


def split(value: bytes) -> list[bytes]:
    """The messages that were joined; a message that nothing was joined to, or that is cut off,
    stays as it is."""
    if value[:2] != _SEVERAL or len(value) < 6:
        return [value]
    begin = 6 + 4 * int.from_bytes(value[2:6], "little")
    if begin > len(value):
        return [value]
    ends = begin + np.cumsum(np.frombuffer(value[6:begin], "<u4"), dtype=np.int64)
    if not len(ends) or ends[-1] != len(value):
        return [value]
    return [value[start:end] for start, end in pairwise([begin, *ends.tolist()])]
