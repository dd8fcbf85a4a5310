"""The keyed hash, exact probabilities and the correction for several tests."""

from __future__ import annotations

import struct
import subprocess
import sys
from math import comb

import numpy as np
import pytest

from monitor.tracing.keyed_hash import HashKey, keyed_hash
from monitor.tracing.significance import LEAST, Trials, holm, tail

PAIRS = [(1, 2), (-5, 77), (2**62, -(2**63))]


def test_keyed_hash_is_siphash_of_python():
    program = f"import struct\nfor each in {PAIRS}: print(hash(struct.pack('<qq', *each)))"
    of_python = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = np.array(PAIRS, np.int64).T
    found = keyed_hash(HashKey(0, 0), first, second)
    assert found.tolist() == [int(line) for line in of_python.stdout.split()]
    assert len({*found, *keyed_hash(HashKey(0, 1), first, second)}) == 2 * len(PAIRS)


def test_keyed_hash_broadcasts_context_over_tokens():
    key = HashKey.from_bytes(struct.pack("<qq", -3, 5))
    tokens = np.arange(50)
    broadcast = keyed_hash(key, np.array([7]), tokens)
    assert (broadcast == keyed_hash(key, np.full(50, 7), tokens)).all()


@pytest.mark.parametrize(
    ("n", "q", "k"), [(10, 0.25, 3), (900, 0.25, 240), (50, 0.1, 49), (50, 0.1, 50), (40, 0.5, 40)]
)
def test_tail_of_equal_weights_is_binomial(n, q, k):
    exact = sum(comb(n, i) * q**i * (1 - q) ** (n - i) for i in range(k, n + 1))
    assert tail([Trials(1, n, q)], k) == pytest.approx(exact, rel=1e-6)


def test_tail_of_several_weights_is_exact():
    trials = [Trials(1, 4, 0.25), Trials(3, 3, 0.75), Trials(5, 2, 0.5)]
    masses = np.ones(1)
    for weight, number, q in trials:
        for _ in range(number):
            one = np.zeros(weight + 1)
            one[0], one[weight] = 1 - q, q
            masses = np.convolve(masses, one)
    for score in range(len(masses) + 1):
        assert tail(trials, score) == pytest.approx(masses[score:].sum(), rel=1e-9)


def test_tail_stays_exact_far_out():
    logarithm = 1_000_000 * (0.3 * np.log(0.25 / 0.3) + 0.7 * np.log(0.75 / 0.7))
    assert LEAST <= tail([Trials(1, 1_000_000, 0.25)], 300_000) <= max(np.exp(logarithm), LEAST)
    assert tail([], 0) == 1.0


def test_holm_corrects_for_number_of_tests():
    assert holm([0.01, 0.5, 0.02]) == pytest.approx([0.03, 0.5, 0.04])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
