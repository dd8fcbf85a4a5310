"""Evidence is a log-likelihood ratio without the key's own part."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.campaigns.evidence import IdentifierEvidence, NumericEvidence

NUMBER = NumericEvidence(0.3, 0.8, -4.0, 2.0)
SHARED = IdentifierEvidence(-0.5, 4.0)


def crowd(n=400, members=20, seed=1):
    """A trait that is similar among members and varied among others."""
    random = np.random.default_rng(seed)
    member = np.zeros(n)
    member[:members] = 1.0
    x = random.normal(0.0, 3.0, n)
    x[:members] = random.normal(4.0, 0.2, members)
    return x, member


def test_number_separates_members_from_others():
    x, member = crowd()
    nats = NUMBER(x, member)
    assert np.median(nats[:20]) > 1.0
    assert np.median(nats[20:]) == NUMBER.min_nats


def test_common_number_is_no_evidence():
    random = np.random.default_rng(1)
    x, member = random.normal(0.0, 0.3, 400), np.repeat([1.0, 0.0], [20, 380])
    assert abs(np.median(NUMBER(x, member))) < 0.3


def test_unknown_number_is_no_evidence():
    x, member = crowd()
    x[::3] = np.nan
    nats = NUMBER(x, member)
    assert not nats[::3].any()
    assert not NUMBER(np.full(400, np.nan), member).any()


def test_rising_number_above_the_group_is_positive():
    x, member = crowd()
    x[30] = 9.0
    assert NumericEvidence(0.3, 0.8, -4.0, 2.0, rising=True)(x, member)[30] > 0.0
    assert NUMBER(x, member)[30] == NUMBER.min_nats


@given(st.integers(0, 2**32), st.integers(2, 60))
def test_evidence_stays_within_its_bounds(seed, members):
    x, member = crowd(members=members, seed=seed)
    nats = NUMBER(x, member)
    assert NUMBER.min_nats <= nats.min() <= nats.max() <= NUMBER.max_nats
    codes = np.random.default_rng(seed).integers(0, 50, (400, 3))
    nats = SHARED(codes, member, np.ones(400, bool))
    assert SHARED.min_nats <= nats.min() <= nats.max() <= SHARED.max_nats


def payments(n=400, members=20):
    """A different payment for each key, and the membership."""
    codes = np.zeros((n, 3), np.int64)
    codes[:, 0] = np.arange(1, n + 1)
    return codes, np.repeat([1.0, 0.0], [members, n - members])


def test_payment_shared_by_members_only_is_strong():
    codes, member = payments()
    codes[:20, 0] = 1 + np.arange(20) // 10
    nats = SHARED(codes, member, np.ones(400, bool))
    assert nats[:20].min() > 3.0
    assert nats[20:].max() <= 0.0


def test_common_network_is_weak():
    codes, member = payments()
    codes[:20, 0] = codes[20:120, 0] = 1
    assert abs(SHARED(codes, member, np.ones(400, bool))[0]) < 1.6


def test_outsider_with_members_payment_gets_its_evidence():
    codes, member = payments()
    codes[:20, 0] = codes[300, 0] = 1
    nats = SHARED(codes, member, np.ones(400, bool))
    assert nats[300] == pytest.approx(nats[0], abs=0.2)


def test_unshared_payment_is_no_evidence_for_its_key():
    codes, member = payments()
    nats = SHARED(codes, member, np.ones(400, bool))
    assert nats[:20].max() <= 0.0


def test_earlier_values_count_too():
    codes, member = payments()
    codes[:20, 2] = 999
    assert SHARED(codes, member, np.ones(400, bool))[:20].min() > 2.0
