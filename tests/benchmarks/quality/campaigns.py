"""Cost of a fingerprint and of a round, and time until campaigns are found, to a million keys.

    python -m tests.benchmarks.quality.campaigns TRAFFIC LABELS --keys 10000 100000 1000000

The labelled day is carried through the engine, and what its ordinary keys say of themselves is the
template: each honest key says what one of them said, shifted in time, its prompts' mean and its
likeness to lists with noise, its identifiers its own but for the share of clients, system prompts
and models that ordinary keys have in common. Of all keys 2.4% are of five campaigns of unlike
sizes, born over half an hour each: they say what an ordinary key said, moved half-way in a
direction of the campaign's own, for half of what they ask is ordinary, evenly hour after hour, and
nothing is shared but that.

Fingerprints go through a linker in the order of event time, six hours of it. CPU is of this
process: of taking fingerprints in, and of rounds. A campaign is found when its first alert opens,
counted from the birth of its median member.
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
from tests.benchmarks.speed.measure import show

_BEGIN = 1_772_409_600.0
_HOURS = 6.0
_HYDRA = 0.024  # share of keys
_SIZES = (0.5, 0.25, 0.13, 0.08, 0.04)  # of campaigns
_MIX = 0.5  # share of what a member asks that is ordinary
_AWAY = 4.5  # standard deviations of what it asks otherwise
_PACE = 12.0  # requests an hour of a member
_TOGETHER = 4_000  # fingerprints a batch

Fingerprints = npt.NDArray[np.void]
Integers = npt.NDArray[np.int64]


class Found(NamedTuple):
    """What one number of keys came to; seconds, bytes of memory a key, shares."""

    keys: int
    fingerprints: int
    taking: float
    rounds: list[float]
    memory: float
    recall: float
    precision: float
    detected: list[float]  # minutes after the median birth, by campaign; NaN: not found


def template(traffic: Path, labels: Path) -> Fingerprints:
    """The last fingerprint of each ordinary key of a labelled day."""
    kinds = json.loads(labels.read_text())
    engine = Engine(Settings(), Identity(b"0123456789abcdef", plain=True), MemoryStore())
    offset, values = engine.assign("t:0").offset, list[bytes]()
    with LineFile(str(traffic)) as file:
        for lines in file.batches():
            outcome = engine.observe(Batch("t:0", range(offset, offset + len(lines)), lines))
            values += [said.value for said in outcome.fingerprints]
            offset += len(lines)
    said, keys, _ = from_messages(values)
    last = {key: at for at, key in enumerate(keys) if kinds[key]["campaign"] is None}
    return said[list(last.values())]


class Crowd:
    """Keys that tell of themselves: the last `members` of them are of campaigns.

    Attributes:
        campaign: `(n,)`, which each is of, -1 for none.
        born: `(n,)`, epoch seconds.
    """

    def __init__(self, ordinary: Fingerprints, n: int) -> None:
        self._dice = dice = np.random.default_rng(n)
        self.campaign = np.full(n, -1)
        members = int(n * _HYDRA)
        sizes = (np.array(_SIZES) * members).astype(int)
        self.campaign[n - sizes.sum() :] = np.repeat(np.arange(len(sizes)), sizes)
        hydra = self.campaign >= 0
        self.born = _BEGIN + dice.uniform(0, 0.9 * _HOURS * HOUR, n)
        began = _BEGIN + HOUR * np.linspace(0.2, 1.8, len(sizes))
        self.born[hydra] = began[self.campaign[hydra]] + dice.uniform(0, 30 * MINUTE, hydra.sum())
        population = ordinary[ordinary["sketched"] >= 8]
        slow = population[population["requests"] < 200]
        self.said = population[dice.integers(len(population), size=n)].copy()
        self.said[hydra] = slow[dice.integers(len(slow), size=hydra.sum())]
        axes = dice.standard_normal((len(sizes), CONTENT))
        axes *= _AWAY / np.linalg.norm(axes, axis=1)[:, None]
        # Between two ordinary keys lies a third: so many would else be the same few again.
        other = population["content"][dice.integers(len(population), size=n)] / (SCALE * STEPS)
        share = dice.uniform(0.2, 1.0, (n, 1))
        content = share * self.said["content"] / (SCALE * STEPS) + (1 - share) * other
        content /= np.hypot(share, 1 - share)
        content += dice.normal(0.0, 1.0, content.shape) / np.sqrt(self.said["sketched"])[:, None]
        content[hydra] = _MIX * content[hydra] + (1 - _MIX) * axes[self.campaign[hydra]]
        self.said["content"] = np.clip(content * SCALE * STEPS, -32_000, 32_000)
        self.said["lists"] += np.abs(dice.normal(0.0, 0.1, self.said["lists"].shape))
        likeness = 2.0 ** dice.uniform(5.0, 9.0, hydra.sum())
        self.said["lists"][hydra, self.campaign[hydra] % len(LISTS)] = likeness
        for kind in ("payment", "network", "tls_fingerprint"):
            own = dice.integers(1, 2**62, n, dtype=np.uint64)
            self.said["ids"][:, IDENTIFIERS.index(kind)] = own
        self.said["surprisal"][hydra] = dice.uniform(2.0, 5.0, hydra.sum())
        self.said["severity"] = np.where(dice.random(n) < 1e-3, 2, 0)
        distinct = self.said["distinct"]
        noise = dice.integers(0, 256, distinct[hydra].shape, dtype=np.uint8)
        noise &= dice.integers(0, 256, noise.shape, dtype=np.uint8) & 0x33
        distinct[hydra] = noise
        self.pace = np.maximum(self.said["requests"] / np.maximum(
            (self.said["ts"] - self.said["first_seen"]) / HOUR, 1.0), 0.5)  # fmt: skip
        self.pace[hydra] = _PACE * dice.lognormal(0.0, 0.1, hydra.sum())
        self.keys = [f"k_{i:022x}" for i in range(n)]

    def streams(self) -> Iterator[tuple[Fingerprints, list[str]]]:
        """Fingerprints by event time, a minute of it after the other."""
        due = self.born + 8 / self.pace * HOUR
        for minute in np.arange(_BEGIN, _BEGIN + _HOURS * HOUR, MINUTE):
            which = np.flatnonzero(due < minute + MINUTE)
            which = which[np.argsort(due[which], kind="stable")]
            if len(which):
                yield self._tell(which, due[which]), [self.keys[i] for i in which.tolist()]
            told = np.maximum(
                8.0, 0.125 * self.pace[which] * (due[which] - self.born[which]) / HOUR
            )
            due[which] += np.maximum(told / self.pace[which] * HOUR, 4 * MINUTE)

    def _tell(self, which: Integers, ts: npt.NDArray[np.float64]) -> Fingerprints:
        said = self.said[which]
        born, pace, hydra = self.born[which], self.pace[which], self.campaign[which] >= 0
        said["ts"], said["first_seen"] = ts, born
        said["requests"] = np.maximum(8, pace * (ts - born) / HOUR)
        said["sketched"] = np.minimum(said["requests"], said["sketched"])
        for name, panes, seconds in (("long", LONG, HOUR), ("middle", MIDDLE, 5 * MINUTE)):
            head = np.floor(ts / seconds).astype(np.int64)
            age = np.arange(panes.panes)[None, :]
            begin = (head[:, None] - age) * seconds
            share = np.clip(
                np.minimum(begin + seconds, ts[:, None]) - np.maximum(begin, born[:, None]),
                0,
                seconds,
            )
            # People come in sessions, members all the time.
            busy = np.where(hydra[:, None], 1.0, self._dice.gamma(0.5, 2.0, share.shape))
            counts = self._dice.poisson(pace[:, None] * busy * share / HOUR)
            said[f"{name}_head"] = head
            at = (head[:, None] - age) % panes.panes
            rows = np.zeros_like(counts)
            np.put_along_axis(rows, at, counts, axis=1)
            said[f"{name}_requests"] = rows
        return said


def run(ordinary: Fingerprints, n: int) -> Found:
    """A crowd of n keys through a linker."""
    crowd = Crowd(ordinary, n)
    linker = Linker(Settings(campaigns=Campaigns(keys=max(n, 1_000))), MemoryStore())
    shard = linker.assign("f:0")
    taking, rounds, opened, offset = 0.0, list[float](), dict[int, float](), 0
    before = _resident()
    number = {key: i for i, key in enumerate(crowd.keys)}
    for said, keys in crowd.streams():
        turns = shard.watermark and said["ts"][-1] // ROUND > shard.watermark // ROUND
        for start in range(0, len(keys), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            values = to_messages(said[part], keys[part])
            begun = time.process_time()
            out = linker.observe(Batch("f:0", range(offset, offset + len(values)), values))
            spent = time.process_time() - begun
            offset += len(values)
            if turns and shard.watermark // ROUND * ROUND > said["ts"][0] - MINUTE and start == 0:
                rounds.append(spent)
            else:
                taking += spent
            for alert in out.alerts:
                which = crowd.campaign[[number[key] for key in alert.subject.members]]
                if alert.state == "open" and (which >= 0).any():
                    most = int(np.bincount(which[which >= 0]).argmax())
                    opened.setdefault(most, alert.detected_at)
        checkpoint = linker.snapshot()
        linker.commit(checkpoint)
        linker.published(checkpoint)
    named = {key for c in shard.rounds.campaigns if c.opened for key in c.named}
    right = sum(crowd.campaign[number[key]] >= 0 for key in named)
    known = [
        i
        for i in np.flatnonzero(crowd.campaign >= 0)
        if shard.population.index(crowd.keys[i]) is not None
    ]
    detected = [
        (opened.get(c, np.nan) - float(np.median(crowd.born[crowd.campaign == c]))) / MINUTE
        for c in range(len(_SIZES))
    ]
    return Found(
        n,
        offset,
        taking,
        rounds,
        (_resident() - before) / n,
        right / max(len(known), 1),
        right / max(len(named), 1),
        detected,
    )


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return float(pages * resource.getpagesize())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("traffic", type=Path)
    options.add_argument("labels", type=Path)
    options.add_argument("--keys", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    chosen = options.parse_args()
    ordinary = template(chosen.traffic, chosen.labels)
    rows = []
    for keys in chosen.keys:
        found = run(ordinary, keys)
        rows.append([
            f"{keys:,}",
            f"{found.fingerprints:,}",
            f"{found.fingerprints / found.taking:,.0f}",
            f"{1e6 * (found.taking + sum(found.rounds)) / found.fingerprints:.1f}",
            f"{statistics.median(found.rounds):.2f}",
            f"{max(found.rounds):.2f}",
            f"{found.memory:,.0f}",
            f"{found.recall:.3f}",
            f"{found.precision:.3f}",
            ", ".join(f"{each:.0f}" for each in found.detected),
        ])  # fmt: skip
        show(
            ["keys", "fingerprints", "taken in a second", "CPU, µs each, with rounds",
             "a round, s: median", "worst", "memory a key, bytes", "recall", "precision",
             "minutes until each campaign is found"],
            rows,
        )  # fmt: skip


if __name__ == "__main__":
    main()
