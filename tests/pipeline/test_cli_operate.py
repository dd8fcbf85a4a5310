"""What all commands have in common: JSON, completion, exit status, and tables that fit."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.main import get_command

from monitor.alerting.alerts import Alert, Subject
from monitor.alerting.enforcement import Switch
from monitor.store.alert_book import AlertBook, Entry
from pipelines.cli import complete, main
from pipelines.health.checks import bad, good
from pipelines.health.erasure import Erased
from pipelines.health.rejected import RejectedGroup, Replay
from pipelines.inspect.campaigns import CampaignList, CampaignSummary
from pipelines.inspect.decisions import Applied, DecisionList, Enforcement
from pipelines.inspect.keys import KeyList, KeyRow
from pipelines.notify.listing import AlertView, Delivered
from pipelines.show import campaigns, keys
from pipelines.show.actions import alerts, decisions
from pipelines.show.operate import doctor, erasure, rejected
from tests.support.commands import Xm

KEY, CAMPAIGN, NOW = "k_" + "1" * 24, "c_" + "7" * 20, 1_790_000_000.0
ALERT = "a_" + "3" * 20
SERVICES = {"worker", "serve", "forward", "demo", "init", "config docs"}  # they print no result


def commands(group: Any, *above: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if hasattr(group, "load"):
        group.load()
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        found |= commands(command, *above, name) if inner else {" ".join((*above, name)): command}
    return found


def test_every_command_prints_json() -> None:
    without = {
        name
        for name, command in commands(get_command(main.app)).items()
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert without <= SERVICES


def test_version_has_what_it_runs_on(xm: Xm) -> None:
    shown = xm("version", "--json")
    assert shown.status == 0
    assert {"extraction-monitor", "record", "python", "numba"} <= json.loads(shown.out).keys()


def test_commands_print_what_they_did_as_json(xm: Xm, tmp_path: Path) -> None:
    traffic = tmp_path / "hour.jsonl"
    made = json.loads(xm("simulate", traffic, "--hours", 0.2, "--keys", 20, "--json").out)
    assert made["file"] == str(traffic)
    ended = xm("replay", traffic, "--plain-keys", "--campaigns", "--json")
    found = json.loads(ended.out)
    assert ended.status == 0
    assert 0 < found["requests"] + sum(found["refused"].values()) <= made["requests"]
    assert {"alerts", "subjects", "rejected", "campaigns", "seconds"} <= found.keys()
    token = json.loads(xm("token", "ann", "--json").out)
    assert token["line"].startswith("ann ")
    assert token["token"] not in token["line"]


# Completion


def alert_on(subject: Subject, id: str = ALERT) -> Alert:
    return Alert(
        id,
        "campaign",
        "open",
        "critical",
        1.0,
        subject,
        NOW,
        (NOW - 60, NOW),
        {},
        "It sweeps.",
        "block",
    )


def test_ids_are_completed_from_alerts(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XM_REDIS_URL", redis_url)
    alert = alert_on(Subject("campaign", CAMPAIGN, [KEY]))
    AlertBook(redis_url).write([Entry(alert, 0, NOW, NOW)])
    assert complete.campaign_ids("c_7") == [CAMPAIGN]
    assert complete.keys("") == [KEY]
    assert complete.alert_ids("a_") == [ALERT]
    assert complete.subjects("x") == []


def test_completion_without_redis_offers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XM_REDIS_URL", "redis://127.0.0.1:1/0")
    assert complete.keys("") == []
    monkeypatch.setenv("XM_REDIS_URL", "nonsense")
    assert complete.keys("") == []


def test_shell_completes_a_campaign(redis_url: str) -> None:
    alert = alert_on(Subject("campaign", CAMPAIGN, [KEY]))
    AlertBook(redis_url).write([Entry(alert, 0, NOW, NOW)])
    asked = {
        "_XM_COMPLETE": "complete_bash", "COMP_WORDS": "xm campaigns show c_", "COMP_CWORD": "3",
        "XM_REDIS_URL": redis_url,
    }  # fmt: skip
    program = "from pipelines.cli.main import app; app(prog_name='xm')"
    ended = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | asked, capture_output=True, text=True
    )
    assert ended.stdout.split() == [CAMPAIGN]


# Tables


def shown(show: Any, found: Any, width: int, **options: Any) -> str:
    file = io.StringIO()
    show(found, console=Console(file=file, width=width), **options)
    text = file.getvalue()
    assert "…" not in text.replace("… and", "")
    return text


widths = pytest.mark.parametrize("width", [80, 120, 200])


@widths
def test_keys_fit(width: int) -> None:
    row = KeyRow(
        KEY, 1_234_567, 98_765_432, 4_321, NOW, {"elicitation": "critical", "combined": "warning"},
        "block", 1e-9, "observe", "shadow",
    )  # fmt: skip
    text = shown(keys.show, KeyList(1, 1, 1, {"critical": 1}, [row]), width, by="remarkable")
    assert max(map(len, text.splitlines()[:-4])) <= width
    for part in (KEY, "1.23M", "98.8M", "4,321", "(block)", "critical: elicitation", "combined",
                 "1 in 1"):  # fmt: skip
        assert part in text


@widths
def test_campaigns_fit(width: int) -> None:
    summary = CampaignSummary(
        CAMPAIGN, NOW, "open", "critical", 250, 1_234_567, 99_999, 4_321, "block",
        "The members send prompts of one list, at one pace, from one network of a hosting company.",
    )  # fmt: skip
    text = shown(campaigns.show, CampaignList(NOW, 9, 3, [summary]), width)
    assert max(map(len, text.splitlines())) <= max(width, 100)
    joined = " ".join(text.split())
    for part in (CAMPAIGN, "critical", "block", "250 keys", "4,321", "of a hosting company."):
        assert part in joined


@widths
def test_decisions_fit(width: int) -> None:
    row = Applied(KEY, "observe", "block", "shadow", NOW, "elicitation", ALERT, "detector")
    kill = Switch(True, "ann", "INC-7", NOW, None)
    found = DecisionList(Enforcement(True, {"kill": kill}, []), [row])
    text = shown(decisions.show, found, width)
    line = next(each for each in text.splitlines() if KEY in each)
    assert len(line) <= 80
    assert "not enforced: shadow mode" in line


@widths
def test_alerts_fit(width: int) -> None:
    sent = Delivered("pager", "open", "critical", NOW, True)
    view = AlertView(alert_on(Subject("api_key", KEY)), NOW, NOW, [sent], None, None)
    text = shown(alerts.show_list, [view], width)
    assert max(map(len, text.splitlines())) <= 80
    for part in (ALERT, "critical", "campaign", "sent to pager"):
        assert part in text


@widths
def test_doctor_fits(width: int) -> None:
    name = "clock of node-with-a-long-name-1234567890.region-1.internal"
    remedy = "Run `xm alerts test abuse-desk`."
    checks = [
        good("Kafka", "connection", "kafka:9092 answers, 3 brokers."),
        bad("workers", name, "It is 40 s ahead of Redis.", remedy),
    ]
    text = shown(doctor.show, checks, width)
    joined = " ".join(text.split())
    for part in (name, "FAILED", "→ Run `xm alerts test abuse-desk`.", "2 checks: 1 failed"):
        assert part in joined
    assert max(len(each) for each in text.splitlines() if name not in each) <= width


@widths
def test_erasure_and_rejections_fit(width: int) -> None:
    erased = Erased(KEY, "o_" + "2" * 20, {"records": 1}, ["llm.requests:0"], ["llm.requests:1"])
    assert KEY in shown(erasure.show, erased, width)
    sample, place = {"timestamp": "number", "api_key": "string"}, "llm.requests:0:12345678"
    group = RejectedGroup("missing_field", "ts is missing", 3, NOW, NOW, place, sample)
    text = shown(rejected.show, [group], width)
    for part in ("3 missing_field", "llm.requests:0:12345678", '"api_key": "string"'):
        assert part in " ".join(text.split())
    replayed = Replay(3, {"not_json": 1}, 2, 1, "o_" + "2" * 20)
    assert "3 requests sent again" in shown(rejected.show_replay, replayed, width)


def test_completion_looks_at_a_limited_number_of_alerts(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XM_REDIS_URL", redis_url)
    alerts = (alert_on(Subject("api_key", f"k_{n}"), f"a_{n}") for n in range(900))
    AlertBook(redis_url).write([Entry(each, 0, NOW, NOW) for each in alerts])
    assert len(complete.alert_ids("")) == 500
