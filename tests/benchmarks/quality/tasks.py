"""Rebuild the shipped task model.

    python -m tests.benchmarks.quality.tasks TRAFFIC_CORPORA.json.gz FIELD_CORPORA.json.gz OUT.json

Tasks are the prompt lists of both corpora, data is what their applications send. Left out are chats
and homework, which are tasks that people follow up on, and lists that applications send as well:
of a passage with a question, and the reasoning tasks of TRAFFIC, which come from its templates.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.records.harvest.task_model import TaskModel, write_tasks
from pipelines.modelling.fit_tasks import fit_tasks

OUT = Path("monitor/records/harvest/tasks.json")
MOST = 1_500  # prompts of a source
_NEITHER = ("school", "personas", "wild", "chat")  # tasks of people, who follow up
_PASSAGES = "xquad"

Sources = dict[str, list[str]]


def sources(
    traffic: Path, field: Path, without: frozenset[str] = frozenset()
) -> tuple[Sources, Sources]:
    """The prompts of tasks and of data by source, without some sources."""
    tasks: Sources = {}
    data: Sources = {}
    of_traffic = _load(traffic)
    tasks["instruct"] = of_traffic["instruct"]
    data |= {f"template-{name}": prompts for name, prompts in of_traffic["templates"].items()}
    for name, source in _load(field)["sources"].items():
        if source["kind"] == "attack" and not name.startswith(_PASSAGES):
            tasks[name] = source["prompts"]
        elif source["kind"] == "benign" and not name.startswith(_NEITHER):
            data[name] = source["prompts"]
    return tuple(  # type: ignore[return-value]
        {name: prompts[:MOST] for name, prompts in each.items() if prompts and name not in without}
        for each in (tasks, data)
    )


def fit(traffic: Path, field: Path, without: frozenset[str] = frozenset()) -> TaskModel:
    """A task model of both corpora without some sources."""
    return fit_tasks(*sources(traffic, field, without))


def main(
    traffic: Annotated[Path, typer.Argument(help="See `corpora.py`.")],
    field: Annotated[Path, typer.Argument(help="Corpora of the field days.")],
    out: Annotated[Path, typer.Argument(help="The model.")] = OUT,
) -> None:
    model = fit(traffic, field)
    out.write_bytes(write_tasks(model, **{"from": f"{traffic.name}, {field.name}"}))


def _load(file: Path) -> dict[str, Any]:
    with gzip.open(file, "rt", encoding="utf-8") as opened:
        return json.load(opened)


if __name__ == "__main__":
    typer.run(main)
