"""Evaluate the detectors on labelled events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from monitor.config import Settings
from pipelines.modelling.evaluate import EvaluationReport, build_report
from pipelines.modelling.labelled_replay import replay_labelled
from pipelines.simulation.users import Event
from pipelines.traffic.labels import Label


def evaluate_events(
    events: Iterable[Event], labels: Mapping[str, Label], folder: Path
) -> EvaluationReport:
    """Replay events in time order; `folder` receives their file."""
    file = folder / "traffic.jsonl"
    ordered = sorted(events, key=lambda event: event["ts"])
    file.write_bytes(b"\n".join(map(msgspec.json.encode, ordered)))
    settings = Settings(identity_secret="known to this test only")
    return build_report(replay_labelled(str(file), labels, settings), settings)
