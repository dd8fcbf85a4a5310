"""The field benchmark, on days that it does not make."""

import gzip
import json

import pytest

from monitor.alerting.alerts import Alert, Subject
from pipelines.traffic.labels import Label
from tests.benchmarks.quality.field import features
from tests.benchmarks.quality.field.days import Day, Match, score
from tests.benchmarks.quality.field.folds import fold_of
from tests.benchmarks.quality.field.leave_out import merge
from tests.benchmarks.quality.field.rivals import flag
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
    (kinds,) = score(day, [alert("campaign", 9.0, "sk-0", "sk-app", "sk-cron")]).mixed
    assert kinds == {"cot": 1, "rag": 1, "cron": 1}


def test_fleet_matches_the_campaign_of_most_of_its_keys(day):
    fleet = {f"sk-{i}": Label("bulk", "bulk-1") for i in range(10)}
    day.labels |= fleet
    day.times |= {key: [float(i) for i in range(20)] for key in fleet}
    (match,) = score(day, [alert("campaign", 9.0, *list(fleet)[:8], "sk-app", "sk-cron")]).matches
    assert match == Match("bulk", "bulk-1", 0.8, 0.8)


def test_ordinary_key_of_one_owner_is_no_attacker(day):
    assert not score(day, []).keys["sk-app"].attack


@pytest.fixture
def corpora(tmp_path):
    names = ["exams", "exams-list", "manuals", "poems-list", "logs", "code-list"]
    sources = {name: {"kind": "attack" if "list" in name else "benign"} for name in names}
    path = tmp_path / "corpora.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"sources": sources}).encode()))
    return path


def test_every_source_is_left_out_once(corpora):
    folds = [fold_of(corpora, f"{i}/3") for i in (1, 2, 3)]
    assert sum(len(fold.without) for fold in folds) == 6
    assert frozenset().union(*(fold.without for fold in folds)) == folds[0].known


def test_list_and_texts_of_one_data_set_are_left_out_together(corpora):
    for i in (1, 2, 3):
        without = fold_of(corpora, f"{i}/3").without
        assert ("exams" in without) == ("exams-list" in without)


def test_every_key_is_scored_in_one_fold(corpora, day):
    folds = [fold_of(corpora, f"{i}/3").of(score(day, [])).keys for i in (1, 2, 3)]
    assert sorted(key for keys in folds for key in keys) == sorted(day.labels)


def test_folds_of_a_day_merge_into_one_result(corpora, day):
    alerts = [alert("campaign", 9.0, *FLEET), alert("burst", 5.0, "sk-app")]
    whole = score(day, alerts, 3.0)
    merged = merge([fold_of(corpora, f"{i}/3").of(whole) for i in (1, 2, 3)])
    assert merged.keys == whole.keys
    assert [*merged.campaigns.values()] == [set(FLEET)]
    assert merged.seconds == 3.0


def test_table_has_classes_sources_and_false_keys(day, capsys):
    show([score(day, [alert("campaign", 9.0, *FLEET, "sk-app")])])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["cot", "3", "1", "1.000", "0.21-1.00", "10", "10", "campaign", "3"] in lines
    assert ["exams", "3", "1", "1.000", "0.21-1.00", "10", "10", "campaign", "3"] in lines
    assert ["ordinary", "rag", "1", "1", "flagged", "campaign", "1"] in lines


def test_features_of_a_day_have_a_name_each(day):
    lines = [json.dumps({"api_key": "sk-0", "ts": ts, "prompt": "Sum 2 and 3."}) for ts in (0, 9)]
    day.traffic.write_text("\n".join(lines))
    row = dict(zip(features.NAMES, features.of_day(day.traffic)["sk-0"], strict=True))
    assert row["requests"] == 1.0  # in powers of two
    assert row["distinct prompts"] == 0.5
    assert row["similarity"] == pytest.approx(1.0)


def test_rival_flags_one_ordinary_key_of_so_many(day):
    labels = {f"sk-app-{i}": Label("app", None, "benign", "manuals") for i in range(3_000)}
    day.labels |= labels
    scores = {key: float(i) for i, key in enumerate(labels)} | {"sk-0": 2_999.5, "sk-1": 2.0}
    (result,) = flag([day], {day.name: scores | {"sk-2": 0.0}}, "trees", 0.0, 1_500)
    flagged = {key for key, each in result.keys.items() if each.flagged}
    assert flagged == {"sk-app-2998", "sk-app-2999", "sk-0"}
