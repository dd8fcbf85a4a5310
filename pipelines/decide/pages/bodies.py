"""The bodies of requests and answers of the decision service.

Their types check what arrives, and the OpenAPI document is made from them.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from monitor.alerting.alerts import Action
from monitor.alerting.changes import LONGEST_SECONDS
from pipelines.gateways.applied import Applied

MOST_ITEMS = 1_000
MOST_REASON = 500  # characters

Text = Annotated[str, Meta(min_length=1, max_length=4_096)]
Reason = Annotated[str, Meta(min_length=1, max_length=MOST_REASON, description="kept in the audit")]
Seconds = Annotated[float, Meta(ge=1, le=LONGEST_SECONDS, description="how long it holds")]


class Item(msgspec.Struct, forbid_unknown_fields=True):
    """One look-up: a key, an account, or a key and one of its end users, as the log names them."""

    key: Text | None = None
    account: Text | None = None
    end_user: Text | None = None

    def __post_init__(self) -> None:
        if not (self.key or self.account):
            raise ValueError("an item needs a key or an account")
        if self.end_user and not self.key:
            raise ValueError("an end user needs its key")


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    """Several look-ups."""

    items: Annotated[list[Item], Meta(min_length=1, max_length=MOST_ITEMS)]


class Found(Applied, frozen=True, kw_only=True):
    """What applies to one item.

    Attributes:
        known: whether the copy is up to date.
        subjects: the pseudonyms by which the item was looked up. A decision in the feed on any of
            them applies to the item.
    """

    known: bool
    subjects: list[str]


class BatchFound(msgspec.Struct):
    """What applies to each item, in order."""

    items: list[Found]


class NewDecision(msgspec.Struct, forbid_unknown_fields=True):
    """A person's decision on a subject; `observe` lifts what the detectors decide.

    Attributes:
        rate: requests per minute while the action is throttle.
        shadow: record it without enforcing it.
    """

    action: Action
    seconds: Seconds
    reason: Reason
    rate: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    shadow: bool = False

    def __post_init__(self) -> None:
        if self.rate is not None and self.action != "throttle":
            raise ValueError("a rate belongs to throttle")


class NewAllowance(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of the allow-list.

    Attributes:
        owner: who answers for the subject.
    """

    owner: Annotated[str, Meta(min_length=1, max_length=200)]
    seconds: Seconds
    reason: Reason


class NewSwitch(msgspec.Struct, forbid_unknown_fields=True):
    """A switch.

    Attributes:
        seconds: after which it ends by itself; `null`: never.
    """

    on: bool
    reason: Reason
    seconds: Seconds | None = None
