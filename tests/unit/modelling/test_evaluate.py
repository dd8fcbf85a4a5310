import copy
import json
from io import StringIO

import msgspec
import pytest
from rich.console import Console

from monitor.alerting.alerts import Alert, Subject
from monitor.config import Settings
from monitor.errors import InputError
from pipelines.modelling import evaluate
from pipelines.modelling.labelled_replay import ANY, replay_labelled
from pipelines.modelling.results import FalseKeys, Recall
from pipelines.modelling.sources import data_seen
from pipelines.show import evaluation_plots
from pipelines.show.evaluation import show
from pipelines.traffic.labels import Label, load_labels
from tests.support.requests import elicitor, in_order, person

SECRET = "known to this test only"


@pytest.fixture(scope="module")
def settings():
    return Settings(identity_secret=SECRET)


@pytest.fixture(scope="module")
def shared_replay(tmp_path_factory, settings):
    """Three attackers, one with few requests, a tutor that looks like one, and a person."""
    file = tmp_path_factory.mktemp("evaluation") / "traffic.jsonl"
    streams = [elicitor(key) for key in ("sk-cot-1", "sk-cot-2", "sk-tutor")]
    streams += [elicitor("sk-cot-3", count=12), elicitor("sk-bench"), elicitor("sk-stranger")]
    file.write_bytes(b"\n".join(in_order(*streams, person("sk-person"))))
    labels = {f"sk-cot-{i}": Label("cot", "cot-1") for i in (1, 2, 3)}
    labels |= {"sk-tutor": Label("tutor"), "sk-person": Label("chat_user")}
    labels |= {"sk-bench": Label("evaluator"), "sk-absent": Label("cot", "c")}
    return replay_labelled(str(file), labels, settings)


@pytest.fixture
def replay(shared_replay):
    """A replay whose log a test may change."""
    return shared_replay._replace(log=copy.deepcopy(shared_replay.log))


@pytest.fixture(scope="module")
def report(shared_replay, settings):
    return evaluate.build_report(shared_replay, settings)


def campaign(id_, at, *members, severity="warning", state="open"):
    subject = Subject("campaign", id_, list(members))
    window = (0.0, at)
    return Alert("a_1", "campaign", state, severity, 1.0, subject, at, window, {}, "", "challenge")


def score(report, name):
    return next(score for score in report.scores if score.name == name)


def test_recall_counts_attackers_with_enough_requests(report):
    assert score(report, "elicitation").recall == {"cot": 1.0, "all": 1.0}
    assert score(report, "burst").recall == {"cot": 0.0, "all": 0.0}
    assert [(c.name, c.keys, c.eligible) for c in report.classes if c.attack] == [("cot", 3, 2)]


def test_requests_are_counted_until_a_key_is_flagged(report):
    assert score(report, "elicitation").requests == {"cot": (8, 8), "all": (8, 8)}
    assert score(report, "burst").requests == {}


def test_flagged_ordinary_key_is_a_false_key(report):
    overall = score(report, ANY)
    assert overall.false_keys == {"chat_user": 0, "tutor": 1, "all": 1}
    assert overall.false_keys_per_day == 1.0


def test_campaign_alert_flags_its_members(replay, settings):
    log = replay.log
    log._requests = {"sk-cot-1": [(10.0, 4), (20.0, 6)], "sk-person": [(30.0, 5)]}
    log.flagged.clear()
    log.add_alerts([campaign("c_1", 25.0, "sk-cot-1", "sk-person")])
    report = evaluate.build_report(replay, settings)
    for name in (evaluate.CAMPAIGN, ANY):
        assert score(report, name).recall["cot"] == 0.5
        assert score(report, name).requests["cot"] == (6, 6)
        assert score(report, name).false_keys["chat_user"] == 1
    assert log.flagged[evaluate.CAMPAIGN]["sk-person"] == 0


def test_resolved_or_info_campaign_flags_no_key(replay):
    replay.log.add_alerts([campaign("c_1", 25.0, "sk-person", state="resolved")])
    replay.log.add_alerts([campaign("c_1", 25.0, "sk-person", severity="info")])
    assert replay.log.flagged[evaluate.CAMPAIGN] == {}


def test_labelled_campaign_matches_the_largest_overlap(replay):
    fleet = {f"sk-{i}" for i in range(12)}
    labels = dict.fromkeys(fleet, Label("cot", "cot-1"))
    labels |= dict.fromkeys(("sk-a", "sk-b"), Label("cot", "small"))
    replay = replay._replace(keys=[*labels], labels=[*labels.values()])
    replay.log.campaigns.update(most={*list(fleet)[:9], "x", "y", "z"}, some={"sk-1", "sk-2"})
    (match,) = evaluate.match_campaigns(replay, {"cot": [*labels]})
    assert match == evaluate.CampaignMatch("cot-1", 12, "most", 0.75, 0.75)
    replay.log.campaigns.clear()
    (match,) = evaluate.match_campaigns(replay, {"cot": [*labels]})
    assert match == evaluate.CampaignMatch("cot-1", 12, None, 0.0, None)


def test_last_campaign_alert_sets_the_members(replay):
    replay.log.add_alerts([campaign("c_1", 1.0, "sk-1"), campaign("c_1", 2.0, "sk-1", "sk-2")])
    assert replay.log.campaigns == {"c_1": {"sk-1", "sk-2"}}


