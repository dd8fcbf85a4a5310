from __future__ import annotations

import subprocess

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.kernels.bits import U
from monitor.kernels.buffers import PADDING
from monitor.kernels.siphash import siphash, siphash_word
from tests.support.programs import program

MASK = 2**64 - 1
# Of the reference implementation: key 00 01 … 0f, messages of 0, 1, … bytes 00 01 ….
VECTORS = {
    **{0: "310e0edd47db6f72", 1: "fd67dc93c539f874", 2: "5a4fa9d909806c0d"},
    **{3: "2d7efbd796666785", 4: "b7877127e09427cf", 5: "8da699cd64557618"},
    **{6: "cee3fe586e46c9cb", 7: "37d1018bf50002ab", 8: "6224939a79f5f593"},
}
PAPER = 0xA129CA6149BE45E5  # Appendix A: a message of 15 bytes


@numba.njit
def _hash(buffer, at, end, k0, k1):
    return siphash(buffer, at, end, k0, k1)


@numba.njit
def _hash_word(x, k0, k1):
    return siphash_word(x, k0, k1)


def halves(key):
    return tuple(U(int.from_bytes(key[i : i + 8], "little")) for i in (0, 8))


def compiled(key, message, before=b""):
    buffer = np.frombuffer(before + message + b"\xff" * 3 + PADDING, np.uint8)
    at = len(before)
    return int(_hash(buffer, U(at), U(at + len(message)), *halves(key)))


def reference(key, message):
    """SipHash-2-4 as the paper states it, on Python's integers."""
    k0, k1 = map(int, halves(key))
    v = [
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    ]

    def rotate(x, bits):
        return (x << bits | x >> (64 - bits)) & MASK

    def half(a, b, c, d, s, t):
        v[a] = (v[a] + v[b]) & MASK
        v[c] = (v[c] + v[d]) & MASK
        v[b], v[d] = rotate(v[b], s) ^ v[a], rotate(v[d], t) ^ v[c]
        v[a] = rotate(v[a], 32)

    def rounds(count):
        for _ in range(count):
            half(0, 1, 2, 3, 13, 16)
            half(2, 1, 0, 3, 17, 21)

    padded = message + b"\0" * (7 - len(message) % 8) + bytes([len(message) % 256])
    for i in range(0, len(padded), 8):
        block = int.from_bytes(padded[i : i + 8], "little")
        v[3] ^= block
        rounds(2)
        v[0] ^= block
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


@pytest.mark.parametrize("hashed", [compiled, reference])
def test_siphash_gives_the_published_vectors(hashed):
    key = bytes(range(16))
    assert hashed(key, bytes(range(15))) == PAPER
    assert {n: hashed(key, bytes(range(n))).to_bytes(8, "little").hex() for n in VECTORS} == VECTORS


@settings(max_examples=500, deadline=None)
@given(key=st.binary(min_size=16, max_size=16), message=st.binary(max_size=600), at=st.binary())
def test_siphash_agrees_with_the_definition(key, message, at):
    assert compiled(key, message, at) == reference(key, message)


@settings(deadline=None)
@given(key=st.binary(min_size=16, max_size=16), message=st.binary(min_size=8, max_size=8))
def test_siphash_of_a_word_is_that_of_its_bytes(key, message):
    x = U(int.from_bytes(message, "little"))
    assert int(_hash_word(x, *halves(key))) == reference(key, message)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 63, 255, 256, 1_000])
def test_siphash_agrees_with_openssl(size, tmp_path):
    rng = np.random.default_rng(size)
    key, message = rng.bytes(16), rng.bytes(size)
    (tmp_path / "message").write_bytes(message)
    options = ["-macopt", f"hexkey:{key.hex()}", "-macopt", "size:8", "-binary"]
    command = [program("openssl"), "mac", *options, "-in", str(tmp_path / "message"), "SIPHASH"]
    result = subprocess.run(command, capture_output=True, check=True)
    assert compiled(key, message) == int.from_bytes(result.stdout, "little")
