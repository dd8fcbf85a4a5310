"""Origins: from which networks and with which clients a key is used.

A record lists the key's usual networks and clients, each a space-saving list of three. A request
from neither a usual network nor a usual client begins a move. While a move lasts, at most a day,
requests from such origins are counted apart and do not become usual. Then they do: the customer has
moved. A stolen or resold key shows as a move together with other work (`work_change`): the
distance between the key's recent prompts and its older ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.jit import jit
from monitor.prompts.projection import CONTENT, SCALE
from monitor.records.profile import HALF_LIVES, ORIGINS
from monitor.sketches import habits, kernel_mean

MOVE_HOURS = 24.0
PAST = 20.0  # requests, decayed, from usual origins before a move can be seen
MIN_PROMPTS = 64  # before a change of work can be measured
_NEARLY_ALL = np.float32(0.9)  # share of recent requests from the usual network, at least
_MAX_COUNT = 65_535
_DECAY = kernel_mean.decay(256.0)  # per request
_RECENT, _OLDER = (kernel_mean.decay(half_life) for half_life in HALF_LIVES)


@jit
def update_origins(r: Any, t: float, network: int, client: int) -> None:
    """Count a request by its origin.

    Args:
        r: RECORD, updated in place.
        t: event time, epoch seconds.
        network, client: uint32 hashes, 0 if unknown.
    """
    if network == 0 and client == 0:
        return
    moving = r["moved_since"] > 0
    past = min(r["network_counts"].sum(), r["client_counts"].sum())
    usual = is_usual(r["networks"], network) or is_usual(r["clients"], client)
    if moving and t - r["moved_since"] > MOVE_HOURS * 3600.0:
        r["moved_since"], r["moved_requests"], r["unmoved_requests"] = 0, 0, 0
    elif not usual and (moving or past >= PAST):
        r["moved_since"] = r["moved_since"] if moving else np.uint32(t)
        r["moved_requests"] = min(r["moved_requests"] + 1, _MAX_COUNT)
        return
    if r["moved_since"] > 0:
        r["unmoved_requests"] = min(r["unmoved_requests"] + 1, _MAX_COUNT)
    habits.add_name(r["networks"], r["network_counts"], network, _DECAY)
    habits.add_name(r["clients"], r["client_counts"], client, _DECAY)


@jit
def is_usual(names: Any, name: int) -> bool:
    """Whether a uint32 hash is in `(ORIGINS,) uint32`; an unknown one counts as usual."""
    found = name == 0
    for i in range(ORIGINS):
        found |= names[i] == name
    return bool(found)


@jit
def from_usual_network(records: Any, networks: Any) -> Any:
    """Whether nearly all recent requests of keys came from a network.

    Args:
        records: `(n,) RECORD`.
        networks: `(n,) uint64`, hash of the network for each; 0 is no network.

    Returns:
        `(n,) bool`.
    """
    usual = np.zeros(len(records), np.bool_)
    for i in range(len(records)):
        names, counts = records[i]["networks"], records[i]["network_counts"]
        same, total = np.float32(0.0), np.float32(0.0)
        for j in range(ORIGINS):
            total += counts[j]
            if names[j] == max(networks[i] >> np.uint64(32), np.uint64(1)):
                same += counts[j]
        usual[i] = networks[i] != 0 and same > 0 and same >= _NEARLY_ALL * total
    return usual


@jit
def work_change(r: Any) -> float:
    """Level of the change of work: log2 of 1 plus the squared distance between the content means
    of both half-lives, relative to that of ordinary prompts in random order.

    Args:
        r: RECORD.
    """
    n = r["sketch_prompts"]
    if n < MIN_PROMPTS:
        return 0.0
    recent, older = (1.0 - _RECENT**n) / (1.0 - _RECENT), (1.0 - _OLDER**n) / (1.0 - _OLDER)
    variance = (
        (1.0 - _RECENT ** (2 * n)) / (1.0 - _RECENT**2) / recent**2
        + (1.0 - _OLDER ** (2 * n)) / (1.0 - _OLDER**2) / older**2
        - 2.0 * (1.0 - (_RECENT * _OLDER) ** n) / (1.0 - _RECENT * _OLDER) / (recent * older)
    )
    content, distance = r["content"], 0.0
    for i in range(CONTENT):
        part = (float(content[0, i]) - float(content[1, i])) / (SCALE * kernel_mean.STEPS)
        distance += part * part
    return float(np.log2(1.0 + distance / (CONTENT * variance)))