def test_report_shows_a_table_of_campaigns(report):
    out = StringIO()
    found = [evaluate.CampaignMatch("cot-1", 12, "c_0123456789", 0.75, 0.999)]
    found.append(evaluate.CampaignMatch("[pivot-1]", 20, None, 0.0, None))
    show(msgspec.structs.replace(report, campaigns=found), Console(file=out, width=80))
    rows = [line.split() for line in out.getvalue().splitlines()]
    assert ["cot-1", "12", "c_01234567", "0.75", "0.99"] in rows
    assert ["[pivot-1]", "20", "not", "found", "·"] in rows


def test_excluded_and_unlabelled_keys_are_counted(report):
    assert report.excluded == {"evaluator": (1, 1)}
    assert report.unlabelled == 1


def test_last_score_is_for_any_kind(report):
    assert report.scores[-1].name == ANY


def test_trade_off_falls_with_the_threshold(report):
    for each in report.scores:
        thresholds, false, recall = zip(*each.trade_off, strict=True)
        assert list(thresholds) == sorted(thresholds, reverse=True)
        assert list(false) == sorted(false, reverse=True)
        assert list(recall) == sorted(recall, reverse=True)
    assert score(report, ANY).trade_off[0][1:] == (2.0, 1.0)


def test_attackers_and_ordinary_keys_are_counted_by_source(replay, settings):
    labels = [Label("app", "owner", "benign", "manuals"), Label("cot", None, "attack", "exams")]
    report = evaluate.build_report(
        replay._replace(
            keys=["sk-person", "sk-cot-1"], labels=labels, records=replay.records[[0, 0]]
        ),
        settings,
    )
    assert [(each.kind, each.source, each.flagged) for each in report.ordinary] == [
        ("app", "", 0),
        ("app", "manuals", 0),
    ]
    assert [(each.kind, each.source, each.fleets) for each in report.attacks] == [
        ("cot", "", 1),
        ("cot", "exams", 1),
    ]


def test_report_says_which_data_the_models_have_seen(tmp_path):
    file = tmp_path / "content.json"
    file.write_text('{"from": "our March", "sources": ["chat", "exams"]}')
    seen = data_seen(Settings(identity_secret=SECRET, content=file))
    assert seen["content model"] == "our March: chat, exams"
    assert seen["baseline"].startswith("tests/benchmarks/quality/shipped.py")


def test_evaluation_tables_fit_80_columns(report):
    out = StringIO()
    long = "an-ordinary-source-of-long-name"
    kinds = {"elicitation": 12_000, "coverage": 3_000, "campaign": 80}
    report = msgspec.structs.replace(
        report,
        attacks=[Recall("cot", long, 9_999, 100, 0.5, (0.1, 0.9), (1_200, 2_345), kinds)],
        ordinary=[FalseKeys("tutor", long, 120_000, 99, (0.001, 0.002), kinds)],
    )
    show(report, Console(file=out, width=80))
    assert "recall 1.000, 1.0 false keys per day" in " ".join(out.getvalue().split())
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert "…" not in out.getvalue()


def test_pictures_are_deterministic(replay, report, settings, tmp_path):
    first, second = (
        evaluation_plots.draw(replay, report, settings, tmp_path / name) for name in ("one", "two")
    )
    assert [file.name for file in first] == ["map.png", "map.svg", "trade-off.png", "trade-off.svg"]
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


def test_ordinary_traffic_alone_has_only_a_map(tmp_path, settings):
    file = tmp_path / "traffic.jsonl"
    file.write_bytes(b"\n".join(person("sk-[person]")))
    replay = replay_labelled(str(file), {"sk-[person]": Label("[/chat]")}, settings)
    report = evaluate.build_report(replay, settings)
    show(report, Console(file=StringIO(), width=80))
    assert report.scores[-1].recall == {}
    files = evaluation_plots.draw(replay, report, settings, tmp_path)
    assert [file.name for file in files] == ["map.png", "map.svg"]


def test_pictures_error_names_the_output_option(replay, report, settings, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Name another folder with --out"):
        evaluation_plots.draw(replay, report, settings, tmp_path / "file")


@pytest.mark.parametrize("text", [None, "no JSON", '{"sk-1": 3}', '{"sk-1": {"kind": "cot"}}'])
def test_unusable_labels_error_names_the_option(text, tmp_path):
    file = tmp_path / "labels.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=r"labels\.json.*--labels"):
        load_labels(file)


def test_labels_of_other_traffic_are_rejected(tmp_path, settings):
    file = tmp_path / "traffic.jsonl"
    file.write_bytes(b"\n".join(person("sk-person")))
    with pytest.raises(InputError, match=r"No key in .* has a label"):
        replay_labelled(str(file), {"sk-1": Label("cot")}, settings)


def test_labels_have_class_and_campaign(tmp_path):
    file = tmp_path / "labels.json"
    file.write_text(json.dumps({"sk-1": {"class": "cot", "campaign": None}}))
    assert load_labels(file) == {"sk-1": Label("cot")}


def test_overturned_keys_without_a_label_are_ordinary(tmp_path, settings):
    file = tmp_path / "traffic.jsonl"
    file.write_bytes(b"\n".join(in_order(elicitor("sk-cleared"), person("sk-person"))))
    labels = {"sk-person": Label("chat_user")}
    found = replay_labelled(str(file), labels, settings, ordinary_keys={"sk-cleared", "sk-person"})
    report = evaluate.build_report(found, settings)
    assert report.unlabelled == 0
    assert report.scores[-1].false_keys == {"chat_user": 0, "overturned": 1, "all": 1}
