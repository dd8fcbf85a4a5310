import io

import msgspec
import pytest
from rich.console import Console

from monitor.alerting.enforcement import Switch
from monitor.store.operate.processes import LastError, Model, Place, ReceiverHealth
from pipelines.health.deployment import LAG
from pipelines.health.status import status_of
from pipelines.inspect.decisions import Enforcement
from pipelines.show.operate.status import show
from tests.support.heartbeats import NOW, deployment, process

SHADOW, ENFORCING = Enforcement(True, {}, []), Enforcement(False, {}, [])


def status(processes, found=SHADOW):
    return status_of(processes, found, "redis:6379", NOW)


def problems(**changes):
    return [each.what for each in status(deployment(**changes)).problems]


def without(*roles):
    return [each for each in deployment() if not {*roles} & {*each.roles}]


def test_healthy_deployment_is_ok():
    found = status(deployment())
    assert (found.state, found.problems) == ("ok", [])
    assert found.verdict == (
        "OK: 4 processes on 1 host, shadow mode (XM_DECISIONS__SHADOW of the workers), "
        "336 messages waiting, open alerts: 4 critical, 40 info."
    )


def test_system_without_a_process_is_down():
    assert status([]).verdict == "DOWN: no process of the monitor runs."


def test_system_that_evaluates_no_requests_is_down():
    found = status(without("watch"))
    assert found.state == "down"
    assert found.verdict.startswith("DOWN: No process with the role watch runs: no requests")


@pytest.mark.parametrize("role", ["link", "deliver"])
def test_missing_role_degrades(role):
    found = status(without(role))
    assert found.state == "degraded"
    assert found.problems[0].about == f"role {role}"


def test_missing_answers_matter_only_while_enforcing():
    assert status(without("decide"), SHADOW).state == "ok"
    assert status(without("decide"), ENFORCING).problems[0].about == "role decide"


@pytest.mark.parametrize(
    ("role", "change", "words"),
    [
        ("watch", {"trouble": "Redis is full."}, "is not ready: Redis is full."),
        ("watch", {"partitions": [Place("t:0", 1, LAG + 1, NOW)]}, "messages wait for the role"),
        ("watch", {"version": "0.2.0"}, "different versions: 0.1.0, 0.2.0"),
        ("watch", {"secret": "other"}, "different identity secrets"),
        (
            "watch",
            {"settings_digest": "other", "settings": {"mapping": "litellm"}},
            "different settings (mapping)",
        ),
        (
            "watch",
            {"models": {"reference": Model("/r", "def")}},
            "files for XM_REFERENCE",
        ),
        ("watch", {"skew": 42.0, "at": NOW + 40}, "42 s ahead of that of Redis"),
        ("watch", {"drift": {"breadth": 0.4}}, "drifted from its reference (PSI breadth 0.40)"),
        (
            "deliver",
            {"receivers": [ReceiverHealth("pager", "pagerduty", False, 3, 0.0, "answers 500")]},
            "does not take alerts (answers 500); 3 wait",
        ),
    ],
)
def test_problem_is_reported(role, change, words):
    found = problems(**{role: change})
    assert len(found) == 1
    assert words in found[0]


def test_killed_process_is_reported_until_another_takes_its_place():
    killed = process("watch", 1, at=NOW - 240)
    found = status([*deployment(), killed])
    assert [each.pid for each in found.gone] == [killed.pid]
    assert "no heartbeat for 4 min" in found.problems[0].what
    restarted = process("watch", 2, started=NOW - 200)
    assert status([*deployment(), killed, restarted]).gone == []


def test_a_console_that_was_killed_is_a_warning():
    killed = process("console", number=7, at=NOW - 240)
    (problem,) = status([*deployment(), killed]).problems
    assert (problem.level, problem.about) == ("warning", "console on node-1")


def test_clock_of_another_host_does_not_make_its_process_gone():
    assert status(deployment(watch={"at": NOW - 3_602, "skew": -3_600.0})).gone == []


def test_idle_process_is_no_problem():
    idle = process("watch", 1, trouble="No partition is assigned yet.")
    assert status([*deployment(), idle]).state == "ok"


def test_kill_switch_is_in_the_verdict():
    found = Enforcement(False, {"kill": Switch(True, "ann", "INC-7", NOW, None)}, [])
    assert "nothing is enforced (kill switch)" in status(deployment(), found).verdict


def test_mode_is_unknown_while_workers_differ():
    assert status(deployment(), Enforcement(None, {}, [])).mode.startswith("unknown")


def test_last_errors_are_shown_for_ten_minutes():
    fresh, old = LastError(NOW - 60, "worker_stops"), LastError(NOW - 6_000, "outbox_failed")
    found = status(deployment(watch={"last_error": fresh}, link={"last_error": old}))
    assert found.errors == ["watch on node-1: worker_stops"]


@pytest.fixture(params=[80, 120, 200])
def width(request):
    return request.param


def test_status_fits_the_terminal(width):
    long = "node-with-a-name-of-a-cloud-1234567890.region-1.internal"
    away = ReceiverHealth("abuse-desk", "email", False, 12, NOW - 9_000, "no answer within 10 s")
    found = status([*deployment(watch={"host": long}, deliver={"receivers": [away]})])
    file = io.StringIO()
    show(found, Console(file=file, width=width))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= max(width, 40 + len(long))
    text = " ".join(file.getvalue().split())
    for words in (
        "DEGRADED", "abuse-desk", "Redis at redis:6379 answers",
        "Try it: `xm alerts test abuse-desk`", "enforced now: 1 block",
        "campaign: 1 critical", "breadth 0.13 (moderate)", "no answer within 10 s", long,
    ):  # fmt: skip
        assert words in text
    assert "…" not in text


def test_status_is_one_json_object():
    found = msgspec.json.decode(msgspec.json.encode(status(deployment())))
    assert found["state"] == "ok"
    assert found["roles"][0] == {
        "role": "watch", "alive": 1, "hosts": 1, "partitions": 8, "lag": 336, "clock": NOW - 3_600,
    }  # fmt: skip
