"""A deployment in Redis with a blocked key and a blocked campaign, to review."""

from __future__ import annotations

import time

from monitor.alerting.alerts import Alert
from monitor.alerting.decisions import Decision
from monitor.alerting.enforcement import Effective, effective
from monitor.config import Settings
from monitor.evidence.entries import AlertSeen
from monitor.store.alert_book import AlertBook, Entry
from monitor.store.base import Checkpoint
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore
from pipelines.cases.review.rule import Review
from tests.support.cases import CAMPAIGN, MEMBERS, campaign_alert, case_store, key_alert

BY = ("ann", "INC-7")
KEY = MEMBERS[0]


class Reviewed:
    """Alerts, decisions and a case of the campaign; the switches enforce."""

    def __init__(self, url: str) -> None:
        self.settings = Settings(redis_url=url, cases={"appeal_contact": "appeals@example.com"})
        self.control, self.store = ControlStore(url), RedisStore(url, 100)
        self.book, self.cases = AlertBook(url), case_store(url)
        self.review = Review(self.settings, self.cases)
        self.control.switch("shadow", False, *BY)

    def alert(self, alert: Alert) -> Alert:
        """Enter an alert in the book."""
        self.book.write([Entry(alert, 0, time.time(), time.time())])
        return alert

    def block(self, key: str, alert: Alert, origin: str = "detector", **more: object) -> None:
        """Block a key because of an alert."""
        decision = Decision(
            key, "block", alert.id, time.time(), 600.0, origin=origin, kind=alert.kind, **more
        )
        self.store.commit(Checkpoint(decisions=[decision]))

    def campaign(self) -> str:
        """A campaign whose members are blocked, with a case; the case's id."""
        alert = self.alert(campaign_alert())
        for key in MEMBERS:
            self.block(key, alert, "campaign")
        case = self.cases.open_case(CAMPAIGN, "campaign", "critical", "monitor", alert=alert.id)
        self.cases.append(case, AlertSeen(alert), "monitor", source="alerts:0:1")
        return case

    def blocked_key(self) -> Alert:
        """A key that is blocked because of an alert of its own, without a case."""
        alert = self.alert(key_alert(KEY, "critical"))
        self.block(KEY, alert)
        return alert

    def on(self, key: str) -> Effective:
        """What applies to a key."""
        decisions = self.store.in_force([key])[0]
        return effective(decisions, self.control.read(), time.time(), shadow=False)
