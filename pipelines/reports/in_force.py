"""What of the decisions on a case's subjects is in force when a document is written.

What people hold back (shadow mode, the kill switch, the allow-list, withdrawn alerts, caps) is not
in the stream, so it is in no facts. It is looked up, and the document says when.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import msgspec

from monitor.alerting.alerts import ACTIONS, Action
from monitor.config import Settings
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore
from pipelines.inspect.decisions import Held, applied
from pipelines.reports import words
from pipelines.reports.blocks import Block, Column, Row, Source, Table, Text

LOOKED_UP = 0  # the number of this source; entries of a case begin with 1
_PAGE = 1_000  # subjects that are read at once
_HELD: dict[Held, str] = {
    "": "as the monitor decided",
    "operator": "as a person decided",
    "kill": "all enforcement is switched off",
    "allowed": "on the allow-list",
    "withdrawn": "the alert was withdrawn",
    "shadow": "recorded only: shadow mode",
    "capped": "limited, too many decisions in an hour",
    "unknown": "not known whether it is enforced",
}


class InForce(msgspec.Struct, frozen=True):
    """Decisions on a case's subjects, as they applied at a moment.

    Attributes:
        at: wall-clock time, epoch seconds.
        subjects: how many were looked up.
        counts: of subjects, by action that is enforced, action that was decided, and why.
    """

    at: float
    subjects: int
    counts: dict[tuple[Action, Action, Held], int]

    @property
    def source(self) -> Source:
        """Where this is from."""
        where = f"looked up in Redis on {words.moment(self.at)}; not an entry of the case"
        return Source(LOOKED_UP, where, "")


def look_up(settings: Settings, subjects: Sequence[str]) -> InForce:
    """Look up what applies now.

    Raises:
        StoreError: if Redis does not answer.
    """
    store = RedisStore(settings.redis_url, settings.record_seconds)
    control, setting, now = ControlStore(settings.redis_url).read(), store.shadow(), time.time()
    counts: Counter[tuple[Action, Action, Held]] = Counter()
    for start in range(0, len(subjects), _PAGE):
        for decisions in store.in_force(list(subjects[start : start + _PAGE])):
            found = applied(decisions, control, setting, now)
            if found is not None:
                counts[found.action, found.decided, found.why] += 1
    return InForce(now, len(subjects), dict(counts))


def in_force(found: InForce) -> list[Block]:
    """What was in force, as parts of a document."""
    at = f"On {words.moment(found.at)}, when this was written,"
    if not found.counts:
        return [Text(f"{at} no decision was in force.", (LOOKED_UP,))]
    rows = [
        Row([words.ACTIONS[decided], words.ACTIONS[action], _HELD[why], f"{count:,}"], (LOOKED_UP,))
        for (action, decided, why), count in sorted(
            found.counts.items(), key=lambda each: (-ACTIONS.index(each[0][0]), each[0])
        )
    ]
    columns = [
        Column("Decided", 24),
        Column("In force", 26),
        Column("Why", 28),
        Column("Subjects", 12, right=True),
    ]
    return [Text(f"{at} this was in force:", (LOOKED_UP,)), Table(columns, rows)]
