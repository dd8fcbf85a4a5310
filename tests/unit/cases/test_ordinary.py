"""Overturned keys count as ordinary."""

import pytest

from monitor.alerting.enforcement import Control, Withdrawal
from monitor.identity import Identity
from pipelines.cases.review.ordinary import OverturnedKeys

IDENTITY = Identity(b"0123456789abcdef")
ONE, OTHER = IDENTITY.key("sk-one"), IDENTITY.key("sk-other")
BY = ("critical", "ann", "x", 0.0)


@pytest.mark.parametrize(
    "withdrawal",
    [
        Withdrawal("a_1", ONE, "burst", *BY),
        Withdrawal("a_1", "c_1", "campaign", *BY, members=[ONE]),
        Withdrawal("a_1", ONE, "campaign", *BY, members=[ONE, OTHER], for_one=True),
    ],
)
def test_keys_of_withdrawn_alerts_are_overturned(withdrawal):
    keys = OverturnedKeys(Control(withdrawn={withdrawal.name: withdrawal}), IDENTITY)
    assert "sk-one" in keys
    assert "sk-other" not in keys
    assert 1 not in keys
