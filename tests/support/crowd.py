"""Crowds: fingerprints of made-up keys, for tests of what finds campaigns among them.

A key's mean prompt is a vector among the public's coordinates: a person's own, or a fleet's work
and a person's own in parts. Hours are filled by Poisson, or in sessions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.campaigns.fingerprint import FINGERPRINT, IDENTIFIERS, VERSION, Fingerprints
from monitor.prompts.projection import CONTENT, SCALE
from monitor.records.profile import HOUR, LONG
from monitor.sketches import hyperloglog
from monitor.sketches.kernel_mean import HALF_LIVES, STEPS

MIDNIGHT = 1_772_409_600.0


@dataclass
class Crowd:
    """Keys that are alike in some ways, as their fingerprints are at one moment.

    Attributes:
        keys: how many.
        seed: of their dice, and of their names.
        work: `(CONTENT,)`, what they all work at, zero for people.
        mix: share of a key's prompts that are its own.
        own: length of what is each key's own.
        born, spread: hours after midnight at which the first comes, and within which all come.
        hours: how long each has been there.
        an_hour: requests.
        sessions: whether they come as people do, some hours full and others empty.
        repeats: prompts that all of them share; 0 if every prompt is another.
        a_template: prompts to a template.
        shared: identifiers, by name, that all show; the others are each key's own.
    """

    keys: int
    seed: int = 1
    work: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(CONTENT))
    mix: float = 0.0
    own: float = 2.0
    born: float = 0.0
    spread: float = 12.0
    hours: float = 5.0
    an_hour: float = 10.0
    sessions: bool = False
    repeats: int = 0
    a_template: float = 1.5
    severity: int = 0
    nats: float = 0.5
    shared: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return [f"k_{self.seed}_{i}" for i in range(self.keys)]

    def said(self) -> Fingerprints:
        """Their fingerprints, each as of its own hours after it came."""
        random = np.random.default_rng(self.seed)
        n = self.keys
        said = np.zeros(n, FINGERPRINT)
        said["version"], said["severity"], said["nats"] = VERSION, self.severity, self.nats
        said["first_seen"] = MIDNIGHT + HOUR * (self.born + random.uniform(0, self.spread, n))
        said["ts"] = said["first_seen"] + self.hours * HOUR
        said["requests"] = said["sketched"] = np.maximum(
            random.poisson(self.hours * self.an_hour, n), 8
        )
        said["tokens"] = 500.0 * said["requests"]
        said["content"] = self._content(random, said["sketched"])
        self._fill_hours(said, random)
        for i in range(n):
            said["distinct"][i] = self._distinct(random, int(said["sketched"][i]))
        for kind, name in enumerate(IDENTIFIERS):
            own = random.integers(1, 2**63, n, dtype=np.uint64)
            said["ids"][:, kind] = self.shared.get(name, 0) or own
        return said

    def _content(self, random: Any, prompts: npt.NDArray[np.uint32]) -> npt.NDArray[np.int16]:
        own = random.standard_normal((self.keys, CONTENT)) * (self.own / CONTENT**0.5)
        noise = random.standard_normal((self.keys, CONTENT)) / np.sqrt(prompts)[:, None]
        mean = (1.0 - self.mix) * self.work + (self.mix if self.work.any() else 1.0) * own + noise
        return np.clip(np.rint(mean * SCALE * STEPS), -32768, 32767).astype(np.int16)

    def _fill_hours(self, said: Fingerprints, random: Any) -> None:
        first, last = (said[name] // HOUR for name in ("first_seen", "ts"))
        said["long_head"] = last
        for i in range(self.keys):
            for hour in range(int(first[i]), int(last[i]) + 1):
                rate = self.an_hour
                if self.sessions:
                    rate *= 4.0 * (random.random() < 0.25)
                said["long_requests"][i, hour % LONG.panes] = random.poisson(rate)

    def _distinct(self, random: Any, prompts: int) -> npt.NDArray[np.uint8]:
        registers = np.zeros((2, hyperloglog.BYTES), np.uint8)
        templates = max(int(prompts / self.a_template), 1)
        pool = np.random.default_rng(0).integers(1, 2**63, max(self.repeats, 1), dtype=np.uint64)
        for count, row in ((prompts, registers[0]), (templates, registers[1])):
            hashes = random.integers(1, 2**63, count, dtype=np.uint64)
            if self.repeats:
                hashes = random.choice(pool, count)
            for hashed in hashes:
                hyperloglog.add(row, hashed)
        return registers


def direction(seed: int, length: float = 3.0) -> npt.NDArray[np.float64]:
    """What a fleet works at: a vector of this length."""
    vector = np.random.default_rng(1000 + seed).standard_normal(CONTENT)
    return np.asarray(length * vector / np.linalg.norm(vector))


def population(keys: int = 400, seed: int = 1, **more: Any) -> Crowd:
    """Ordinary people, who come in sessions."""
    return Crowd(keys, seed, own=3.0, sessions=True, an_hour=4.0, **more)


def fleet(keys: int = 30, seed: int = 2, **more: Any) -> Crowd:
    """Accounts that take shards off one list, at one pace, half of it ordinary."""
    chosen = {"mix": 0.3, "born": 3.0, "spread": 0.3, "nats": 3.0, "an_hour": 12.0, **more}
    return Crowd(keys, seed, work=direction(seed), **chosen)


assert HALF_LIVES[-1] > 1000  # means are hardly faded yet, so `content` is the plain mean
