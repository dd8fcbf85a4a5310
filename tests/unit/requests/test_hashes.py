"""Hashes of identifiers leave the process, so nobody without the secret may read them back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from monitor.identity import Identity
from monitor.kernels.bits import C1, C2
from monitor.kernels.buffers import Messages
from monitor.requests.columns import Reader
from monitor.requests.decoder import Decoder
from monitor.requests.hashing import HASHED_FIELDS, NETWORK
from tests.benchmarks.quality.decode_fuzz import NOW

MASK = 2**64 - 1
USER_AGENT = "openai-python/1.60.0 (linux)"  # known to everyone
NETWORK_OF_VICTIM = "192.0.2"
READERS = {
    "fast path": Reader(Decoder(), Identity(b"0123456789abcdef")),
    "decoder": Reader(Decoder({"preset": "native", "id": "/id"}), Identity(b"0123456789abcdef")),
}


def hashes_of(reader, **fields):
    value = json.dumps({"ts": NOW, "api_key": "k", **fields}).encode()
    columns, *_ = reader(Messages.of([value]), NOW)
    return columns.hashes[0].tolist()


def inverse_mix(y):
    """The inverse of `bits.mix`."""
    y = _inverse_shift(y, 32)
    y = _inverse_shift(y * pow(int(C2), -1, 2**64) & MASK, 29)
    return _inverse_shift(y * pow(int(C1), -1, 2**64) & MASK, 32)


def _inverse_shift(y, bits):
    x = y
    for _ in range(64 // bits):
        x = y ^ (x >> bits)
    return x


def mix(x):
    x ^= x >> 32
    x = x * int(C1) & MASK
    x ^= x >> 29
    x = x * int(C2) & MASK
    return x ^ (x >> 32)


def blocks(text):
    data = text.encode()
    return [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)]


def seed_from(text, hashed):
    """The seed of a chain of `mix`, from one text and its hash."""
    for block in reversed(blocks(text)):
        hashed = inverse_mix(hashed) ^ block
    return inverse_mix(hashed) ^ len(text)


def text_from(hashed, seed, size):
    """A text of up to eight bytes, from its hash, the seed and its size."""
    return (inverse_mix(hashed) ^ mix(seed ^ size)).to_bytes(8, "little")[:size]


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_known_user_agent_does_not_reveal_a_network(reader):
    hashes = hashes_of(reader, user_agent=USER_AGENT, ip=f"{NETWORK_OF_VICTIM}.7")
    seed = seed_from(USER_AGENT, hashes[HASHED_FIELDS.index("user_agent")])
    assert text_from(hashes[NETWORK], seed, len(NETWORK_OF_VICTIM)) != NETWORK_OF_VICTIM.encode()


def test_attack_works_on_a_chain_of_mix():
    """The attack above is a real one: it reads a hash of the kind that was replaced."""
    seed = 0x0123456789ABCDEF
    hashed = {}
    for text in (USER_AGENT, NETWORK_OF_VICTIM):
        hashed[text] = mix(seed ^ len(text))
        for block in blocks(text):
            hashed[text] = mix(hashed[text] ^ block)
    assert seed_from(USER_AGENT, hashed[USER_AGENT]) == seed
    assert text_from(hashed[NETWORK_OF_VICTIM], seed, 7) == NETWORK_OF_VICTIM.encode()


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_same_text_has_another_hash_in_each_field(reader):
    hashes = hashes_of(reader, **dict.fromkeys(HASHED_FIELDS, "same"))
    assert len(set(hashes)) == len(HASHED_FIELDS) + 1
    assert 0 not in hashes


def test_both_ways_to_decode_give_the_same_hashes():
    fields = {name: f"{name} Ü 🙂 " * 9 for name in HASHED_FIELDS}
    one, other = (hashes_of(reader, **fields) for reader in READERS.values())
    assert one == other


def test_hashes_depend_on_every_byte_of_the_secret():
    secret = bytes(range(32))
    changed = [bytes(b ^ (i == j) for j, b in enumerate(secret)) for i in range(32)]
    found = [
        hashes_of(Reader(Decoder(), Identity(each)), model="atlas-3")[HASHED_FIELDS.index("model")]
        for each in (secret, *changed)
    ]
    assert len(set(found)) == 33


def test_hashes_are_unbiased():
    """Each of the 64 bits is set in half of the hashes: 6 standard deviations of 4,096 coins."""
    reader = READERS["fast path"]
    values = [
        json.dumps({"ts": NOW, "api_key": "k", "end_user": f"user-{i}"}).encode()
        for i in range(4_096)
    ]
    columns, *_ = reader(Messages.of(values), NOW)
    hashes = columns.hashes[:, HASHED_FIELDS.index("end_user")]
    ones = [(int(np.count_nonzero(hashes >> np.uint64(i) & np.uint64(1)))) for i in range(64)]
    assert all(abs(count - 2_048) < 6 * 32 for count in ones)
