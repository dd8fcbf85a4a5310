"""Evidence weighs what it is worth, a key's own part left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.campaigns.evidence import Identifier, Numeric

NUMBER = Numeric(0.3, 0.8, 4.0, 2.0)
SHARED = Identifier(0.5, 4.0)


def crowd(n=400, members=20, seed=1):
    """A trait that members have alike, and others spread out."""
    random = np.random.default_rng(seed)
    member = np.zeros(n)
    member[:members] = 1.0
    x = random.normal(0.0, 3.0, n)
    x[:members] = random.normal(4.0, 0.2, members)
    return x, member


def test_a_number_that_members_have_alike_speaks_for_them_and_against_most_others():
    x, member = crowd()
    nats = NUMBER(x, member)
    assert np.median(nats[:20]) > 1.0
    assert np.median(nats[20:]) == -NUMBER.against


def test_a_number_that_everybody_has_says_nothing():
    random = np.random.default_rng(1)
    x, member = random.normal(0.0, 0.3, 400), np.repeat([1.0, 0.0], [20, 380])
    assert abs(np.median(NUMBER(x, member))) < 0.3


def test_what_is_not_known_says_nothing():
    x, member = crowd()
    x[::3] = np.nan
    nats = NUMBER(x, member)
    assert not nats[::3].any()
    assert not NUMBER(np.full(400, np.nan), member).any()


def test_where_more_is_as_good_nothing_beyond_the_group_speaks_against():
    x, member = crowd()
    x[30] = 9.0
    assert Numeric(0.3, 0.8, 4.0, 2.0, rising=True)(x, member)[30] > 0.0
    assert NUMBER(x, member)[30] == -NUMBER.against


@given(st.integers(0, 2**32), st.integers(2, 60))
def test_no_kind_says_more_than_it_may(seed, members):
    x, member = crowd(members=members, seed=seed)
    nats = NUMBER(x, member)
    assert -NUMBER.against <= nats.min() <= nats.max() <= NUMBER.favour
    codes = np.random.default_rng(seed).integers(0, 50, (400, 3))
    nats = SHARED(codes, member, np.ones(400, bool))
    assert -SHARED.against <= nats.min() <= nats.max() <= SHARED.favour


def payments(n=400, members=20):
    """A payment of each key's own, and who is a member."""
    codes = np.zeros((n, 3), np.int64)
    codes[:, 0] = np.arange(1, n + 1)
    return codes, np.repeat([1.0, 0.0], [members, n - members])


def test_a_payment_that_only_members_share_says_much():
    codes, member = payments()
    codes[:20, 0] = 1 + np.arange(20) // 10
    nats = SHARED(codes, member, np.ones(400, bool))
    assert nats[:20].min() > 3.0
    assert nats[20:].max() <= 0.0


def test_a_network_that_a_quarter_of_all_share_says_hardly_anything():
    codes, member = payments()
    codes[:20, 0] = codes[20:120, 0] = 1
    assert abs(SHARED(codes, member, np.ones(400, bool))[0]) < 1.6


def test_a_stranger_with_a_members_payment_is_spoken_for_as_the_members_are():
    codes, member = payments()
    codes[:20, 0] = codes[300, 0] = 1
    nats = SHARED(codes, member, np.ones(400, bool))
    assert nats[300] == pytest.approx(nats[0], abs=0.2)


def test_the_only_one_with_a_payment_does_not_speak_for_itself():
    codes, member = payments()
    nats = SHARED(codes, member, np.ones(400, bool))
    assert nats[:20].max() <= 0.0


def test_an_earlier_value_counts_as_well_as_the_newest():
    codes, member = payments()
    codes[:20, 2] = 999
    assert SHARED(codes, member, np.ones(400, bool))[:20].min() > 2.0
