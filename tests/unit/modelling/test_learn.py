from __future__ import annotations

import json
from random import Random

import pytest

from monitor.alerting.alerts import Alert, Subject
from monitor.config import Settings
from monitor.errors import InputError
from monitor.prompts.content_model import load_content, shipped_content
from monitor.prompts.projection import LISTS
from pipelines.modelling import learn
from pipelines.modelling.fit_content import MIN_PROMPTS
from pipelines.modelling.learn import PROMPTS_PER_KEY, _flagged, learn_content
from pipelines.simulation.users import SERVICES, TEMPLATES, grammar
from tests.support.requests import request

ORDINARY = (*SERVICES, *TEMPLATES, "cooking", "science", "life", "leisure", "study")


def unique_prompts(rules, count):
    random, found = Random(1), dict[str, None]()
    while len(found) < count:
        found[grammar().generate(rules[len(found) % len(rules)], random)] = None
    return list(found)


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory):
    prompts = unique_prompts(ORDINARY, 10 * MIN_PROMPTS)
    lines = [request(f"sk-{i % 50}", float(i), prompt) for i, prompt in enumerate(prompts)]
    file = tmp_path_factory.mktemp("recording") / "ordinary.jsonl"
    file.write_bytes(b"\n".join(lines))
    return str(file)


@pytest.fixture
def lists(tmp_path):
    return save_lists(tmp_path)


def save_lists(folder):
    rules = dict(zip(LISTS, ("coding", "trace", "sweep", "trace", "grade", "coding"), strict=True))
    for kind, rule in rules.items():
        lines = [
            json.dumps(f"{prompt} {i}")
            for i, prompt in enumerate(unique_prompts([rule], MIN_PROMPTS))
        ]
        (folder / f"{kind}.jsonl").write_text("\n".join(lines))
    return [str(folder / f"{kind}.jsonl") for kind in LISTS]


@pytest.fixture(scope="module")
def learned(ordinary, tmp_path_factory):
    """A model file fitted with lists, and the numbers of prompts."""
    folder = tmp_path_factory.mktemp("learned")
    out = folder / "content.json"
    return out, learn_content([ordinary], save_lists(folder), Settings(), out, source="")


def test_learn_without_lists_keeps_the_classifiers(ordinary, tmp_path):
    out = tmp_path / "content.json"
    assert learn_content([ordinary], [], Settings(), out, source="ours") == (10 * MIN_PROMPTS, 0)
    assert json.loads(out.read_bytes())["from"] == "ours"
    model = load_content(out)
    assert model.tag != shipped_content().tag
    assert (model.directions == shipped_content().directions).all()


def test_learn_with_lists_fits_the_classifiers(learned):
    out, counts = learned
    assert counts == (10 * MIN_PROMPTS, len(LISTS) * MIN_PROMPTS)
    assert (load_content(out).directions != shipped_content().directions).any()


def test_content_model_holds_no_prompt(learned):
    out, _ = learned
    document = json.loads(out.read_bytes())
    notes = {"from", "shape", "lists", "families", "concepts"}
    numbers = {name for name in document if name not in notes}
    assert not any(isinstance(x, str) for name in numbers for x in flat(document[name]))


def flat(values):
    if isinstance(values, dict):
        values = list(values.values())
    return [y for x in values for y in flat(x)] if isinstance(values, list) else [values]


def test_learn_uses_a_hundred_prompts_per_key(tmp_path):
    lines = [
        request("sk-1", float(i), prompt) for i, prompt in enumerate(unique_prompts(ORDINARY, 300))
    ]
    file = tmp_path / "one.jsonl"
    file.write_bytes(b"\n".join(lines))
    with pytest.raises(
        InputError, match=f"{PROMPTS_PER_KEY} different prompts in ordinary traffic"
    ):
        learn_content([str(file)], [], Settings(), tmp_path / "out.json", source="")


def test_learn_rejects_incomplete_lists(ordinary, lists, tmp_path):
    with pytest.raises(InputError, match=r"grader\.jsonl"):
        learn_content([ordinary], lists[:2], Settings(), tmp_path / "out.json", source="")


def test_learn_rejects_a_list_in_another_format(ordinary, lists, tmp_path):
    (tmp_path / "code.jsonl").write_text('{"prompt": "Hi"}\n')
    with pytest.raises(InputError, match="one JSON string per line"):
        learn_content([ordinary], lists, Settings(), tmp_path / "out.json", source="")


def test_learn_error_names_the_output_option(ordinary, tmp_path):
    with pytest.raises(InputError, match="--out"):
        learn_content([ordinary], [], Settings(), tmp_path / "none" / "out.json", source="")


def alert(severity, kind, name, members=()):
    subject = Subject(kind, name, list(members))
    return Alert("a", "k", "open", severity, 1.0, subject, 0.0, (0.0, 1.0), {}, "", "observe")


def test_flagged_keys_and_members_are_left_out():
    alerts = [
        alert("warning", "api_key", "sk-1"),
        alert("info", "api_key", "sk-2"),
        alert("critical", "campaign", "c_1", ["sk-3", "sk-4"]),
        alert("critical", "end_user", "u_1", ["sk-5"]),
    ]
    assert _flagged(alerts) == {"sk-1", "c_1", "sk-3", "sk-4"}


def test_learn_leaves_out_flagged_keys(ordinary, tmp_path, monkeypatch):
    monkeypatch.setattr(learn, "_flagged", lambda alerts: {f"sk-{i}" for i in range(25)})
    with pytest.raises(InputError, match="in ordinary traffic are too few"):
        learn_content([ordinary], [], Settings(), tmp_path / "out.json", source="")


def test_learn_keeps_flagged_keys_that_count_as_ordinary(ordinary, tmp_path, monkeypatch):
    monkeypatch.setattr(learn, "_flagged", lambda alerts: {"sk-0"})
    out = tmp_path / "out.json"
    keys = frozenset({"sk-0"})
    found = learn_content([ordinary], [], Settings(), out, source="", ordinary_keys=keys)
    assert found == (10 * MIN_PROMPTS, 0)
