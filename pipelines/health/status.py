"""The state of the running system in one report: `xm status`.

Everything comes from Redis: the heartbeats of the processes and what people have set. The settings
of whoever asks are used only to find Redis.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Literal

import msgspec

from monitor.alerting.alerts import SEVERITIES
from monitor.config import Settings
from monitor.store.control import ControlStore
from monitor.store.operate.processes import Process, ProcessStore, ReceiverHealth
from monitor.store.redis import RedisStore
from pipelines.health.deployment import Deployment, Problem, RoleSummary, duration
from pipelines.inspect.decisions import Enforcement, enforcement

State = Literal["ok", "degraded", "down"]


class Status(msgspec.Struct, frozen=True):
    """The running system.

    Attributes:
        state: `down` if requests are not evaluated, `degraded` if something else is wrong.
        verdict: the state in one sentence.
        mode: whether decisions are enforced.
        open_alerts: by kind and severity.
        enforced: subjects by the action that gateways enforce; `None` if no process answers them.
        drift: population stability index by statistic, the largest first.
        errors: lines that processes logged as errors in the last minutes.
    """

    state: State
    verdict: str
    at: float
    redis: str
    mode: str
    problems: list[Problem]
    roles: list[RoleSummary]
    processes: list[Process]
    gone: list[Process]
    receivers: list[ReceiverHealth]
    open_alerts: dict[str, dict[str, int]]
    enforcement: Enforcement
    enforced: dict[str, int] | None
    drift: dict[str, float]
    errors: list[str]


def read_status(settings: Settings) -> Status:
    """Read the state of the running system.

    Raises:
        StoreError: if Redis does not answer.
    """
    store = ProcessStore(settings.redis_url)
    now = store.clock() or time.time()
    control = ControlStore(settings.redis_url).read()
    setting = RedisStore(settings.redis_url, settings.record_seconds).shadow()
    return status_of(store.read(), enforcement(control, setting, now), str(store.server), now)


def status_of(processes: Iterable[Process], found: Enforcement, redis: str, now: float) -> Status:
    """The status at a time by Redis's clock."""
    deployment = Deployment(processes, now)
    problems = [*deployment.problems(), *_unanswered(deployment, found)]
    state: State = "ok"
    if problems:
        state = "degraded" if deployment.of("watch") else "down"
    return Status(
        state=state,
        verdict=_verdict(state, problems, deployment, found),
        at=now,
        redis=redis,
        mode=mode_of(found),
        problems=problems,
        roles=deployment.roles,
        processes=deployment.alive,
        gone=deployment.gone,
        receivers=deployment.receivers,
        open_alerts=deployment.open_alerts,
        enforcement=found,
        enforced=deployment.enforced,
        drift=deployment.drift,
        errors=deployment.errors(),
    )


def mode_of(found: Enforcement) -> str:
    """Whether decisions are enforced, in a few words."""
    kill = found.switches.get("kill")
    if kill is not None and kill.on:
        return "nothing is enforced (kill switch)"
    by = "by a person" if "shadow" in found.switches else "XM_DECISIONS__SHADOW of the workers"
    if found.shadow is None:
        return "unknown whether decisions are enforced"
    return f"shadow mode ({by})" if found.shadow else f"enforcing ({by})"


def _unanswered(deployment: Deployment, found: Enforcement) -> list[Problem]:
    """Decisions are enforced, and nothing answers gateways."""
    if found.shadow is not False or deployment.of("decide") or not deployment.alive:
        return []
    return [
        Problem(
            "warning",
            "role decide",
            "Decisions are enforced, and no process answers gateways.",
            "Start `xm serve`, unless your gateways read extraction.decisions.",
        )
    ]


def _verdict(
    state: State, problems: list[Problem], deployment: Deployment, found: Enforcement
) -> str:
    if not deployment.alive:
        return "DOWN: no process of the monitor runs."
    if state != "ok":
        more = len(problems) - 1
        others = f" And {more} more." if more else ""
        return f"{state.upper()}: {problems[0].what}{others}"
    running = len(deployment.alive)
    hosts = len({each.host for each in deployment.alive})
    lag = sum(role.lag for role in deployment.roles)
    return (
        f"OK: {running} process{'es' if running > 1 else ''} on {hosts} "
        f"host{'s' if hosts > 1 else ''}, {mode_of(found)}, {lag:,} messages waiting, "
        f"{_open(deployment)}."
    )


def _open(deployment: Deployment) -> str:
    numbers = Counter[str]()
    for each in deployment.open_alerts.values():
        numbers.update(each)
    parts = [f"{numbers[each]:,} {each}" for each in reversed(SEVERITIES) if numbers[each]]
    return f"open alerts: {', '.join(parts) or 'none'}"


def since(process: Process, now: float) -> str:
    """How long a process has run."""
    return duration(now - process.started + (process.skew or 0.0))
