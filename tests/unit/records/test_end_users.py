import numpy as np
import pytest

from monitor.records.admission import READ, REPEATED
from monitor.records.end_users import HEAVY, feeds, from_few, is_pooled, select
from monitor.records.inputs import ACCOUNT, KEY
from monitor.records.profile import RECORD


def observe(record, users, suspects=True):
    """Count requests of end users, by number; return which of them are judged by themselves."""
    n = len(users)
    judged = np.zeros(n, bool)
    select(
        record,
        np.zeros(n, np.int64),
        np.full(n, READ, np.uint8),
        np.array(users, np.uint32),
        np.full(n, suspects),
        judged,
    )
    return judged.tolist()


@pytest.fixture
def record():
    return np.zeros(1, RECORD)


def test_end_user_is_judged_from_its_first_suspicious_prompt(record):
    assert observe(record, [5, 6], suspects=False) == [False, False]
    assert observe(record, [5]) == [True]
    assert observe(record, [5, 6], suspects=False) == [True, False]


def test_heavy_end_user_is_judged_if_it_is_one_of_several(record):
    assert not any(observe(record, [5] * 2 * HEAVY, suspects=False))
    assert observe(record, [6, 5], suspects=False) == [False, True]


def test_ordinary_end_users_are_not_judged(record):
    users = np.random.default_rng(1).integers(1, 400, 20_000)
    assert not any(observe(record, users, suspects=False))


def test_requests_without_end_user_or_repeated_are_not_judged(record):
    assert observe(record, [0, 0]) == [False, False]
    judged = np.ones(1, bool)
    one = np.zeros(1, np.int64), np.full(1, REPEATED, np.uint8), np.array([5], np.uint32)
    select(record, *one, np.ones(1, bool), judged)
    assert not judged[0]


@pytest.mark.parametrize(("end_users", "few"), [(1, True), (3, True), (4, False), (300, False)])
def test_evidence_is_of_few_end_users(record, end_users, few):
    observe(record, [2 + i % end_users for i in range(600)])
    assert from_few(record, np.array([KEY]))[0] == few


def test_crowd_does_not_hide_that_the_evidence_is_of_one(record):
    crowd = np.random.default_rng(1).integers(10, 400, 4_000).tolist()
    for start in range(0, 4_000, 125):
        observe(record, crowd[start : start + 20], suspects=False)
        observe(record, [5])
    assert from_few(record, np.array([KEY]))[0]


def test_anonymous_evidence_is_the_keys(record):
    observe(record, [5] * 20)
    observe(record, [0] * 20)
    assert not from_few(record, np.array([KEY]))[0]


def test_ever_new_end_users_get_few_records(record):
    assert sum(observe(record, range(2, 5_000))) < 200
    assert observe(record, [7_000] * 5)[-1]


def account_fed_by(order):
    """An account's record after requests of keys 0, 1, … in this order."""
    account, keys = np.zeros(1, RECORD)[0], np.zeros(max(order) + 1, RECORD)
    for i in order:
        feeds(account, keys[i])
        keys[i]["requests"] += 1
    return account


def test_keys_that_follow_one_another_are_not_pooled():
    account = account_fed_by([i for i in range(12) for _ in range(7)])
    assert not is_pooled(account, ACCOUNT)


def test_keys_that_a_few_programs_replace_are_not_pooled():
    account = account_fed_by([4 * i + j for i in range(8) for _ in range(7) for j in range(4)])
    assert not is_pooled(account, ACCOUNT)


def test_keys_in_use_at_the_same_time_are_pooled():
    account = account_fed_by([*range(12)] * 7)
    assert is_pooled(account, ACCOUNT)
    assert not is_pooled(account, KEY)
