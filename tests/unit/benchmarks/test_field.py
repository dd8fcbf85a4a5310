"""The field benchmark, on days that it does not make."""

import json

import pytest

from monitor.alerting.alerts import Alert, Subject
from tests.benchmarks.quality.field.days import Day, score
from tests.benchmarks.quality.field.folds import Fold
from tests.benchmarks.quality.field.tables import show

FLEET = {f"sk-{i}": ("cot", "cot-exams", "attack", "exams") for i in range(3)}
OTHERS = {
    "sk-app": ("rag", "owner", "benign", "manuals"),
    "sk-cron": ("cron", None, "benign", None),
}


@pytest.fixture
def day(tmp_path):
    """Three attackers and two ordinary keys with one request per second from 0 to 29."""
    folder = tmp_path / "plain-1"
    folder.mkdir()
    labels = {
        key: dict(zip(("class", "campaign", "side", "list"), label, strict=True))
        for key, label in (FLEET | OTHERS).items()
    }
    (folder / "labels.json").write_text(json.dumps(labels))
    lines = [json.dumps({"api_key": key, "ts": ts}) for ts in range(30) for key in labels]
    (folder / "traffic.jsonl").write_text("\n".join(lines))
    return Day(folder)


def alert(kind, at, *keys, severity="warning", state="open"):
    subject = Subject("campaign", "c_1", list(keys)) if len(keys) > 1 else Subject("key", keys[0])
    return Alert("a_1", kind, state, severity, 1.0, subject, at, (0.0, at), {}, "", "challenge")


def test_score_counts_requests_until_the_first_alert(day):
    alerts = [
        alert("burst", 9.0, "sk-0"),
        alert("burst", 20.0, "sk-0"),
        alert("coverage", 5, "sk-0"),
    ]
    keys = score(day, alerts).keys
    assert keys["sk-0"].flagged == {"burst": 10, "coverage": 6}
    assert keys["sk-1"].flagged == {}


def test_score_ignores_info_and_resolved_alerts(day):
    alerts = [alert("burst", 9.0, "sk-0", severity="info")]
    alerts.append(alert("burst", 9.0, "sk-0", state="resolved"))
    assert not any(key.flagged for key in score(day, alerts).keys.values())


def test_score_names_campaigns_of_ordinary_keys(day):
    assert score(day, [alert("campaign", 9.0, "sk-0", "sk-1", "sk-app")]).mixed == []
    (mixed,) = score(day, [alert("campaign", 9.0, "sk-0", "sk-app", "sk-cron")]).mixed
    assert mixed.kinds == {"cot": 1, "rag": 1, "cron": 1}


def test_ordinary_key_of_one_owner_is_no_attacker(day):
    assert not score(day, []).keys["sk-app"].attack


def test_every_source_is_in_one_fold():
    folds = [Fold.parse(f"{i}/3") for i in (1, 2, 3)]
    for source in ("exams", "manuals", ""):
        assert sum(source in fold for fold in folds) == 1


def test_table_has_classes_sources_and_false_keys(day, capsys):
    show([score(day, [alert("campaign", 9.0, *FLEET, "sk-app")])])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["cot", "3", "1", "1.000", "0.21-1.00", "10", "10", "campaign", "3"] in lines
    assert ["exams", "3", "1", "1.000", "0.21-1.00", "10", "10", "campaign", "3"] in lines
    assert ["ordinary", "rag", "1", "1", "flagged", "campaign", "1"] in lines
