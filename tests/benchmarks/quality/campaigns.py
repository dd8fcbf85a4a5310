"""Cost per fingerprint and per round, and time to detection, with up to a million keys.

    python -m tests.benchmarks.quality.campaigns TRAFFIC LABELS --keys 10000 100000 1000000
        [--sharing 3]

The fingerprints of a labelled day's ordinary keys are the templates. Each honest key has one of
them, shifted in time, with noise on its content and its similarity to lists, and with its own
identifiers except for clients, system prompts and models, which ordinary keys share. 2.4% of the
keys belong to five campaigns of different sizes. The members of a campaign are first seen within
30 minutes; their content is halfway between that of an ordinary key and a direction of the campaign
(half of their prompts are ordinary), and their request rate is steady.

Payments and networks are unique, or with `--sharing N` each is that of N keys on average, chosen at
random among all keys, as for offices and resellers: evidence that must not link the keys.

Six hours of fingerprints go through a linker in the order of event time. CPU time is of this
process, separately for fingerprints and for rounds. A campaign is detected when its first alert
opens; the time counts from the median of its members' first requests.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.batch import Batch
from monitor.campaigns.fingerprint import IDENTIFIERS, from_messages, to_messages
from monitor.campaigns.rounds import ROUND
from monitor.config import Campaigns, Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.linker import Linker
from monitor.prompts.projection import CONTENT, LISTS, SCALE
from monitor.records.profile import HOUR, LONG, MIDDLE, MINUTE
from monitor.sketches.kernel_mean import STEPS
from monitor.store.memory import MemoryStore
from pipelines.traffic.files import LineFile
from tests.benchmarks.speed.measure import print_table

_BEGIN = 1_772_409_600.0  # seconds since the epoch
_HOURS = 6.0
_MEMBERS = 0.024  # share of keys in campaigns
_SIZES = (0.5, 0.25, 0.13, 0.08, 0.04)  # of campaigns, relative
_MIX = 0.5  # share of ordinary prompts of a member
_DISTANCE = 4.5  # of its other prompts, in standard deviations
_RATE = 12.0  # requests per hour of a member
_BATCH_SIZE = 4_000  # fingerprints

Fingerprints = npt.NDArray[np.void]
Integers = npt.NDArray[np.int64]


class Result(NamedTuple):
    """The result for one number of keys.

    Attributes:
        observing: CPU-seconds for fingerprints.
        rounds: CPU-seconds of each round.
        memory: bytes per key.
        detected: minutes to detection of each campaign; NaN: not detected.
    """

    keys: int
    fingerprints: int
    observing: float
    rounds: list[float]
    memory: float
    recall: float
    precision: float
    detected: list[float]


def load_templates(traffic: Path, labels: Path) -> Fingerprints:
    """The last fingerprint of each ordinary key of a labelled day."""
    kinds = json.loads(labels.read_text())
    engine = Engine(Settings(), Identity(b"0123456789abcdef", plain=True), MemoryStore())
    offset, values = engine.assign("t:0").offset, list[bytes]()
    with LineFile(str(traffic)) as file:
        for lines in file.batches():
            outcome = engine.observe(Batch("t:0", range(offset, offset + len(lines)), lines))
            values += [fingerprints.value for fingerprints in outcome.fingerprints]
            offset += len(lines)
    fingerprints, keys, _ = from_messages(values)
    last = {key: at for at, key in enumerate(keys) if kinds[key]["campaign"] is None}
    return fingerprints[list(last.values())]


class Crowd:
    """Keys with fingerprints; the last of them are members of campaigns.

    Args:
        ordinary: the templates.
        n: number of keys.
        sharing: keys per payment and per network.

    Attributes:
        campaign: `(n,)`, the campaign of each key, -1 for none.
        first_seen: `(n,)`, seconds since the epoch.
        rate: `(n,)`, requests per hour.
    """

    def __init__(self, ordinary: Fingerprints, n: int, sharing: int = 1) -> None:
        self._rng = rng = np.random.default_rng(n)
        self.campaign = np.full(n, -1)
        members = int(n * _MEMBERS)
        sizes = (np.array(_SIZES) * members).astype(int)
        self.campaign[n - sizes.sum() :] = np.repeat(np.arange(len(sizes)), sizes)
        member = self.campaign >= 0
        self.first_seen = _BEGIN + rng.uniform(0, 0.9 * _HOURS * HOUR, n)
        starts = _BEGIN + HOUR * np.linspace(0.2, 1.8, len(sizes))
        self.first_seen[member] = starts[self.campaign[member]] + rng.uniform(
            0, 30 * MINUTE, member.sum()
        )
        population = ordinary[ordinary["sketch_prompts"] >= 8]
        slow = population[population["requests"] < 200]
        self.fingerprints = population[rng.integers(len(population), size=n)].copy()
        self.fingerprints[member] = slow[rng.integers(len(slow), size=member.sum())]
        axes = rng.standard_normal((len(sizes), CONTENT))
        axes *= _DISTANCE / np.linalg.norm(axes, axis=1)[:, None]
        # Interpolate between two ordinary keys, or there would be only few different ones.
        other = population["content"][rng.integers(len(population), size=n)] / (SCALE * STEPS)
        share = rng.uniform(0.2, 1.0, (n, 1))
        content = share * self.fingerprints["content"] / (SCALE * STEPS) + (1 - share) * other
        content /= np.hypot(share, 1 - share)
        content += (
            rng.normal(0.0, 1.0, content.shape)
            / np.sqrt(self.fingerprints["sketch_prompts"])[:, None]
        )
        content[member] = _MIX * content[member] + (1 - _MIX) * axes[self.campaign[member]]
        self.fingerprints["content"] = np.clip(content * SCALE * STEPS, -32_000, 32_000)
        self.fingerprints["lists"] += np.abs(rng.normal(0.0, 0.1, self.fingerprints["lists"].shape))
        likeness = 2.0 ** rng.uniform(5.0, 9.0, member.sum())
        self.fingerprints["lists"][member, self.campaign[member] % len(LISTS)] = likeness
        for kind in ("payment", "network", "tls_fingerprint"):
            values = rng.integers(1, 2**62, n, dtype=np.uint64)
            if sharing > 1 and kind != "tls_fingerprint":
                values = values[rng.integers(n // sharing, size=n)]
            self.fingerprints["ids"][:, IDENTIFIERS.index(kind)] = values
        surprisal = rng.uniform(2.0, 5.0, member.sum())
        for name in ("surprisal", "prompt_surprisal"):
            self.fingerprints[name][member] = surprisal
        self.fingerprints["severity"] = np.where(rng.random(n) < 1e-3, 2, 0)
        distinct = self.fingerprints["distinct"]
        noise = rng.integers(0, 256, distinct[member].shape, dtype=np.uint8)
        noise &= rng.integers(0, 256, noise.shape, dtype=np.uint8) & 0x33
        distinct[member] = noise
        hours = (self.fingerprints["ts"] - self.fingerprints["first_seen"]) / HOUR
        self.rate = np.maximum(self.fingerprints["requests"] / np.maximum(hours, 1.0), 0.5)
        self.rate[member] = _RATE * rng.lognormal(0.0, 0.1, member.sum())
        self.keys = [f"k_{i:022x}" for i in range(n)]

    def streams(self) -> Iterator[tuple[Fingerprints, list[str]]]:
        """Yield the fingerprints and keys of each minute of event time."""
        due = self.first_seen + 8 / self.rate * HOUR
        for minute in np.arange(_BEGIN, _BEGIN + _HOURS * HOUR, MINUTE):
            which = np.flatnonzero(due < minute + MINUTE)
            which = which[np.argsort(due[which], kind="stable")]
            if len(which):
                yield self._fingerprints(which, due[which]), [self.keys[i] for i in which.tolist()]
            count = np.maximum(
                8.0, 0.125 * self.rate[which] * (due[which] - self.first_seen[which]) / HOUR
            )
            due[which] += np.maximum(count / self.rate[which] * HOUR, 4 * MINUTE)

    def _fingerprints(self, which: Integers, ts: npt.NDArray[np.float64]) -> Fingerprints:
        fingerprints = self.fingerprints[which]
        first_seen, rate, member = (
            self.first_seen[which],
            self.rate[which],
            self.campaign[which] >= 0,
        )
        fingerprints["ts"], fingerprints["first_seen"] = ts, first_seen
        fingerprints["requests"] = np.maximum(8, rate * (ts - first_seen) / HOUR)
        fingerprints["sketch_prompts"] = np.minimum(
            fingerprints["requests"], fingerprints["sketch_prompts"]
        )
        for name, panes, seconds in (("long", LONG, HOUR), ("middle", MIDDLE, 5 * MINUTE)):
            head = np.floor(ts / seconds).astype(np.int64)
            age = np.arange(panes.panes)[None, :]
            begin = (head[:, None] - age) * seconds
            share = np.clip(
                np.minimum(begin + seconds, ts[:, None]) - np.maximum(begin, first_seen[:, None]),
                0,
                seconds,
            )
            # Ordinary keys have sessions, members a steady rate.
            busy = np.where(member[:, None], 1.0, self._rng.gamma(0.5, 2.0, share.shape))
            counts = self._rng.poisson(rate[:, None] * busy * share / HOUR)
            fingerprints[f"{name}_head"] = head
            at = (head[:, None] - age) % panes.panes
            rows = np.zeros_like(counts)
            np.put_along_axis(rows, at, counts, axis=1)
            fingerprints[f"{name}_requests"] = rows
        return fingerprints


def measure(ordinary: Fingerprints, n: int, sharing: int) -> Result:
    """Run the fingerprints of n keys through a linker."""
    crowd = Crowd(ordinary, n, sharing)
    linker = Linker(Settings(campaigns=Campaigns(keys=max(n, 1_000))), MemoryStore())
    partition = linker.assign("f:0")
    observing, rounds, opened, offset = 0.0, list[float](), dict[int, float](), 0
    before = _resident()
    number = {key: i for i, key in enumerate(crowd.keys)}
    for fingerprints, keys in crowd.streams():
        new_round = (
            partition.watermark and fingerprints["ts"][-1] // ROUND > partition.watermark // ROUND
        )
        for start in range(0, len(keys), _BATCH_SIZE):
            part = slice(start, start + _BATCH_SIZE)
            values = to_messages(fingerprints[part], keys[part])
            begun = time.process_time()
            out = linker.observe(Batch("f:0", range(offset, offset + len(values)), values))
            spent = time.process_time() - begun
            offset += len(values)
            if (
                new_round
                and partition.watermark // ROUND * ROUND > fingerprints["ts"][0] - MINUTE
                and start == 0
            ):
                rounds.append(spent)
            else:
                observing += spent
            for alert in out.alerts:
                which = crowd.campaign[[number[key] for key in alert.subject.members]]
                if alert.state == "open" and (which >= 0).any():
                    most = int(np.bincount(which[which >= 0]).argmax())
                    opened.setdefault(most, alert.detected_at)
        checkpoint = linker.snapshot()
        linker.commit(checkpoint)
        linker.published(checkpoint)
    members = {key for c in partition.rounds.campaigns if c.opened for key in c.named}
    correct = sum(crowd.campaign[number[key]] >= 0 for key in members)
    known = [
        i
        for i in np.flatnonzero(crowd.campaign >= 0)
        if partition.population.index(crowd.keys[i]) is not None
    ]
    detected = [
        (opened.get(c, np.nan) - float(np.median(crowd.first_seen[crowd.campaign == c]))) / MINUTE
        for c in range(len(_SIZES))
    ]
    return Result(
        n,
        offset,
        observing,
        rounds,
        (_resident() - before) / n,
        correct / max(len(known), 1),
        correct / max(len(members), 1),
        detected,
    )


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return float(pages * resource.getpagesize())


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("traffic", type=Path)
    options.add_argument("labels", type=Path)
    options.add_argument("--keys", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    options.add_argument("--sharing", type=int, default=1, help="keys per payment and network")
    chosen = options.parse_args()
    ordinary = load_templates(chosen.traffic, chosen.labels)
    rows = []
    for keys in chosen.keys:
        found = measure(ordinary, keys, chosen.sharing)
        rows.append([
            f"{keys:,}",
            f"{found.fingerprints:,}",
            f"{found.fingerprints / found.observing:,.0f}",
            f"{1e6 * (found.observing + sum(found.rounds)) / found.fingerprints:.1f}",
            f"{statistics.median(found.rounds):.2f}",
            f"{max(found.rounds):.2f}",
            f"{found.memory:,.0f}",
            f"{found.recall:.3f}",
            f"{found.precision:.3f}",
            ", ".join(f"{each:.0f}" for each in found.detected),
        ])  # fmt: skip
        print_table(
            ["keys", "fingerprints", "fingerprints/s", "CPU, µs each, with rounds",
             "round, s: median", "max", "memory per key, bytes", "recall", "precision",
             "minutes to detection of each campaign"],
            rows,
        )  # fmt: skip


if __name__ == "__main__":
    main()
