import re

import numpy as np
import pytest

from monitor.config import Detection
from monitor.detectors import ALL_DETECTORS, Burst, Elicitation
from monitor.records.baseline import Baseline, shipped_reference
from monitor.records.profile import DAY, ELICITATION, RECORD, REQUESTS, TOKENS, Profile
from pipelines.inspect.what_if import counterfactuals, one_in


@pytest.fixture(scope="module")
def baseline():
    return Baseline(shipped_reference())


def busy(requests):
    """A key of a quiet month with this number of requests in the last hour."""
    record = np.zeros(1, RECORD)
    record["last_seen"], record["own_hours"] = 30 * DAY, 100
    record["level"][0, REQUESTS][2:] = np.log2(1 + requests)
    return record


def asking(matches, nats):
    record = np.zeros(1, RECORD)
    record["prompts"] = record["sketch_prompts"] = record["requests"] = matches
    record["matches"][0, 0] = matches
    record["level"][0, ELICITATION.start] = nats / 2
    return record


def probability(detector, record, baseline):
    return float(detector(Profile(record), baseline).p[0])


def test_smallest_volume_crosses_threshold(baseline):
    settings, record = Detection(info=0.01), busy(100)
    assert probability(Burst(), record, baseline) > settings.info
    (sentence,) = counterfactuals(Burst(), record, baseline, settings)
    factor = float(
        re.search(r"It would be info \(from 1 in 100\) with ([\d.]+) times", sentence)[1]
    )
    assert probability(Burst(), busy(100 * factor * 1.05), baseline) <= settings.info
    assert probability(Burst(), busy(100 * factor * 0.9), baseline) > settings.info


def test_flagged_key_has_changes_both_ways(baseline):
    more, less = counterfactuals(Burst(), busy(1e5), baseline, Detection(critical=1e-12))
    assert more.startswith("It would be critical (from under 1 in a billion) with ")
    pattern = r"It would be only info \(above 1 in 10,000\) with ([\d.]+)% of the requests"
    factor = float(re.search(pattern, less)[1]) / 100
    assert probability(Burst(), busy(1e5 * factor * 0.95), baseline) > 1e-4


def test_elicitation_counts_further_prompts(baseline):
    (sentence,) = counterfactuals(Elicitation(), asking(2, 3.9), baseline, Detection())
    assert re.search(r"info .* with .*\d+ more prompts? that ask for the reasoning", sentence)


def test_changes_without_effect_are_left_out(baseline):
    text = " ".join(counterfactuals(Burst(), busy(100), baseline, Detection()))
    assert "more prompt" not in text
    assert "follow-up" not in text


@pytest.mark.parametrize("detector", ALL_DETECTORS)
def test_record_stays_unchanged(detector, baseline):
    record = busy(5_000)
    record["level"][0, TOKENS] = 20
    before = record.copy()
    counterfactuals(detector, record, baseline, Detection())
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
def test_one_in_words(p, words):
    assert one_in(p) == words
