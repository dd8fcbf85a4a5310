"""A partition of fingerprints with a campaign among ordinary keys, made by hand."""

from __future__ import annotations

import numpy as np

from monitor.campaigns.campaign import Campaign, TimelineEntry
from monitor.campaigns.fingerprint import (
    FINGERPRINT,
    FINGERPRINT_VERSION,
    IDENTIFIERS,
    Fingerprints,
)
from monitor.config import Settings
from monitor.linker import LinkPartition
from monitor.prompts.projection import CONTENT
from monitor.records.profile import HOUR, LONG
from monitor.records.stream_clock import StreamClock
from monitor.sketches import hyperloglog
from monitor.store.base import Checkpoint, Store
from tests.support.requests import START

NAME = "extraction.fingerprints:0"
FLEET = [f"k_fleet{i:02}" for i in range(12)]
ORDINARY = [f"k_ordinary{i:02}" for i in range(40)]
NEIGHBOUR = ORDINARY[0]  # has the payment of a part of the fleet
PAYMENT, SYSTEM = 77_777_777, 9  # hashes, as in fingerprints
NOW = START + 6 * HOUR
FOUND, OPENED = START + HOUR, START + 2 * HOUR


def partition(settings: Settings | None = None) -> LinkPartition:
    """A partition with an open campaign, a merged one, and a group that is no campaign."""
    found = LinkPartition(NAME, 0, settings or Settings())
    random = np.random.default_rng(5)
    direction = random.standard_normal(CONTENT)
    for i, key in enumerate(FLEET):
        payment = PAYMENT if i < 6 else 500 + i
        mean = 900.0 * direction + 150.0 * random.standard_normal(CONTENT)
        row = fingerprint(mean, 60, payment=payment, system=SYSTEM)
        row["severity"] = 3 if i else 0
        found.population.update(row, [key])
    for i, key in enumerate(ORDINARY):
        payment = PAYMENT if key == NEIGHBOUR else 1_000 + i
        mean = 150.0 * random.standard_normal(CONTENT)
        row = fingerprint(mean, 10 + i, payment=payment, system=100 + i)
        found.population.update(row, [key])
    found.clock = StreamClock(NOW)
    found.rounds.campaigns = [_open(), _merged(), _none()]
    return found


def save(store: Store, known: LinkPartition) -> None:
    """Write a partition to a store, as a worker's checkpoint does."""
    rows = known.population.snapshot()
    store.commit(Checkpoint(partitions={NAME: known.snapshot()}, rows={NAME: rows}))


def fingerprint(mean: np.ndarray, requests: int, payment: int, system: int) -> Fingerprints:
    """The fingerprint of a key, `(1,)`; `mean` is `(CONTENT,)`, scaled as in records."""
    out = np.zeros(1, FINGERPRINT)
    out["version"], out["requests"], out["sketch_prompts"] = FINGERPRINT_VERSION, requests, requests
    out["ts"], out["first_seen"], out["tokens"] = NOW, START, 100 * requests
    out["content"] = mean.clip(-30_000, 30_000)
    out["surprisal"] = out["prompt_surprisal"] = 5.0
    out["long_head"] = NOW // HOUR
    hours = (NOW // HOUR - np.arange(1, 7)).astype(int)  # the current hour is empty
    out["long_requests"][0, hours % LONG.panes] = requests // 6
    random = np.random.default_rng(payment)
    for hashed in random.integers(1, 2**63, requests, dtype=np.uint64):
        for row in out["distinct"][0]:
            hyperloglog.add(row, hashed)
    out["ids"][0, IDENTIFIERS.index("payment")] = payment
    out["ids"][0, IDENTIFIERS.index("system")] = system
    return out


def _open() -> Campaign:
    evidence = {"deviation": 2.5, "probability": 1e-12, "accused_share": 11 / 12}
    return Campaign(
        "c_fleet",
        FOUND,
        {key: 0.99 - 0.05 * (key == FLEET[-1]) for key in FLEET},
        opened=OPENED,
        confirmed=NOW,
        severity="critical",
        named={key: OPENED + HOUR * (key == FLEET[-1]) for key in FLEET},
        bystanders=[NEIGHBOUR],
        evidence=evidence,
        reason="most members also triggered their own alerts",
        timeline=[TimelineEntry(OPENED, "born", 11), TimelineEntry(OPENED + HOUR, "grown", 12)],
    )


def _merged() -> Campaign:
    return Campaign(
        "c_gone",
        FOUND,
        {},
        severity="warning",
        named=dict.fromkeys(ORDINARY[30:36], OPENED),
        reason="most members also triggered their own alerts",
        timeline=[
            TimelineEntry(OPENED, "born", 6),
            TimelineEntry(OPENED + HOUR, "merged", 6, "c_fleet"),
        ],
        ended=OPENED + HOUR,
    )


def _none() -> Campaign:
    return Campaign("c_class", FOUND, dict.fromkeys(ORDINARY[10:18], 0.97))
