"""Checks of everything that the monitor needs: `xm doctor`.

Kafka, Redis and receivers are checked from here, with the settings of whoever runs it; where these
differ from those of the running system, a line says so. No alert is sent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from monitor.config import Settings, unknown_variables
from monitor.errors import ConfigError, StoreError
from monitor.store.operate.processes import ProcessStore
from pipelines.health.checks import Check, bad, doubtful, good
from pipelines.health.deployment import DRIFT, MOST_DRIFT, Deployment, Problem
from pipelines.health.differences import EXPLAINED, compare
from pipelines.health.kafka_checks import check_kafka
from pipelines.health.prometheus_checks import check_prometheus
from pipelines.health.receiver_checks import check_receivers
from pipelines.health.redis_checks import check_redis
from pipelines.web.heartbeat import secret_check

_OLD_DAYS = 180  # of a reference
_COMPARED = (*EXPLAINED, "mapping", "requests", "record_days")  # what commands use too
_SYSTEM, _SHELL = "workers", "this shell"


def diagnose(settings: Settings, prometheus: str | None = None) -> Iterator[Check]:
    """All checks, in an order in which a cause comes before its consequences.

    Args:
        prometheus: URL of a Prometheus to check.
    """
    redis = list(check_redis(settings.redis_url))
    deployment = _deployment(settings)
    yield from check_kafka(settings, deployment)
    yield from redis
    if deployment is None:
        yield Check(_SYSTEM, "processes", "skipped", "Unknown while Redis does not answer.")
    else:
        yield from check_system(deployment)
        yield from check_shell(settings, deployment)
    yield from check_receivers(settings)
    if prometheus is not None:
        yield from check_prometheus(prometheus)


def _deployment(settings: Settings) -> Deployment | None:
    try:
        store = ProcessStore(settings.redis_url)
        return Deployment(store.read(), store.clock() or time.time())
    except StoreError:
        return None


def check_system(deployment: Deployment) -> Iterator[Check]:
    """What the processes report of themselves."""
    problems = deployment.problems()
    yield from (_of(problem) for problem in problems)
    if not problems:
        running = len(deployment.alive)
        yield good(_SYSTEM, "processes", f"{running} processes do their work, in all roles.")
    yield from _reference(deployment)


def _of(problem: Problem) -> Check:
    make = bad if problem.level == "critical" else doubtful
    return make(_SYSTEM, problem.about, problem.what, problem.remedy)


def _reference(deployment: Deployment) -> Iterator[Check]:
    """The reference of the thresholds: whose it is, its age, and its drift."""
    found = next(
        (each.models["reference"] for each in deployment.alive if "reference" in each.models), None
    )
    if found is None:
        return
    days = (deployment.now - found.modified) / 86_400.0
    if not found.name:
        yield doubtful(
            _SYSTEM,
            "reference",
            "Thresholds are those of the package, not of your traffic.",
            "`xm calibrate` on some ordinary days of yours, then XM_REFERENCE.",
        )
    elif days > _OLD_DAYS:
        yield doubtful(
            _SYSTEM,
            "reference",
            f"{found.name} is {days:.0f} days old.",
            "`xm calibrate` on recent ordinary traffic.",
        )
    else:
        yield good(_SYSTEM, "reference", f"{found.name}, {days:.0f} days old.")
    drift = deployment.drift
    if drift and max(drift.values()) <= MOST_DRIFT:
        name, value = next(iter(drift.items()))
        judged = "moderate" if value > DRIFT else "small"
        yield good(_SYSTEM, "drift", f"The largest index is {value:.2f} of {name}, {judged}.")


def check_shell(settings: Settings, deployment: Deployment) -> Iterator[Check]:
    """Where the settings of this shell are not those of the running system."""
    variables = unknown_variables()
    if variables:
        yield doubtful(
            _SHELL, "variables", " ".join(variables), "Correct the names, or unset the variables."
        )
    secrets = {each.secret for each in deployment.alive} - {""}
    if secrets:
        yield _secret(settings, secrets)
    differing = list(compare(settings, deployment.of("watch"), _COMPARED))
    if differing:
        yield doubtful(
            _SHELL,
            "settings",
            f"They differ from the workers': {'; '.join(differing)}.",
            "Run commands with the workers' settings: the same XM_CONFIG file or environment.",
        )


def _secret(settings: Settings, theirs: set[str]) -> Check:
    name = "identity secret"
    try:
        own = secret_check(settings)
    except ConfigError:
        return doubtful(
            _SHELL,
            name,
            "This shell has none, so --raw look-ups do not work here.",
            "Set XM_IDENTITY_SECRET_FILE to the workers' file.",
        )
    if own not in theirs:
        return bad(
            _SHELL,
            name,
            "It differs from that of the workers: names that you enter here become other "
            "pseudonyms.",
            "Set XM_IDENTITY_SECRET_FILE to the workers' file.",
        )
    return good(_SHELL, name, "The same as that of the workers.")
