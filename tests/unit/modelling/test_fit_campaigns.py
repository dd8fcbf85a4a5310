"""Weights of campaign criteria follow the labelled groups, within bounds."""

import numpy as np
import pytest

from monitor.campaigns import criteria
from monitor.campaigns.criteria import CRITERIA, MAX_NATS
from pipelines.modelling.fit_campaigns import Sample, fit_weights

SEPARATING = ("births", "uneven", "repeats")  # traits that differ between the sides


def samples(seed, groups=40, rounds=5):
    """Fleets and other groups that differ in a few traits."""
    random = np.random.default_rng(seed)
    out = []
    for group in range(groups):
        fleet = group % 2 == 0
        for _ in range(rounds):
            places = {each.evidence: random.uniform() for each in CRITERIA}
            for name in SEPARATING:
                places[name] = random.beta(4, 1) if fleet else random.beta(1, 4)
            evidence = {each.evidence: each.value(places[each.evidence]) for each in CRITERIA}
            out.append(Sample(f"day {group}", fleet, evidence))
    return out


@pytest.fixture(scope="module")
def weights():
    return fit_weights(samples(1))


def test_fit_separates_groups_it_has_not_seen(weights):
    right = [
        (criteria.log_odds(criteria.apply(each.evidence, weights), weights) > 0.0)
        == each.is_campaign
        for each in samples(2)
    ]
    assert np.mean(right) > 0.9


def test_traits_that_differ_weigh_most(weights):
    names = {each.id: each.evidence for each in CRITERIA}
    heaviest = sorted(weights.criteria, key=lambda id_: -weights.criteria[id_].weight)
    assert {names[id_] for id_ in heaviest[: len(SEPARATING)]} == set(SEPARATING)


def test_weights_are_bounded(weights):
    for each in weights.criteria.values():
        assert 0.0 <= each.weight * max(each.neutral, 1.0 - each.neutral) <= MAX_NATS + 0.01


def test_repeated_rounds_of_one_group_change_little(weights):
    first = samples(1)
    again = fit_weights([*first, *first[:5] * 20])
    for id_, each in weights.criteria.items():
        assert again.criteria[id_].weight == pytest.approx(each.weight, abs=0.3)
