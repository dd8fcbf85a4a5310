"""Sketches of responses in Redis, bounded per campaign and key.

| key | value |
|---|---|
| `xm:responses:{<subject>}` | sorted set: sketches as MessagePack, by a random number |
| `xm:responses:campaigns`, `xm:responses:keys` | sorted set: subjects by the time of their last |

The subject is a campaign, a key, or `others` for the responses of other keys to compare with. Each
keeps the sketches with the smallest numbers, which are a fair sample of all: nobody can choose
which of their responses stay. A sketch takes about 300 bytes. At most 2,000 are kept of each of
200 campaigns and of the others, and 250 of each of 1,000 keys: 200 MB at most. Further subjects
are left out until others expire, 90 days after their last response.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from monitor.store.cluster import connect
from monitor.store.connection import Command, execute
from monitor.tracing.responses.sketch import Sketch

OTHERS = "others"
_PREFIX = "xm:responses:"
_CAMPAIGNS, _KEYS = _PREFIX + "campaigns", _PREFIX + "keys"
_MOST_CAMPAIGNS, _MOST_KEYS = 200, 1_000
_OF_CAMPAIGN, _OF_KEY = 2_000, 250  # sketches
_KEPT_SECONDS = 90 * 86_400

_decoder = msgspec.msgpack.Decoder(Sketch)
_encoder = msgspec.msgpack.Encoder()


class ResponseStore:
    """Keeps sketches. Threads may share it. Every method may raise `StoreError`.

    Args:
        url: of the server, see `store/connection.py`.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self.server = connect(url, timeout)

    def add(self, sketches: Mapping[str, Sequence[Sketch]], now: float) -> int:
        """Add sketches by subject. Returns the number of those that were left out.

        Args:
            now: wall-clock time, epoch seconds.
        """
        left = 0
        for subject, new in sketches.items():
            if subject == OTHERS or self._admit(subject, now):
                self._add(subject, new)
            else:
                left += len(new)
        return left

    def read(self, subjects: Iterable[str]) -> list[Sketch]:
        """The sketches of subjects, the same response once."""
        found: dict[bytes, Sketch] = {}
        for subject in dict.fromkeys(subjects):
            for value in self._call("ZRANGE", _name(subject), 0, -1):
                sketch = _decoder.decode(value)
                found.setdefault(sketch.runs, sketch)
        return list(found.values())

    def subjects(self) -> list[str]:
        """All campaigns and keys of which responses were seen, the last ones first."""
        names = [
            *self._call("ZREVRANGE", _CAMPAIGNS, 0, -1),
            *self._call("ZREVRANGE", _KEYS, 0, -1),
        ]
        return [name.decode() for name in names]

    def _admit(self, subject: str, now: float) -> bool:
        """Whether there is room for a subject; note the time if there is."""
        index, most = (
            (_CAMPAIGNS, _MOST_CAMPAIGNS) if _is_campaign(subject) else (_KEYS, _MOST_KEYS)
        )
        _, known, number = self._pipeline(
            index,
            ("ZREMRANGEBYSCORE", index, "-inf", now - _KEPT_SECONDS),
            ("ZSCORE", index, subject),
            ("ZCARD", index),
        )
        if known is None and number >= most:
            return False
        self._call("ZADD", index, now, subject)
        return True

    def _add(self, subject: str, sketches: Sequence[Sketch]) -> None:
        name = _name(subject)
        pairs = [x for each in sketches for x in (_number(each), _encoder.encode(each))]
        most = _OF_CAMPAIGN if subject == OTHERS or _is_campaign(subject) else _OF_KEY
        self._pipeline(
            name,
            ("ZADD", name, *pairs),
            ("ZREMRANGEBYRANK", name, most, -1),
            ("EXPIRE", name, _KEPT_SECONDS),
        )

    def _call(self, command: str, key: str, *arguments: Any) -> Any:
        return self._pipeline(key, (command, key, *arguments))[0]

    def _pipeline(self, key: str, *commands: Command) -> list[Any]:
        def run() -> list[Any]:
            with self.server.connection(key) as connection:
                return execute(connection, commands)

        return self.server.run(run)


def _name(subject: str) -> str:
    return f"{_PREFIX}{{{subject}}}"


def _is_campaign(subject: str) -> bool:
    return subject.startswith("c_")


def _number(sketch: Sketch) -> int:
    """48 bits that depend on the hashes, which nobody can predict without the secret."""
    return int.from_bytes(hashlib.blake2b(sketch.runs, digest_size=6).digest(), "little")
