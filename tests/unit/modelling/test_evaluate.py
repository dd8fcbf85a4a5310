import json
from io import StringIO

import msgspec
import pytest
from rich.console import Console

from monitor.alerting.alerts import Alert, Subject
from monitor.config import Settings
from monitor.errors import ConfigError, InputError
from pipelines.modelling import evaluate
from pipelines.show import evaluation_plots
from pipelines.show.evaluation import show
from tests.support.requests import elicitor, in_order, person

SECRET = "known to this test only"


@pytest.fixture
def settings():
    return Settings(identity_secret=SECRET)


@pytest.fixture
def trial(tmp_path, settings):
    """Three keys that attack, one of them hardly, a tutor who looks like it, and a person."""
    file = tmp_path / "traffic.jsonl"
    streams = [elicitor(key) for key in ("sk-cot-1", "sk-cot-2", "sk-tutor")]
    streams += [elicitor("sk-cot-3", count=12), elicitor("sk-bench"), elicitor("sk-stranger")]
    file.write_bytes(b"\n".join(in_order(*streams, person("sk-person"))))
    labels = {f"sk-cot-{i}": evaluate.Label("cot", "cot-1") for i in (1, 2, 3)}
    labels |= {"sk-tutor": evaluate.Label("tutor"), "sk-person": evaluate.Label("chat_user")}
    labels |= {"sk-bench": evaluate.Label("evaluator"), "sk-absent": evaluate.Label("cot", "c")}
    return evaluate.play(str(file), labels, settings)


@pytest.fixture
def report(trial, settings):
    return evaluate.judge(trial, settings)


def campaign(id_, at, *members, severity="warning", state="open"):
    subject = Subject("campaign", id_, list(members))
    window = (0.0, at)
    return Alert("a_1", "campaign", state, severity, 1.0, subject, at, window, {}, "", "challenge")


def score(report, name):
    return next(score for score in report.scores if score.name == name)


def test_recall_is_of_keys_with_enough_requests(report):
    assert score(report, "elicitation").recall == {"cot": 1.0, "all": 1.0}
    assert score(report, "burst").recall == {"cot": 0.0, "all": 0.0}
    assert [(c.name, c.keys, c.judged) for c in report.classes if c.attack] == [("cot", 3, 2)]


def test_requests_are_counted_up_to_the_first_accusation(report):
    assert score(report, "elicitation").requests == {"cot": (8, 8), "all": (8, 8)}
    assert score(report, "burst").requests == {}


def test_an_ordinary_key_that_is_accused_is_false(report):
    together = score(report, evaluate.ANY)
    assert together.false_keys == {"chat_user": 0, "tutor": 1, "all": 1}
    assert together.false_keys_a_day == 1.0


def test_a_campaign_accuses_its_members_as_of_what_was_seen_of_them(trial, settings):
    log = trial.log
    log._requests = {"sk-cot-1": [(10.0, 4), (20.0, 6)], "sk-person": [(30.0, 5)]}
    log.accused.clear()
    log.hear([campaign("c_1", 25.0, "sk-cot-1", "sk-person")])
    report = evaluate.judge(trial, settings)
    for name in (evaluate.CAMPAIGN, evaluate.ANY):
        assert score(report, name).recall["cot"] == 0.5
        assert score(report, name).requests["cot"] == (6, 6)
        assert score(report, name).false_keys["chat_user"] == 1
    assert log.accused[evaluate.CAMPAIGN]["sk-person"] == 0


def test_a_campaign_that_is_over_or_hardly_one_accuses_nobody(trial):
    trial.log.hear([campaign("c_1", 25.0, "sk-person", state="resolved")])
    trial.log.hear([campaign("c_1", 25.0, "sk-person", severity="info")])
    assert trial.log.accused[evaluate.CAMPAIGN] == {}


def test_a_labelled_campaign_is_held_against_what_has_most_of_its_keys(trial):
    fleet = {f"sk-{i}" for i in range(12)}
    labels = dict.fromkeys(fleet, evaluate.Label("cot", "cot-1"))
    labels |= dict.fromkeys(("sk-a", "sk-b"), evaluate.Label("cot", "small"))
    trial = trial._replace(keys=[*labels], labels=[*labels.values()])
    trial.log.campaigns.update(most={*list(fleet)[:9], "x", "y", "z"}, some={"sk-1", "sk-2"})
    (match,) = evaluate.matches(trial, {"cot": [*labels]})
    assert match == evaluate.Match("cot-1", 12, "most", 0.75, 0.75)
    trial.log.campaigns.clear()
    (match,) = evaluate.matches(trial, {"cot": [*labels]})
    assert match == evaluate.Match("cot-1", 12, None, 0.0, None)


