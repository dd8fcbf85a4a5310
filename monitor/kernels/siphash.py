"""SipHash-2-4: the keyed hash of everything that leaves the process or is stored.

A hash of an identifier, a prompt or a template goes to Redis and Kafka. A reader there may know
many texts with their hashes, and must still learn nothing about any other text. SipHash is a
pseudorandom function for this case: short inputs, a 128-bit key, 64 bits of output. Its authors
propose the rounds 2-4 as the conservative choice. 1-3 has a smaller margin and saves only 3 to 6 ns
of the 12 to 22 ns that an identifier of 12 to 40 bytes takes.

Source: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012.
"""

from __future__ import annotations

from typing import Any

from monitor.kernels.bits import U, inner, load_bytes

ROUNDS, FINAL_ROUNDS = 2, 4
_INIT = tuple(
    U(int.from_bytes(word, "big")) for word in (b"somepseu", b"dorandom", b"lygenera", b"tedbytes")
)


@inner
def _rotate(x: Any, bits: Any) -> Any:
    """Rotate x to the left by `bits`; both are uint64."""
    return x << bits | x >> (U(64) - bits)


@inner
def _round(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any, Any, Any]:
    """One SipRound of the state v0 to v3; all are uint64."""
    a += b
    c += d
    b = _rotate(b, U(13)) ^ a
    d = _rotate(d, U(16)) ^ c
    a = _rotate(a, U(32))
    c += b
    a += d
    b = _rotate(b, U(17)) ^ c
    d = _rotate(d, U(21)) ^ a
    return a, b, _rotate(c, U(32)), d


@inner
def _absorb(a: Any, b: Any, c: Any, d: Any, block: Any) -> tuple[Any, Any, Any, Any]:
    """Add a block of eight bytes to the state; all are uint64."""
    d ^= block
    for _ in range(ROUNDS):
        a, b, c, d = _round(a, b, c, d)
    return a ^ block, b, c, d


@inner
def _finish(a: Any, b: Any, c: Any, d: Any) -> Any:
    """The hash of a state; all are uint64."""
    c ^= U(0xFF)
    for _ in range(FINAL_ROUNDS):
        a, b, c, d = _round(a, b, c, d)
    return a ^ b ^ c ^ d


@inner
def siphash(buffer: Any, at: Any, end: Any, k0: Any, k1: Any) -> Any:
    """The hash of `buffer[at:end]`, uint64.

    Args:
        buffer: `(size,) uint8`, ends in `PADDING`.
        at, end: uint64 offsets.
        k0, k1: uint64, the halves of the key.
    """
    size = end - at
    a, b, c, d = k0 ^ _INIT[0], k1 ^ _INIT[1], k0 ^ _INIT[2], k1 ^ _INIT[3]
    while at + U(8) <= end:
        a, b, c, d = _absorb(a, b, c, d, load_bytes(buffer, at))
        at += U(8)
    rest = load_bytes(buffer, at) & ((U(1) << ((end - at) * U(8))) - U(1))
    a, b, c, d = _absorb(a, b, c, d, rest | size << U(56))
    return _finish(a, b, c, d)


@inner
def siphash_word(x: Any, k0: Any, k1: Any) -> Any:
    """The hash, uint64, of the eight bytes of x, uint64, with the halves of a key, uint64."""
    a, b, c, d = k0 ^ _INIT[0], k1 ^ _INIT[1], k0 ^ _INIT[2], k1 ^ _INIT[3]
    a, b, c, d = _absorb(a, b, c, d, x)
    a, b, c, d = _absorb(a, b, c, d, U(8) << U(56))
    return _finish(a, b, c, d)
