"""Events as columns, the form in which the engine processes them.

Plain messages are read straight from their bytes (`fast_json.py`). All others are decoded into
event objects (`decoder.py`) and then converted. Both ways give identical bits in stream order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.identity import Identity
from monitor.kernels.buffers import PADDING, Messages
from monitor.requests import fast_json
from monitor.requests.decoder import MAX_AHEAD, Decoded, Decoder, RequestEvent
from monitor.requests.fast_json import NAMED_FIELDS, ParsedEvents
from monitor.requests.framing.elements import MAX_BYTES
from monitor.requests.hashing import (
    COUNTED_FIELDS,
    HASH_KINDS,
    HASHED_FIELDS,
    PART_KEY,
    hash_each,
)
from monitor.requests.marks import (
    BOUNDED,
    CONVERSATION,
    FIRST_TURN,
    FOLLOW_UP,
    HAS_PROMPT,
    JOINS,
    LARGE,
    LARGE_OUTPUT,
    UNEXPLAINED,
)
from monitor.requests.parsing.times import EARLIEST, LATEST
from monitor.requests.parts import Parts
from monitor.requests.reasons import Rejection
from monitor.requests.turns import USER

Integers = npt.NDArray[np.int64]

BYTES_PER_TOKEN = 3  # of a prompt, at least, in any language
FRAME_BYTES = 48  # the few tokens that a chat format puts around a prompt, in bytes


class Names(NamedTuple):
    """The texts of NAMED_FIELDS of n events.

    Attributes:
        data: the texts in any order.
        places: `(n, len(NAMED_FIELDS), 2) int64`, byte offsets where each text begins and ends.
    """

    data: bytes
    places: Integers

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> Names:
        """The names of n events from their texts, event by event, field by field."""
        parts = [text.encode("utf-8", "surrogatepass") if text else b"" for text in texts]
        ends = np.cumsum([0, *map(len, parts)])
        places = np.stack([ends[:-1], ends[1:]], axis=1)
        return cls(b"".join(parts), places.reshape(-1, len(NAMED_FIELDS), 2))

    def texts(self, field: str, which: Integers | slice = slice(None)) -> list[bytes]:
        """The texts of a field of the events at the indices `which`; empty if absent."""
        begins, ends = self.places[which, NAMED_FIELDS.index(field)].T.tolist()
        return [self.data[begin:end] for begin, end in zip(begins, ends, strict=True)]


class Columns(NamedTuple):
    """n events in stream order.

    Attributes:
        sources: `(n,) int64`, index of each event's message in its batch.
        elements: `(n,) int64`, index of each event's element in its message.
        keys: n pseudonyms of API keys.
        ts: `(n,) float64`, epoch seconds.
        tokens: `(n, 2) float64`, input that is not from a cache, and output.
        marks: `(n,) uint16`, flags, see `marks.py`.
        hashes: `(n, len(HASH_KINDS)) uint64`, in the order of HASH_KINDS; 0 if absent.
        status: `(n,) int64`, HTTP status of the answer, 0 if unknown.
        names: texts of which pseudonyms are made.
        parts: their text parts.
    """

    sources: Integers
    elements: Integers
    keys: list[str]
    ts: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.float64]
    marks: npt.NDArray[np.uint16]
    hashes: npt.NDArray[np.uint64]
    status: Integers
    names: Names
    parts: Parts

    def take(self, which: Integers) -> Columns:
        """The events at the indices `which`, `(m,) int64`."""
        return Columns(
            self.sources[which],
            self.elements[which],
            [self.keys[i] for i in which.tolist()],
            self.ts[which],
            self.tokens[which],
            self.marks[which],
            self.hashes[which],
            self.status[which],
            Names(self.names.data, self.names.places[which]),
            self.parts.take(which),
        )

    @property
    def counted(self) -> npt.NDArray[np.uint64]:
        """Hashes of the fields in COUNTED_FIELDS, `(n, len(COUNTED_FIELDS)) uint64`."""
        return np.ascontiguousarray(self.hashes[:, : len(COUNTED_FIELDS)])

    @property
    def origins(self) -> npt.NDArray[np.uint32]:
        """Hashes of network and client (user agent, else TLS fingerprint), `(n, 2) uint32`."""
        client = self.short_hashes("user_agent")
        client = np.where(client == 0, self.short_hashes("tls_fingerprint"), client)
        return np.stack([self.short_hashes("network"), client], axis=1)

    def short_hashes(self, name: str) -> npt.NDArray[np.uint32]:
        """`(n,) uint32`, 32 bits of the hashes of a field; never 0; 0 if absent."""
        return shortened(self.hashes[:, HASH_KINDS.index(name)])


def shortened(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
    """`(n,) uint32`, 32 bits of each of n hashes; never 0, but for a hash that is 0."""
    return np.where(hashes == 0, 0, np.maximum(hashes >> np.uint64(32), 1)).astype(np.uint32)


class Reader:
    """Reads batches of messages into columns.

    Args:
        decoder: of their format.
        identity: makes pseudonyms and hashes.
    """

    def __init__(self, decoder: Decoder, identity: Identity) -> None:
        self._decoder = decoder
        self._identity = identity
        self._keys = hash_keys(identity)

    def __call__(self, messages: Messages, now: float) -> tuple[Columns, list[Rejection], Decoded]:
        """The events of a batch, the elements that cannot be used, and the counts of `Decoded`.
        Never raises.

        Args:
            now: reference clock, epoch seconds. An event whose `ts` lies more than `MAX_AHEAD`
                seconds after it is rejected as `future`.
        """
        if not self._decoder.native:
            decoded = self._decoder.decode(messages, now)
            return self.from_events(decoded), decoded.rejections, decoded
        plain, others = self.plain(messages, now)
        if not len(others):
            return plain, [], Decoded.empty()
        decoded = self._decoder.decode([messages[i] for i in others.tolist()], now)
        columns = self.from_events(decoded)
        columns = columns._replace(sources=others[columns.sources])
        rejections = [
            msgspec.structs.replace(each, source=int(others[each.source]))
            for each in decoded.rejections
        ]
        return _merge(plain, columns), rejections, decoded

    def plain(self, messages: Messages, now: float) -> tuple[Columns, Integers]:
        """The events of plain messages, and the indices of all other messages."""
        data, starts, ends = messages.data, messages.starts, messages.ends
        out = ParsedEvents.allocate(len(messages), int(np.maximum(ends - starts, 0).sum()))
        latest = min(now + MAX_AHEAD, LATEST)
        buffer = np.frombuffer(data, np.uint8)
        p = fast_json.parse_events(
            buffer, starts, ends, self._keys, EARLIEST, latest, MAX_BYTES, out
        )
        key = self._identity.key_of
        counts, names = out.counts, Names(data, out.names)
        parts = Parts(out.text, out.places[:p], out.kinds[:p], out.part_hashes[:p], out.ranges)
        columns = Columns(
            np.arange(len(messages)),
            np.zeros(len(messages), np.int64),
            [key(text) for text in names.texts("api_key")],
            out.ts,
            _tokens(counts),
            _marks(parts, counts, CONVERSATION * out.conversation),
            out.hashes,
            counts[:, 4],
            names,
            parts,
        )
        if out.plain.all():
            return columns, np.zeros(0, np.int64)
        return columns.take(np.flatnonzero(out.plain)), np.flatnonzero(~out.plain)

    def from_events(self, decoded: Decoded) -> Columns:
        """The columns of decoded events."""
        identity, events = self._identity, decoded.events
        parts = Parts.of([event.parts for event in events])
        hash_each(parts.data, parts.places[:, 1].copy(), self._keys, PART_KEY, parts.hashes)
        others = [
            CONVERSATION * any(part.turn for part in event.parts)
            + JOINS * (event.joins is not None)
            for event in events
        ]
        texts = {name: [getattr(event, name) for event in events] for name in HASHED_FIELDS}
        texts["network"] = [network_of(event.ip) for event in events]
        hashes = np.stack(
            [hash_texts(texts[kind], kind, self._keys) for kind in HASH_KINDS], axis=1
        )
        self._add_second_ids(events, hashes[:, HASHED_FIELDS.index("id")])
        counts = np.array(
            [
                (
                    *(each.input_tokens or 0, each.output_tokens or 0, each.max_tokens or 0),
                    *(each.turns, each.status or 0, each.cached_tokens or 0),
                )
                for each in events
            ],
            np.int64,
        ).reshape(-1, 6)
        return Columns(
            np.asarray(decoded.sources, np.int64),
            np.asarray(decoded.elements, np.int64),
            [identity.key(event.api_key) for event in events],
            np.array([event.ts for event in events], np.float64),
            _tokens(counts),
            _marks(parts, counts, np.array(others, np.int64)),
            hashes,
            counts[:, 4],
            Names.of([getattr(event, name) for event in events for name in NAMED_FIELDS]),
            parts,
        )

    def _add_second_ids(self, events: list[RequestEvent], hashes: npt.NDArray[np.uint64]) -> None:
        """Put a hash of the second id of calls with two into bits 32 to 47 of that of the first."""
        joins = np.array([event.joins is not None for event in events], np.bool_)
        if joins.any():
            others = hash_texts([event.joins for event in events], "id", self._keys)
            both = hashes >> np.uint64(48) << np.uint64(48) | others >> np.uint64(48) << np.uint64(
                32
            )
            hashes[joins] = np.where(hashes == 0, 0, both | np.uint64(1))[joins]

    def element_bytes(self, columns: Columns, messages: Messages) -> list[bytes]:
        """The bytes of the element that each event was decoded from, without its neighbours.

        Args:
            columns: some events of the batch.
            messages: the batch. A message with several of the events is split once.
        """
        found: list[bytes] = []
        source, elements = -1, [b""]
        for event_source, element in zip(
            columns.sources.tolist(), columns.elements.tolist(), strict=True
        ):
            if event_source != source:
                source, elements = event_source, self._decoder.split(messages[event_source] or b"")
            found.append(elements[element])
        return found


def network_of(address: str | None) -> str | None:
    """The network part of an address: 24 bits of an IPv4 address, or 48 of an IPv6 address."""
    if not address:
        return None
    if "." in address:
        return address.rpartition(".")[0]
    return ":".join(address.split(":", 3)[:3])


def hash_keys(identity: Identity) -> npt.NDArray[np.uint64]:
    """The key of each kind of value, `(len(HASH_KINDS), 2) uint64`."""
    keys = b"".join(identity.derive(kind) for kind in HASH_KINDS)
    return np.frombuffer(keys, "<u8").astype(np.uint64).reshape(-1, 2)


def hash_texts(
    texts: Sequence[str | None], kind: str, keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    """The keyed hash of each text, `(n,) uint64`; never 0; 0 for an empty text or none.

    Args:
        kind: one of HASH_KINDS.
        keys: `(len(HASH_KINDS), 2) uint64`.
    """
    parts = [text.encode("utf-8", "surrogatepass") if text else b"" for text in texts]
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    hashes = np.empty(len(parts), np.uint64)
    buffer = np.frombuffer(b"".join([*parts, PADDING]), np.uint8)
    hash_each(buffer, ends, keys, HASH_KINDS.index(kind), hashes)
    return hashes


def _tokens(counts: Integers) -> npt.NDArray[np.float64]:
    """Input tokens that are not from a cache, and output tokens, `(n, 2) float64`.

    Some providers count cached tokens in the input, others beside it.

    Args:
        counts: `(n, 6) int64`, see `ParsedEvents.counts`.
    """
    tokens, cached = counts[:, :2].astype(np.float64), counts[:, 5]
    tokens[:, 0] -= np.where(cached <= counts[:, 0], cached, 0)
    return tokens


def _marks(parts: Parts, counts: Integers, others: Integers) -> npt.NDArray[np.uint16]:
    """Flags of n requests.

    Without messages and without a number of turns, a request is a follow-up if its input has more
    tokens than its prompt can have: `3 * input_tokens > prompt bytes + 48`. With messages, the
    record decides (`admission.py`).

    Args:
        parts: of the requests.
        counts: `(n, 6) int64`, see `ParsedEvents.counts`.
        others: `(n,) int64`, further flags, among them CONVERSATION if there are messages.
    """
    input_tokens, _, allowed, turns, *_ = counts.T
    size, whole = parts.sizes(USER), parts.sizes()
    alone = others & CONVERSATION == 0
    known = ((turns > 0) | (input_tokens > 0) & (size > 0)) & alone
    longer = input_tokens * BYTES_PER_TOKEN > size + FRAME_BYTES
    follow_up = (turns > 1) | (turns == 0) & known & longer
    unexplained = input_tokens * BYTES_PER_TOKEN > whole + FRAME_BYTES
    unexplained &= ~(alone & (turns > 1))
    marks = (whole > 0) * HAS_PROMPT + (known & follow_up) * FOLLOW_UP
    marks = marks + (known & ~follow_up) * FIRST_TURN + unexplained * UNEXPLAINED
    marks = marks + (allowed > 0) * BOUNDED + (allowed >= LARGE_OUTPUT) * LARGE + others
    return np.asarray(marks, np.uint16)


def _merge(plain: Columns, other: Columns) -> Columns:
    """Merge two sets of events in stream order. All events of one message are in the same set."""
    begin = len(plain.names.data)
    names = Names(
        plain.names.data + other.names.data,
        np.concatenate([plain.names.places, other.names.places + begin]),
    )
    both = Columns(
        np.concatenate([plain.sources, other.sources]),
        np.concatenate([plain.elements, other.elements]),
        plain.keys + other.keys,
        np.concatenate([plain.ts, other.ts]),
        np.concatenate([plain.tokens, other.tokens]),
        np.concatenate([plain.marks, other.marks]),
        np.concatenate([plain.hashes, other.hashes]),
        np.concatenate([plain.status, other.status]),
        names,
        plain.parts.followed_by(other.parts),
    )
    return both.take(np.argsort(both.sources, kind="stable"))
