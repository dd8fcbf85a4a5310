"""Simulated ordinary traffic does not flag any key."""

from __future__ import annotations

import pytest

from pipelines.modelling.evaluate import EXCLUDED_CLASSES
from pipelines.simulation.scenario import Scenario, Simulation
from tests.support.evaluation import evaluate_events


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_ordinary_key_is_flagged(seed, tmp_path):
    simulation = Simulation(Scenario(seed=seed, hours=2.5, attacks=False))
    report = evaluate_events(simulation.events(), simulation.labels, tmp_path)
    kinds = {label.kind for label in simulation.labels.values()} - EXCLUDED_CLASSES
    assert report.scores[-1].false_keys == dict.fromkeys((*kinds, "all"), 0)
