"""Simulated ordinary traffic, of which nobody is to be accused."""

from __future__ import annotations

import msgspec
import pytest

from monitor.config import Settings
from pipelines.modelling import evaluate
from pipelines.simulation.scenario import Scenario, Simulation
from pipelines.traffic.labels import Label


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nobody_ordinary_is_accused(seed, tmp_path):
    simulation = Simulation(Scenario(seed=seed, hours=2.5, attacks=False))
    file = tmp_path / "day.jsonl"
    file.write_bytes(b"\n".join(map(msgspec.json.encode, simulation.events())))
    labels = {key: Label(each.kind) for key, each in simulation.labels.items()}
    settings = Settings(identity_secret="known to this test only")
    report = evaluate.build_report(evaluate.replay_labelled(str(file), labels, settings), settings)
    assert report.scores[-1].false_keys == dict.fromkeys((*kinds(labels), "all"), 0)


def kinds(labels: dict[str, Label]) -> list[str]:
    return [label.kind for label in labels.values() if label.kind not in evaluate.EXCLUDED_CLASSES]
