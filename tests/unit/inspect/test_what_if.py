import re

import numpy as np
import pytest

from monitor.config import Detection
from monitor.detectors import JUDGES, Burst, Elicitation
from monitor.records.baseline import Baseline, shipped_reference
from monitor.records.profile import ELICITATION, RECORD, REQUESTS, TOKENS, Profile
from pipelines.inspect.what_if import differences, one_in


@pytest.fixture(scope="module")
def baseline():
    return Baseline(shipped_reference())


def busy(requests):
    """A key with so many requests within the last hour."""
    record = np.zeros(1, RECORD)
    record["level"][0, REQUESTS][2:] = np.log2(1 + requests)
    return record


def asking(matches, nats):
    record = np.zeros(1, RECORD)
    record["prompts"] = record["sketched"] = record["requests"] = matches
    record["matches"][0, 0] = matches
    record["level"][0, ELICITATION.start] = nats / 2
    return record


def probability(detector, record, baseline):
    return float(detector(Profile(record), baseline).p[0])


def test_the_volume_that_is_named_crosses_the_threshold_and_a_little_less_does_not(baseline):
    settings, record = Detection(info=0.01), busy(100)
    assert probability(Burst(), record, baseline) > settings.info
    (said,) = differences(Burst(), record, baseline, settings)
    factor = float(re.search(r"From 1 in 100 it would be info: with ([\d.]+) times", said)[1])
    assert probability(Burst(), busy(100 * factor * 1.05), baseline) <= settings.info
    assert probability(Burst(), busy(100 * factor * 0.9), baseline) > settings.info


def test_an_accused_key_hears_what_less_would_have_spared_it(baseline):
    more, less = differences(Burst(), busy(1e5), baseline, Detection(critical=1e-20))
    assert more.startswith("From under 1 in a billion it would be critical: with ")
    factor = float(re.search(r"Above 1 in 10,000 it would be info: with (0\.\d+) times", less)[1])
    assert probability(Burst(), busy(1e5 * factor * 0.95), baseline) > 1e-4


def test_prompts_are_counted_where_prompts_decide(baseline):
    (said,) = differences(Elicitation(), asking(2, 3.9), baseline, Detection())
    assert re.search(r"info: .*with \d+ more prompts in a row that ask for the reasoning", said)


def test_what_cannot_make_a_difference_is_not_named(baseline):
    said = " ".join(differences(Burst(), busy(100), baseline, Detection()))
    assert "prompts in a row" not in said
    assert "follow-up" not in said


@pytest.mark.parametrize("detector", JUDGES)
def test_a_record_is_left_as_it_was(detector, baseline):
    record = busy(5_000)
    record["level"][0, TOKENS] = 20
    before = record.copy()
    differences(detector, record, baseline, Detection())
    assert record.tobytes() == before.tobytes()


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (1.0, "1 in 1"),
        (0.3, "1 in 3.3"),
        (1 / 3200, "1 in 3,200"),
        (1e-7, "1 in 10 million"),
        (0.0, "under 1 in a billion"),
    ],
)
def test_probabilities_have_words(p, words):
    assert one_in(p) == words
