from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from monitor.batch import Batch
from monitor.config import Settings
from monitor.detectors import JUDGES
from monitor.engine import Engine
from monitor.errors import InputError
from monitor.identity import Identity
from monitor.records.profile import RECORD
from monitor.store.memory import MemoryStore
from pipelines.inspect.key import LEAST, ordinary
from pipelines.inspect.key_source import KeyTrace
from pipelines.show.key import show
from tests.support.requests import START, elicitor, in_order, person

PERSONS = [f"sk-{i}" for i in range(LEAST + 5)]


def told(key, *streams, settings=None):
    """What a replay of some streams tells of a key."""
    settings = settings or Settings()
    store, trace = MemoryStore(), KeyTrace(key)
    engine = Engine(settings, Identity(b"0123456789abcdef", plain=True), store, on_evaluation=trace)
    engine.assign("t:0")
    values = in_order(*streams)
    trace.hear(engine.observe(Batch("t:0", range(len(values)), values)))
    return trace.tell(engine, store, settings)


@pytest.fixture(scope="module")
def explanation():
    persons = (person(key, count=30 + i, every=2_700 / (30 + i)) for i, key in enumerate(PERSONS))
    return told("sk-cot", elicitor(), *persons)


def page(explanation, width):
    out = StringIO()
    show(explanation, Console(file=out, width=width))
    return out.getvalue()


def word(explanation, kind):
    return next(word for word in explanation.detectors if word.kind == kind)


def test_every_detector_has_a_word(explanation):
    assert [word.kind for word in explanation.detectors] == [detector.name for detector in JUDGES]


def test_a_replay_shows_a_detector_at_its_most_improbable(explanation):
    found = word(explanation, "elicitation")
    assert found.probability < 1e-7
    assert START < found.at <= explanation.activity.last_seen
    assert found.severity == "critical"


def test_what_was_said_is_told_in_order(explanation):
    assert [alert.subject.id for alert in explanation.alerts[:1]] == ["sk-cot"]
    times = [alert.detected_at for alert in explanation.alerts]
    assert times == sorted(times)


def test_a_decision_counts_while_it_holds(explanation):
    assert (explanation.decision, explanation.shadow) == ("block", True)
    assert explanation.until > explanation.activity.last_seen
    assert told("sk-cot", elicitor(), person("sk-1", 400)).decision == "observe"


def test_every_number_stands_beside_rising_quantiles(explanation):
    facts = [fact for word in explanation.detectors for fact in word.facts]
    for fact in facts + explanation.activity.facts:
        known = [value for value in fact.ordinary if value is not None]
        assert known == sorted(known)
        assert len(known) >= 3 or fact.name not in ("self-similarity", "deviation", "prompts")


def test_others_that_are_few_or_accused_tell_nothing(explanation):
    alone = told("sk-cot", elicitor(), person("sk-1"))
    assert all(value is None for value in alone.activity.facts[0].ordinary)
    accused = np.zeros(1, RECORD)
    accused["requests"], accused["severity"][0, 0] = 100, 2
    assert len(ordinary(accused)) == 0


def test_requests_by_hour_end_with_the_last_hour(explanation):
    assert sum(explanation.activity.by_hour) == explanation.activity.requests
    assert explanation.activity.by_hour[-1]
    assert sum(explanation.activity.rhythm) == explanation.activity.requests


def test_a_key_of_three_requests_is_explained(explanation):
    few = told("sk-1", person("sk-1", 3))
    assert (few.activity.requests, few.decision, few.alerts) == (3, "observe", [])
    assert "gateways let it pass" in page(few, 80)


def test_a_key_that_is_not_there_is_one_sentence():
    with pytest.raises(InputError, match=r"sk-2 is in none of these requests: name .*\.$"):
        told("sk-2", person("sk-1"))


@pytest.mark.parametrize("width", [80, 140])
def test_a_page_fits_the_terminal(explanation, width):
    lines = page(explanation, width).splitlines()
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)


def test_a_page_says_what_matters(explanation):
    text = " ".join(page(explanation, 80).split())
    for claim in (
        "block until",
        "XM_DECISIONS__SHADOW",
        "elicitation critical since",
        "100% of 24 prompts ask for the reasoning trace.",
        "under 1 in a billion for an ordinary key",
        "it would be a warning: with",
        "different prompts",
        "self-similarity",
        "requests per hour",
    ):
        assert claim in text


def test_a_decision_that_is_enforced_is_not_called_a_shadow():
    settings = Settings(decisions={"shadow": False})
    found = told("sk-cot", elicitor(), settings=settings)
    assert ", enforced" in page(found, 80)
