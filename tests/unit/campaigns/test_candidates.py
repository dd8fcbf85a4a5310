"""Candidates that share an identifier are the same as a scan of all keys per value gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.campaigns.candidates import _sharing
from monitor.campaigns.population import SEEN


def scanned(values, most):
    """The keys of each shared value: one scan of all keys per value."""
    each, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    where = where.reshape(values.shape)
    shared = (each != 0) & (counts >= 4) & (counts <= most)
    return [
        np.flatnonzero((where == value).any(axis=1)).tolist()
        for value in np.flatnonzero(shared).tolist()
    ]


def identifiers(random, keys, values):
    """Up to SEEN different values per key, the newest first, then zeros."""
    out = np.zeros((keys, SEEN), np.uint64)
    for row in out:
        n = random.integers(0, SEEN + 1)
        row[:n] = random.choice(values, size=n, replace=False)
    return out


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 300), st.integers(SEEN, 100), st.integers(0, 80))
def test_sorted_groups_equal_a_scan_per_value(seed, keys, different, most):
    random = np.random.default_rng(seed)
    values = identifiers(random, keys, random.integers(1, 2**64, different, np.uint64))
    assert [rows.tolist() for rows in _sharing(values, most)] == scanned(values, most)


@pytest.mark.parametrize("keys", [0, 3, 50])
def test_keys_without_identifiers_share_nothing(keys):
    assert not list(_sharing(np.zeros((keys, SEEN), np.uint64), keys))


def test_values_that_differ_in_the_lowest_bit_are_different():
    values = np.zeros((8, SEEN), np.uint64)
    values[:, 0] = 2**63 + np.repeat([0, 1], 4).astype(np.uint64)
    assert [rows.tolist() for rows in _sharing(values, 8)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
