from __future__ import annotations

import json
from random import Random

import pytest

from monitor.config import Settings
from monitor.errors import InputError
from monitor.prompts.content_model import load_content, shipped_content
from monitor.prompts.projection import LISTS
from pipelines.modelling.fit_content import LEAST
from pipelines.modelling.learn import OF_A_KEY, learn
from pipelines.simulation.users import SERVICES, TEMPLATES, grammar
from tests.support.requests import request

ORDINARY = (*SERVICES, *TEMPLATES, "cooking", "science", "life", "leisure", "study")


def said(rules, count):
    random, found = Random(1), dict[str, None]()
    while len(found) < count:
        found[grammar().generate(rules[len(found) % len(rules)], random)] = None
    return list(found)


@pytest.fixture
def ordinary(tmp_path):
    prompts = said(ORDINARY, 10 * LEAST)
    lines = [request(f"sk-{i % 50}", float(i), prompt) for i, prompt in enumerate(prompts)]
    file = tmp_path / "ordinary.jsonl"
    file.write_bytes(b"\n".join(lines))
    return str(file)


@pytest.fixture
def lists(tmp_path):
    rules = dict(zip(LISTS, ("coding", "trace", "sweep", "trace", "grade"), strict=True))
    for kind, rule in rules.items():
        lines = [json.dumps(f"{prompt} {i}") for i, prompt in enumerate(said([rule], LEAST))]
        (tmp_path / f"{kind}.jsonl").write_text("\n".join(lines))
    return [str(tmp_path / f"{kind}.jsonl") for kind in LISTS]


def test_a_model_of_ones_own_traffic_can_be_used_and_says_where_it_is_from(ordinary, tmp_path):
    out = tmp_path / "content.json"
    assert learn([ordinary], [], Settings(), out, source="ours") == (10 * LEAST, 0)
    assert json.loads(out.read_bytes())["from"] == "ours"
    model = load_content(out)
    assert model.tag != shipped_content().tag
    assert (model.directions == shipped_content().directions).all()


def test_with_a_list_of_every_kind_all_is_learned(ordinary, lists, tmp_path):
    out = tmp_path / "content.json"
    assert learn([ordinary], lists, Settings(), out, source="") == (10 * LEAST, 5 * LEAST)
    assert (load_content(out).directions != shipped_content().directions).any()


def test_it_holds_no_prompt(ordinary, lists, tmp_path):
    out = tmp_path / "content.json"
    learn([ordinary], lists, Settings(), out, source="")
    document = json.loads(out.read_bytes())
    numbers = {name for name in document if name not in ("from", "shape", "lists")}
    assert not any(isinstance(x, str) for name in numbers for x in flat(document[name]))


def flat(values):
    if isinstance(values, dict):
        values = list(values.values())
    return [y for x in values for y in flat(x)] if isinstance(values, list) else [values]


def test_of_one_key_a_hundred_prompts_count(tmp_path):
    lines = [request("sk-1", float(i), prompt) for i, prompt in enumerate(said(ORDINARY, 300))]
    file = tmp_path / "one.jsonl"
    file.write_bytes(b"\n".join(lines))
    with pytest.raises(InputError, match=f"{OF_A_KEY} different prompts in ordinary traffic"):
        learn([str(file)], [], Settings(), tmp_path / "out.json", source="")


def test_some_lists_alone_are_refused_with_what_is_missing(ordinary, lists, tmp_path):
    with pytest.raises(InputError, match=r"grader\.jsonl"):
        learn([ordinary], lists[:2], Settings(), tmp_path / "out.json", source="")


def test_a_list_of_something_else_is_refused_with_how_to_write_it(ordinary, lists, tmp_path):
    (tmp_path / "code.jsonl").write_text('{"prompt": "Hi"}\n')
    with pytest.raises(InputError, match="one JSON string a line"):
        learn([ordinary], lists, Settings(), tmp_path / "out.json", source="")


def test_a_place_that_cannot_be_written_is_named(ordinary, tmp_path):
    with pytest.raises(InputError, match="--out"):
        learn([ordinary], [], Settings(), tmp_path / "none" / "out.json", source="")
