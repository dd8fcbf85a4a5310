"""A partition of fingerprints with a campaign in it, made by hand: a fleet among other people."""

from __future__ import annotations

import numpy as np

from monitor.campaigns.campaign import Campaign, TimelineEntry
from monitor.campaigns.fingerprint import FINGERPRINT, IDENTIFIERS
from monitor.config import Settings
from monitor.linker import LinkPartition
from monitor.prompts.projection import CONTENT
from monitor.records.profile import HOUR, LONG
from monitor.store.base import Checkpoint, Store
from tests.support.requests import START

NAME = "extraction.fingerprints:0"
FLEET = [f"k_fleet{i:02}" for i in range(12)]
PEOPLE = [f"k_person{i:02}" for i in range(40)]
NEIGHBOUR = PEOPLE[0]  # pays as a part of the fleet does
PAYMENT = 77_777_777  # hashes as fingerprints hold them
NOW = START + 6 * HOUR
FOUND, BORN = START + HOUR, START + 2 * HOUR


def shard(settings: Settings | None = None) -> LinkPartition:
    """A partition that knows a campaign, one that is over, and a group that is none."""
    found = LinkPartition(NAME, 0, settings or Settings())
    random = np.random.default_rng(5)
    way = random.standard_normal(CONTENT)
    for i, key in enumerate(FLEET):
        paid = PAYMENT if i < 6 else 500 + i
        said = _said(900.0 * way + 150.0 * random.standard_normal(CONTENT), 60, paid=paid, system=9)
        said["severity"] = 3 if i else 0
        found.population.take(said, [key])
    for i, key in enumerate(PEOPLE):
        paid = PAYMENT if key == NEIGHBOUR else 1_000 + i
        said = _said(150.0 * random.standard_normal(CONTENT), 10 + i, paid=paid, system=100 + i)
        found.population.take(said, [key])
    found.watermark = NOW
    found.rounds.campaigns = [_open(), _over(), _none()]
    return found


def keep(store: Store, known: LinkPartition) -> None:
    """Have a store hold a partition, as a worker's checkpoint leaves it."""
    store.commit(Checkpoint(partitions={NAME: known.dump()}, rows={NAME: known.population.dump()}))


def _said(content: np.ndarray, requests: int, paid: int, system: int) -> np.ndarray:
    said = np.zeros(1, FINGERPRINT)
    said["version"], said["requests"], said["sketched"] = 1, requests, requests
    said["ts"], said["first_seen"], said["tokens"] = NOW, START, 100 * requests
    said["content"] = content.clip(-30_000, 30_000)
    said["nats"] = 5.0
    said["long_head"] = NOW // HOUR
    hours = (NOW // HOUR - np.arange(1, 7)).astype(int)  # the one that has begun is empty
    said["long_requests"][0, hours % LONG.panes] = requests // 6
    said["ids"][0, IDENTIFIERS.index("payment")] = paid
    said["ids"][0, IDENTIFIERS.index("system")] = system
    return said


def _open() -> Campaign:
    evidence = {"deviation": 2.5, "probability": 1e-12, "accused_share": 11 / 12}
    return Campaign(
        "c_fleet",
        FOUND,
        {key: 0.99 - 0.05 * (key == FLEET[-1]) for key in FLEET},
        opened=BORN,
        upheld=NOW,
        severity="critical",
        named={key: BORN + HOUR * (key == FLEET[-1]) for key in FLEET},
        bystanders=[NEIGHBOUR],
        evidence=evidence,
        reason="most are accused by themselves",
        timeline=[TimelineEntry(BORN, "born", 11), TimelineEntry(BORN + HOUR, "grown", 12)],
    )


def _over() -> Campaign:
    return Campaign(
        "c_gone",
        FOUND,
        {},
        severity="warning",
        named=dict.fromkeys(PEOPLE[30:36], BORN),
        reason="most are accused by themselves",
        timeline=[
            TimelineEntry(BORN, "born", 6),
            TimelineEntry(BORN + HOUR, "merged", 6, "c_fleet"),
        ],
        ended=BORN + HOUR,
    )


def _none() -> Campaign:
    return Campaign("c_class", FOUND, dict.fromkeys(PEOPLE[10:18], 0.97))
