"""What lists of partners do: fleets that they help to find, and honest keys that they cannot frame.

    python -m tests.benchmarks.quality.imports [--runs 30]

Crowds are made-up fingerprints (`tests/support/crowd.py`). Lists hold networks, with a confidence
of 100 and full weight. Three partners collude to frame. Similar groups are those that the tests of
rounds know to be no campaign, such as a class with one assignment.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from monitor.batch import Batch
from monitor.campaigns.fingerprint import IDENTIFIERS
from monitor.campaigns.imported import MOST_NATS_OF_SOURCE, Import
from monitor.config import Settings
from monitor.linker import Linker
from monitor.store.memory import MemoryStore
from tests.benchmarks.speed.measure import print_table
from tests.support.crowd import MIDNIGHT, Crowd, fleet, population
from tests.unit.campaigns import test_rounds

_PARTNERS = 3
_DAY = 86_400.0


def named(imports: Sequence[Import], *crowds: Crowd) -> set[str]:
    """All keys that any alert lists."""
    linker = Linker(Settings(), MemoryStore())
    linker.assign(test_rounds.TOPIC)
    linker.use_imports(imports)
    messages = test_rounds.stream(*crowds)
    out = linker.observe(Batch(test_rounds.TOPIC, range(len(messages)), messages))
    return {key for alert in out.alerts for key in alert.subject.members}


def networks_of(crowd: Crowd) -> np.ndarray[Any, Any]:
    return np.unique(crowd.fingerprints()["ids"][:, IDENTIFIERS.index("network")])


def listed(networks: Sequence[int], partners: int = 1) -> list[Import]:
    return [
        Import(
            *(f"indicator--{own}", "network", f"{own:032x}", f"identity--{partner}", "", "C7"),
            *(MOST_NATS_OF_SOURCE, MIDNIGHT, MIDNIGHT + 2 * _DAY, own),
        )
        for own in networks
        for partner in range(partners)
    ]


def power(runs: int) -> list[list[str]]:
    """Fleets of 30 keys that are found, by share of ordinary prompts and of listed networks."""
    rows = []
    for mix in (0.8, 0.85, 0.88, 0.9, 0.92):
        row = [f"{mix:.0%}"]
        for share in (0.0, 0.33, 0.67, 1.0):
            found = honest = 0
            for seed in range(2, 2 + runs):
                hidden = fleet(30, seed=seed, mix=mix, spread=1.0)
                networks = networks_of(hidden)[: round(30 * share)].tolist()
                keys = named(listed(networks), population(600, seed=1000 + seed), hidden)
                found += len(keys & set(hidden.names)) >= 15
                honest += len(keys - set(hidden.names))
            row.append(f"{found} of {runs}" + (f", {honest} honest keys" if honest else ""))
        rows.append(row)
    return rows


def frames(runs: int) -> list[list[str]]:
    """Honest keys that are named if three partners list them, and without any list."""
    rows, bad, names = [], 0, 0
    for seed in range(runs):
        crowd = population(500, seed=100 + seed)
        random = np.random.default_rng(seed)
        some = random.choice(networks_of(crowd), int(random.integers(10, 120)), replace=False)
        keys = named(listed(some.tolist(), _PARTNERS), crowd)
        bad, names = bad + bool(keys), names + len(keys)
    rows.append([f"{runs} populations of 500, 10 to 120 networks listed", "0", f"{names}"])
    for case in _similar():
        crowd = case.values[0]
        networks = networks_of(crowd).tolist()
        everybody = population(400)
        without, framed = (
            named([], everybody, crowd),
            named(listed(networks, _PARTNERS), everybody, crowd),
        )
        rows.append([str(case.id), f"{len(without)}", f"{len(framed)}"])
    return rows


def _similar() -> Sequence[Any]:
    (mark,) = test_rounds.test_similar_groups_are_no_campaign.pytestmark
    return mark.args[1]  # type: ignore[no-any-return]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=30)
    runs = options.parse_args().runs
    print_table(["ordinary prompts", "no list", "1/3 of networks", "2/3", "all"], power(runs))
    print()
    print_table(["honest keys", "named without a list", "with lists of 3 partners"], frames(runs))


if __name__ == "__main__":
    main()
