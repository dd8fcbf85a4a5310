"""Events as columns, the shape in which the engine carries them into records.

Plain messages come straight from their bytes (`fast_json.py`); what that refuses is decoded into
events (`decoder.py`), which become columns too. Both give the same to the bit and stand in stream
order, so nothing shows which way an event has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.identity import Identity
from monitor.kernels.buffers import PADDING, Messages, Prompts, encoded
from monitor.requests import fast_json
from monitor.requests.decoder import (
    AHEAD,
    EARLIEST,
    LARGEST,
    LATEST,
    Decoder,
    Rejection,
    RequestEvent,
)
from monitor.requests.fast_json import HASHED, SENT
from monitor.requests.marks import ALONE, BOUNDED, FOLLOW_UP, HAS_PROMPT, LARGE, LARGE_OUTPUT

Integers = npt.NDArray[np.int64]

_BYTES = 3  # to a token, or more, of a prompt in any language
_FRAME = 48  # bytes that a few tokens around the prompt are worth


class Columns(NamedTuple):
    """n events in stream order, `(n,)` each, but for the hashes and the places of the prompts.

    Attributes:
        sources: int64, the index of each event's message in its batch.
        keys: pseudonyms.
        ts: float64, epoch seconds.
        tokens: float64, of input and output.
        marks: uint8, bits HAS_PROMPT and those of `conduct`.
        hashes: `(n, len(HASHED) + 1) uint64`, of the fields in HASHED and of the address's
            network, 0 without one.
        prompts: whole.
    """

    sources: Integers
    keys: list[str]
    ts: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.float64]
    marks: npt.NDArray[np.uint8]
    hashes: npt.NDArray[np.uint64]
    prompts: Prompts

    def take(self, which: Integers) -> Columns:
        """Some of the events."""
        return Columns(
            self.sources[which],
            [self.keys[i] for i in which.tolist()],
            self.ts[which],
            self.tokens[which],
            self.marks[which],
            self.hashes[which],
            Prompts(self.prompts.data, self.prompts.places[which]),
        )

    @property
    def sent(self) -> npt.NDArray[np.uint64]:
        """The hashes of what is counted as it was sent, see `Requests`."""
        return np.ascontiguousarray(self.hashes[:, : len(SENT)])

    def short(self, name: str) -> npt.NDArray[np.uint32]:
        """32 bits of the hashes of a field, never 0; 0 without one."""
        hashes = self.hashes[:, HASHED.index(name)]
        return np.where(hashes == 0, 0, np.maximum(hashes >> np.uint64(32), 1)).astype(np.uint32)


class Reader:
    """Reads batches of messages.

    Args:
        decoder: of their format.
        identity: makes pseudonyms and hashes.
    """

    def __init__(self, decoder: Decoder, identity: Identity) -> None:
        self._decoder = decoder
        self._identity = identity

    def __call__(self, messages: Messages, now: float) -> tuple[Columns, list[Rejection]]:
        """The events of a batch, and what could not be used. Raises nothing, whatever the bytes.

        Args:
            now: the wall clock, from which timestamps in the future are told.
        """
        if not self._decoder.native:
            decoded = self._decoder.decode(messages, now)
            return self.columns(decoded.events, decoded.sources), decoded.rejections
        plain, refused = self.plain(messages, now)
        if not len(refused):
            return plain, []
        values = [messages[i] for i in refused.tolist()]
        events, sources, rejections = self._decoder.decode(values, now)
        other = self.columns(events, refused[sources])
        rejections = [
            msgspec.structs.replace(each, source=int(refused[each.source])) for each in rejections
        ]
        return _merged(plain, other), rejections

    def plain(self, messages: Messages, now: float) -> tuple[Columns, Integers]:
        """The events of messages that are plain, and the indices of those that are not."""
        data, starts, ends = messages.data, messages.starts, messages.ends
        found = fast_json.room(len(messages), int(np.maximum(ends - starts, 0).sum()))
        seed, latest = np.uint64(self._identity.seed), min(now + AHEAD, LATEST)
        buffer = np.frombuffer(data, np.uint8)
        fast_json.scan(buffer, starts, ends, seed, EARLIEST, latest, LARGEST, found)
        key = self._identity.key_of
        counts, (begins, stops) = found.counts, found.api_key.T.tolist()
        columns = Columns(
            np.arange(len(messages)),
            [key(data[start:end]) for start, end in zip(begins, stops, strict=True)],
            found.ts,
            (counts[:, 0] + counts[:, 1]).astype(np.float64),
            _marks(found.prompt, counts),
            found.hashes,
            Prompts(found.text, found.prompt),
        )
        if found.plain.all():
            return columns, np.zeros(0, np.int64)
        return columns.take(np.flatnonzero(found.plain)), np.flatnonzero(~found.plain)

    def columns(self, events: Sequence[RequestEvent], sources: Sequence[int] | Integers) -> Columns:
        """The same of events."""
        identity = self._identity
        prompts = encoded([event.prompt for event in events])
        hashed = [[getattr(event, name) for event in events] for name in HASHED]
        hashed.append([network_of(event.ip) for event in events])
        counts = np.array(
            [
                (each.input_tokens or 0, each.output_tokens or 0, each.max_tokens or 0, each.turns)
                for each in events
            ],
            np.int64,
        ).reshape(-1, 4)
        return Columns(
            np.asarray(sources, np.int64),
            [identity.key(event.api_key) for event in events],
            np.array([event.ts for event in events], np.float64),
            (counts[:, 0] + counts[:, 1]).astype(np.float64),
            _marks(prompts.places, counts),
            np.stack([hashes_of(texts, identity.seed) for texts in hashed], axis=1),
            prompts,
        )


def network_of(address: str | None) -> str | None:
    """The network part of an address: 24 bits of four, or 48 of sixteen."""
    if not address:
        return None
    if "." in address:
        return address.rpartition(".")[0]
    return ":".join(address.split(":", 3)[:3])


def hashes_of(texts: Sequence[str | None], seed: int) -> npt.NDArray[np.uint64]:
    """64 bits that stand for each text, `(n,) uint64`, never 0; 0 for none.

    Not BLAKE2: these only tell apart what one key has sent, and there are some for every request.
    """
    parts = [text.encode("utf-8", "surrogatepass") if text else b"" for text in texts]
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    hashes = np.empty(len(parts), np.uint64)
    buffer = np.frombuffer(b"".join([*parts, PADDING]), np.uint8)
    fast_json.hash_each(buffer, ends, np.uint64(seed), hashes)
    return hashes


def _marks(places: Integers, counts: Integers) -> npt.NDArray[np.uint8]:
    """Where nobody says how many turns there were, many more tokens than the prompt can have tell
    of what went before it."""
    given, _, allowed, turns = counts.T
    size = places[:, 1] - places[:, 0]
    told = (turns > 0) | (given > 0) & (size > 0)
    follows = (turns > 1) | (turns == 0) & told & (given * _BYTES > size + _FRAME)
    marks = (size > 0) * HAS_PROMPT + follows * FOLLOW_UP + (told & ~follows) * ALONE
    marks = marks + (allowed > 0) * BOUNDED + (allowed >= LARGE_OUTPUT) * LARGE
    return np.asarray(marks, np.uint8)


def _merged(plain: Columns, other: Columns) -> Columns:
    """Both in stream order; the events of one message are on one side and keep theirs."""
    size = len(plain.prompts.data)
    prompts = Prompts(
        np.concatenate([plain.prompts.data, other.prompts.data]),
        np.concatenate([plain.prompts.places, other.prompts.places + size]),
    )
    both = Columns(
        np.concatenate([plain.sources, other.sources]),
        plain.keys + other.keys,
        np.concatenate([plain.ts, other.ts]),
        np.concatenate([plain.tokens, other.tokens]),
        np.concatenate([plain.marks, other.marks]),
        np.concatenate([plain.hashes, other.hashes]),
        prompts,
    )
    return both.take(np.argsort(both.sources, kind="stable"))
