"""Both ways of an event: straight from its bytes, and through an object."""

from __future__ import annotations

from monitor.identity import Identity
from monitor.kernels.buffers import Messages
from monitor.requests.columns import Reader
from monitor.requests.decoder import Decoder
from monitor.requests.fast_json import NAMED_FIELDS
from tests.benchmarks.quality.decode_fuzz import NOW, parts_of

IDENTITY = Identity(b"0123456789abcdef")
READER, DECODER = Reader(Decoder(), IDENTITY), Decoder()


def by_way_of_objects(values):
    decoded = DECODER.decode(values, NOW)
    return READER.from_events(decoded), decoded.rejections, decoded


def shown(columns, rejections, decoded):
    arrays = (
        columns.sources,
        columns.elements,
        columns.ts,
        columns.tokens,
        columns.marks,
        columns.hashes,
    )
    return (
        [array.tolist() for array in arrays],
        [array.dtype for array in arrays],
        columns.keys,
        columns.status.tolist(),
        [columns.names.texts(field) for field in NAMED_FIELDS],
        parts_of(columns),
        rejections,
        (decoded.unreadable, decoded.ignored),
    )


def check(values):
    found = READER(Messages.of(values), NOW)
    assert shown(*found) == shown(*by_way_of_objects(values))


def is_plain(value):
    return not len(READER.plain(Messages.of([value]), NOW)[1])
