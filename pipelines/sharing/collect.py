"""What of a campaign may leave: the identifiers that its members share, as salted hashes.

An identifier leaves only if at least three members have it and few other keys do. One that many
other keys have, such as the network of a provider or a popular system prompt, would accuse the
customers of partners, and one that a single key has would describe one customer. How many other
keys have a template is not known, so at least half of the members must have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from monitor.campaigns.campaign import Campaign
from monitor.campaigns.fingerprint import IDENTIFIERS
from monitor.errors import InputError
from monitor.linker import LinkPartition
from monitor.sharing.indicator import IN_FINGERPRINTS, Kind
from monitor.store.indicators import IndicatorStore
from pipelines.inspect.campaigns import state_of

LEAST_KEYS = 3  # members with an identifier that leaves
_TEMPLATE_SHARE = 0.5  # of all members, for a template
_OTHERS = 0.25  # of the members with it: other keys that may have it, at most


class Leaving(NamedTuple):
    """An identifier that leaves.

    Attributes:
        value: its hash under the salt.
        keys, others: members and other keys that have it. Others are unknown for a template.
    """

    kind: Kind
    value: str
    keys: int
    others: int
    first_seen: float
    last_seen: float


class Extent(NamedTuple):
    """How large a campaign is. Times are event time, epoch seconds."""

    keys: int
    requests: int
    confidence: float
    first_seen: float
    last_seen: float


def extent(partition: LinkPartition, campaign: Campaign) -> Extent:
    """The size of a campaign.

    Raises:
        InputError: if it is none, or the linker no longer has its members.
    """
    if state_of(campaign) == "none":
        raise InputError(f"{campaign.id} is a group of keys, no campaign: it cannot be shared.")
    rows = partition.population.rows_of(campaign.named)
    if not len(rows):
        raise InputError(
            f"The members of {campaign.id} are no longer in Redis: share a campaign while it runs."
        )
    fingerprints = partition.population.rows["fingerprint"][rows]
    return Extent(
        len(campaign.named),
        int(fingerprints["requests"].sum()),
        float(campaign.evidence.get("confidence", 0.5)),
        float(fingerprints["first_seen"].min()),
        float(fingerprints["ts"].max()),
    )


def leaving(
    partition: LinkPartition, campaign: Campaign, store: IndicatorStore, now: float
) -> list[Leaving]:
    """The identifiers of a campaign that leave, those that most members have first.

    Args:
        now: wall-clock time, epoch seconds.
    """
    found = [
        *_identifiers(partition, campaign, store, now),
        *_templates(partition, campaign, store),
    ]
    return sorted(found, key=lambda each: (-each.keys, each.kind, each.value))


def _identifiers(
    partition: LinkPartition, campaign: Campaign, store: IndicatorStore, now: float
) -> Iterator[Leaving]:
    """Those whose hashes are in fingerprints."""
    population = partition.population
    members = population.rows_of(campaign.named)
    fingerprints, identifiers = population.rows["fingerprint"], population.rows["identifiers"]
    for kind, name in IN_FINGERPRINTS.items():
        column = IDENTIFIERS.index(name)
        inside = Counter[int]()
        for row in identifiers[members, column].tolist():
            inside.update({each for each in row if each})
        chosen = [own for own, keys in inside.items() if keys >= LEAST_KEYS]
        if not chosen:
            continue
        shared = store.shared_of(kind, chosen, now)
        for own, value in shared.items():
            having = np.flatnonzero((identifiers[:, column] == own).any(axis=1))
            keys, others = inside[own], len(having) - inside[own]
            if others <= _OTHERS * keys:
                rows = fingerprints[np.intersect1d(having, members)]
                times = float(rows["first_seen"].min()), float(rows["ts"].max())
                yield Leaving(kind, value, keys, others, *times)


def _templates(
    partition: LinkPartition, campaign: Campaign, store: IndicatorStore
) -> Iterator[Leaving]:
    """Templates of prompts, which fingerprints do not have."""
    templates = store.templates_of(campaign.named)
    keys_of: dict[str, list[str]] = {}
    for key, values in templates.items():
        for value in values:
            keys_of.setdefault(value, []).append(key)
    fingerprints = partition.population.rows["fingerprint"]
    for value, keys in keys_of.items():
        rows = fingerprints[partition.population.rows_of(keys)]
        if len(rows) >= max(LEAST_KEYS, _TEMPLATE_SHARE * len(campaign.named)):
            times = float(rows["first_seen"].min()), float(rows["ts"].max())
            yield Leaving("template", value, len(keys), 0, *times)
