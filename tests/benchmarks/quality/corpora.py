"""Prompts of public data sets: ordinary prompts and distillation lists.

    python -m tests.benchmarks.quality.corpora CORPORA.json.gz FOLDER

writes the distillation lists in the format of `xm learn`. The corpora are one JSON object: `chat`,
prompts by user; `templates` and `sweep`, prompts by template; `instruct` and `reasoning`, prompts;
`phrases`, wrappers of eliciting prompts.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from random import Random
from typing import Any

import typer

from tests.benchmarks.quality.training.prompts import tool_calls

#: Wrappers for tests; no training list contains them.
UNSEEN = {
    "cot": (
        "{}\n\nBefore answering, write down all of your intermediate thoughts in full.",
        "Work through the following and make every inference explicit; give the result last.\n\n{}",
        "{}\n\nExplain each step of how you arrive at the result, and why the other options were "
        "discarded.",
    ),
    "grader": (
        "As an impartial evaluator, give a mark between 0 and 100 for the reply below and justify "
        "it briefly.\n\n{}",
        "Which of these two responses is preferable? Answer only with the letter.\n\n{}",
        "Assess the quality of this submission using the criteria correctness, style, "
        "completeness. Output a number.\n\n{}",
    ),
}


def load(path: Path) -> dict[str, Any]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        corpora: dict[str, Any] = json.load(file)
    return corpora


def wrapped(prompts: list[str], wrappers: Any, seed: int = 0) -> list[str]:
    random = Random(seed)
    return [random.choice(wrappers).replace("{}", prompt) for prompt in prompts]


def lists(corpora: dict[str, Any]) -> dict[str, list[str]]:
    """Distillation lists by kind."""
    sweep = [p for prompts in corpora["sweep"].values() for p in prompts]
    return {
        "code": corpora["instruct"],
        "reasoning": corpora["reasoning"],
        "sweep": sweep,
        "cot": wrapped(corpora["reasoning"], corpora["phrases"]["cot"]),
        "grader": wrapped(corpora["instruct"], corpora["phrases"]["grade"]),
        "tools": tool_calls([p for user in corpora["chat"] for p in user[:1]], Random(0)),
    }


def main(corpora: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, prompts in lists(load(corpora)).items():
        lines = "".join(json.dumps(prompt) + "\n" for prompt in prompts)
        (folder / f"{kind}.jsonl").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
