"""The running processes as one deployment: their roles, and what is wrong with them.

All of it is what the processes report of themselves. Ages are by Redis's clock.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from monitor.store.operate.processes import ALIVE_SECONDS, Place, Process, ReceiverHealth

ROLES = ("watch", "link", "deliver", "decide")
LAG = 10_000  # messages; that of the alert MonitorLagging
SKEW, MOST_SKEW = 5.0, 30.0  # seconds; requests 60 s ahead of the clock are rejected
DRIFT, MOST_DRIFT = 0.1, 0.25  # population stability index: moderate, and large
_RECENT = 600.0  # seconds since an error that is still worth a line
_IDLE = "No partition is assigned yet."
_PURPOSE = {
    "watch": "no requests are evaluated",
    "link": "no campaigns are found",
    "deliver": "no alerts are sent",
    "decide": "no gateway gets an answer",
}

Level = Literal["critical", "warning"]


class Problem(msgspec.Struct, frozen=True):
    """Something that is wrong.

    Attributes:
        about: a short name, such as `role watch`.
        what: a sentence.
        remedy: a sentence with what to do.
    """

    level: Level
    about: str
    what: str
    remedy: str


class RoleSummary(msgspec.Struct, frozen=True):
    """The processes with one role.

    Attributes:
        alive: those with a recent heartbeat.
        partitions: of its input topic, that they have.
        lag: messages of these partitions that are not processed.
        clock: event time that the last of these partitions has reached, epoch seconds; 0: none.
    """

    role: str
    alive: int
    hosts: int
    partitions: int
    lag: int
    clock: float


class Deployment:
    """The processes that run, and those that ended without a word.

    Args:
        processes: their heartbeats.
        now: Redis's clock, epoch seconds.

    Attributes:
        alive: with a recent heartbeat.
        gone: without, and without a later one in their place.
    """

    def __init__(self, processes: Iterable[Process], now: float) -> None:
        self.now = now
        known = list(processes)
        self.alive = [each for each in known if self.age(each) < ALIVE_SECONDS]
        self.gone = [
            each for each in known if self.age(each) >= ALIVE_SECONDS and not self._replaced(each)
        ]

    def age(self, process: Process) -> float:
        """Seconds since the last heartbeat of a process."""
        return self.now - process.at + (process.skew or 0.0)

    def _replaced(self, process: Process) -> bool:
        """Whether a process with the same roles started since."""
        return any(
            each.roles == process.roles and each.started > process.at - ALIVE_SECONDS
            for each in self.alive
        )

    def of(self, role: str) -> list[Process]:
        """The processes alive with a role."""
        return [each for each in self.alive if role in each.roles]

    def _can_wait(self, role: str) -> bool:
        """Whether requests are judged and decisions enforced without another process of a role."""
        return role == "console" or bool(self.of(role))

    @property
    def roles(self) -> list[RoleSummary]:
        """All roles, those without a process included."""
        return [self._summary(role) for role in ROLES]

    @property
    def versions(self) -> list[str]:
        return sorted({each.version for each in self.alive})

    @property
    def receivers(self) -> list[ReceiverHealth]:
        """The receivers of alerts; of one that several processes serve, the worst state."""
        found: dict[str, ReceiverHealth] = {}
        for each in (each for process in self.of("deliver") for each in process.receivers):
            before = found.get(each.name)
            found[each.name] = each if before is None else _worse(before, each)
        return list(found.values())

    @property
    def open_alerts(self) -> dict[str, dict[str, int]]:
        """The number of open alerts by kind and severity."""
        found = defaultdict[str, Counter[str]](Counter)
        for process in self.alive:
            for kind, numbers in process.open_alerts.items():
                found[kind].update(numbers)
        return {kind: dict(numbers) for kind, numbers in sorted(found.items())}

    @property
    def enforced(self) -> dict[str, int] | None:
        """Subjects by the action that gateways enforce; `None` without a process that answers."""
        answering = self.of("decide")
        return answering[-1].enforced if answering else None

    @property
    def drift(self) -> dict[str, float]:
        """The largest index of each statistic, the largest first."""
        found: dict[str, float] = {}
        for process in self.of("watch"):
            for name, value in process.drift.items():
                found[name] = max(value, found.get(name, 0.0))
        return dict(sorted(found.items(), key=lambda each: -each[1]))

    def problems(self) -> list[Problem]:
        """What is wrong, the most severe first."""
        found = [
            *self._missing_roles(),
            *self._ended(),
            *self._in_trouble(),
            *self._behind(),
            *self._away(),
            *self._differences(),
            *self._clocks(),
            *self._drifted(),
        ]
        return sorted(found, key=lambda each: each.level != "critical")

    def _missing_roles(self) -> Iterator[Problem]:
        for role in ROLES[:-1]:
            if not self.of(role):
                yield Problem(
                    "critical",
                    f"role {role}",
                    f"No process with the role {role} runs: {_PURPOSE[role]}.",
                    f"Start one: `xm worker --role {role}`, and read why the last one ended in "
                    "its log.",
                )

    def _ended(self) -> Iterator[Problem]:
        for each in self.gone:
            roles = ",".join(each.roles)
            yield Problem(
                "warning" if all(map(self._can_wait, each.roles)) else "critical",
                f"{roles} on {each.host}",
                f"Process {each.pid} on {each.host} ({roles}) has sent no heartbeat for "
                f"{duration(self.age(each))}, and none has taken its place.",
                "See its log and whether the host is up. If it was removed on purpose, it is "
                "forgotten an hour after its last heartbeat.",
            )

    def _in_trouble(self) -> Iterator[Problem]:
        for each in self.alive:
            if each.trouble and each.trouble != _IDLE:
                yield Problem(
                    "critical",
                    f"{','.join(each.roles)} on {each.host}",
                    f"Process {each.pid} on {each.host} is not ready: {each.trouble}",
                    "`xm doctor` checks Kafka and Redis; the log of the process has more.",
                )

    def _behind(self) -> Iterator[Problem]:
        for role in self.roles:
            if role.lag > LAG:
                yield Problem(
                    "warning",
                    f"lag of {role.role}",
                    f"{role.lag:,} messages wait for the role {role.role}.",
                    "If that grows for ten minutes, start more processes: `xm worker --role watch "
                    "--processes N`, up to the partitions of the topic."
                    if role.role == "watch"
                    else f"If that grows for ten minutes, see the log of the role {role.role}.",
                )

    def _away(self) -> Iterator[Problem]:
        for each in self.receivers:
            if not each.up:
                yield Problem(
                    "critical",
                    f"receiver {each.name}",
                    f"The receiver {each.name} does not take alerts ({each.reason}); "
                    f"{each.waiting:,} wait.",
                    f"Alerts are kept and sent when it is back. Try it: `xm alerts test "
                    f"{each.name}`.",
                )

    def _differences(self) -> Iterator[Problem]:
        if len({each.secret for each in self.alive} - {""}) > 1:
            yield Problem(
                "critical",
                "identity secret",
                "Processes have different identity secrets: one key has several pseudonyms.",
                "Give all processes the same XM_IDENTITY_SECRET and restart them.",
            )
        if len(self.versions) > 1:
            yield Problem(
                "warning",
                "versions",
                f"Processes run different versions: {', '.join(self.versions)}.",
                "Finish the upgrade, or return to one version.",
            )
        workers = [each for each in self.alive if each.group]
        if len({each.settings_digest for each in workers}) > 1:
            yield Problem(
                "warning",
                "settings",
                f"Workers have different settings ({_different(workers)}).",
                "Give all of them the same settings and restart them.",
            )
        for name in sorted({name for each in workers for name in each.models}):
            digests = {each.models[name].digest for each in workers if name in each.models}
            if len(digests) > 1:
                yield Problem(
                    "warning",
                    name,
                    f"Workers have different files for XM_{name.upper()}.",
                    "Give all of them the same file and restart them.",
                )

    def _clocks(self) -> Iterator[Problem]:
        for each in self.alive:
            if each.skew is not None and abs(each.skew) > SKEW:
                yield Problem(
                    "critical" if abs(each.skew) > MOST_SKEW else "warning",
                    f"clock of {each.host}",
                    f"The clock of {each.host} is {abs(each.skew):.0f} s "
                    f"{'ahead of' if each.skew > 0 else 'behind'} that of Redis.",
                    "Synchronize it (chrony, systemd-timesyncd): decisions end by it, and "
                    "requests that seem to come from the future are rejected.",
                )

    def _drifted(self) -> Iterator[Problem]:
        large = {name: value for name, value in self.drift.items() if value > MOST_DRIFT}
        if large:
            named = ", ".join(f"{name} {value:.2f}" for name, value in [*large.items()][:5])
            yield Problem(
                "warning",
                "calibration",
                f"The traffic has drifted from its reference (PSI {named}).",
                "Calibrate on recent ordinary traffic: `xm calibrate`, then XM_REFERENCE.",
            )

    def _summary(self, role: str) -> RoleSummary:
        processes = self.of(role)
        places = [each for process in processes for each in process.partitions]
        return RoleSummary(
            role,
            len(processes),
            len({each.host for each in processes}),
            len({each.name for each in places}),
            sum(each.lag or 0 for each in places),
            _slowest(places),
        )

    def errors(self) -> list[str]:
        """Lines that processes logged as errors in the last minutes, with the process."""
        return [
            f"{','.join(each.roles)} on {each.host}: {each.last_error.text}"
            for each in self.alive
            if each.last_error is not None and each.at - each.last_error.at < _RECENT
        ]


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(42), duration(90), duration(7200), duration(200_000)
    ('42 s', '2 min', '2 h', '2 d')
    """
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def _slowest(places: Sequence[Place]) -> float:
    return min((each.clock for each in places if each.clock), default=0.0)


def _worse(one: ReceiverHealth, other: ReceiverHealth) -> ReceiverHealth:
    first = min((one, other), key=lambda each: each.up)
    waiting = one.waiting + other.waiting
    accepted_at = max(one.accepted_at, other.accepted_at)
    return msgspec.structs.replace(first, waiting=waiting, accepted_at=accepted_at)


def _different(processes: Sequence[Process]) -> str:
    """The names of the settings that differ between processes, as far as they are reported."""
    names = sorted({name for each in processes for name in each.settings})
    differing = [n for n in names if len({each.settings.get(n) for each in processes}) > 1]
    return ", ".join(differing) or "not among those that a heartbeat has"