def test_the_last_word_on_a_campaign_counts(trial):
    trial.log.hear([campaign("c_1", 1.0, "sk-1"), campaign("c_1", 2.0, "sk-1", "sk-2")])
    assert trial.log.campaigns == {"c_1": {"sk-1", "sk-2"}}


def test_campaigns_are_a_table_of_their_own(report):
    out = StringIO()
    found = [evaluate.Match("cot-1", 12, "c_0123456789", 0.75, 0.999)]
    found.append(evaluate.Match("[pivot-1]", 20, None, 0.0, None))
    show(msgspec.structs.replace(report, campaigns=found), Console(file=out, width=80))
    rows = [line.split() for line in out.getvalue().splitlines()]
    assert ["cot-1", "12", "c_01234567", "0.75", "0.99"] in rows
    assert ["[pivot-1]", "20", "not", "found", "·"] in rows


def test_what_is_neither_or_has_no_label_is_left_out(report):
    assert report.left_out == {"evaluator": (1, 1)}
    assert report.unlabelled == 1


def test_all_together_is_the_last_score(report):
    assert report.scores[-1].name == evaluate.ANY


def test_a_higher_threshold_finds_more_of_both(report):
    for each in report.scores:
        thresholds, false, recall = zip(*each.trade_off, strict=True)
        assert list(thresholds) == sorted(thresholds, reverse=True)
        assert list(false) == sorted(false, reverse=True)
        assert list(recall) == sorted(recall, reverse=True)
    assert score(report, evaluate.ANY).trade_off[0][1:] == (2.0, 1.0)


def test_the_tables_fit_80_columns(report):
    out = StringIO()
    show(report, Console(file=out, width=80))
    assert "recall 1.000, 1.0 false keys a day" in " ".join(out.getvalue().split())
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert "…" not in out.getvalue()


def test_the_same_trial_gives_the_same_pictures(trial, report, settings, tmp_path):
    first, second = (
        evaluation_plots.draw(trial, report, settings, tmp_path / name) for name in ("one", "two")
    )
    assert [file.name for file in first] == ["map.png", "map.svg", "trade-off.png", "trade-off.svg"]
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


def test_ordinary_traffic_alone_has_false_keys_and_a_map(tmp_path, settings):
    file = tmp_path / "traffic.jsonl"
    file.write_bytes(b"\n".join(person("sk-[person]")))
    trial = evaluate.play(str(file), {"sk-[person]": evaluate.Label("[/chat]")}, settings)
    report = evaluate.judge(trial, settings)
    show(report, Console(file=StringIO(), width=80))
    assert report.scores[-1].recall == {}
    files = evaluation_plots.draw(trial, report, settings, tmp_path)
    assert [file.name for file in files] == ["map.png", "map.svg"]


def test_pictures_without_matplotlib_name_the_extra(monkeypatch):
    monkeypatch.setattr(evaluation_plots, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"extra `plot`: .*extraction-monitor\[plot\]"):
        evaluation_plots.require()


def test_a_folder_that_cannot_be_written_is_one_sentence(trial, report, settings, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="name another folder with --out"):
        evaluation_plots.draw(trial, report, settings, tmp_path / "file")


@pytest.mark.parametrize("text", [None, "no JSON", '{"sk-1": 3}', '{"sk-1": {"kind": "cot"}}'])
def test_labels_that_cannot_be_used_are_one_sentence(text, tmp_path):
    file = tmp_path / "labels.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=r"labels\.json .*(--labels|JSON like)"):
        evaluate.read_labels(file)


def test_labels_of_other_traffic_are_one_sentence(tmp_path, settings):
    file = tmp_path / "traffic.jsonl"
    file.write_bytes(b"\n".join(person("sk-person")))
    with pytest.raises(InputError, match=r"No key in .* has a label"):
        evaluate.play(str(file), {"sk-1": evaluate.Label("cot")}, settings)


def test_labels_are_read_as_they_are_written(tmp_path):
    file = tmp_path / "labels.json"
    file.write_text(json.dumps({"sk-1": {"class": "cot", "campaign": None}}))
    assert evaluate.read_labels(file) == {"sk-1": evaluate.Label("cot")}
