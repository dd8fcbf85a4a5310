"""What a receiver is sent, and what delivery must know about a receiver."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from monitor.alerting.alerts import Alert, Severity


class Notice(NamedTuple):
    """An alert for one receiver.

    Attributes:
        alert: as people should see it: of a receiver that groups, the whole incident.
        active: the highest severity under which the receiver has accepted the incident; `None` if
            it is new to it.
        since: when it was queued, wall-clock time, epoch seconds.
        of: the state of an alert that is delivered with it; default: `alert`.
        kinds: of the alerts of the incident, the most severe first.
        incident: the subject of the incident; another one than the alert's if a campaign or an
            account stands for it.
        before: the former `incident`, if that has changed.
        begun: when the incident reached its severity, wall-clock time, epoch seconds.
    """

    alert: Alert
    active: Severity | None = None
    since: float = 0.0
    of: Alert | None = None
    kinds: tuple[str, ...] = ()
    incident: str = ""
    before: str = ""
    begun: float = 0.0

    @property
    def source(self) -> Alert:
        """The state of an alert that is delivered."""
        return self.of or self.alert


class Receiver(Protocol):
    """One destination of alerts."""

    @property
    def name(self) -> str:
        """Its name in logs, metrics and commands."""

    @property
    def batch(self) -> int:
        """The most alerts that it takes at once. All of a batch are accepted, or none."""

    @property
    def groups(self) -> bool:
        """Whether people read it: it gets one incident per subject."""

    @property
    def inhibits(self) -> bool:
        """Whether it suppresses alerts that are part of another one. Otherwise these end."""

    @property
    def takes_updates(self) -> bool:
        """Whether an update that is not more severe disturbs nobody."""

    @property
    def refresh_seconds(self) -> float:
        """Time after which it has to get its open alerts again; 0: it remembers them."""

    async def send(self, notices: list[Notice]) -> None:
        """Send alerts in order; return once they are accepted."""
