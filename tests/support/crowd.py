"""Crowds: fingerprints of made-up keys, to test how campaigns are found among them.

A key's mean prompt is a vector in the baseline's coordinates: the key's own, or a mixture of its
own and the task of a fleet. Requests per hour are Poisson, or come in sessions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.campaigns.fingerprint import (
    FINGERPRINT,
    FINGERPRINT_VERSION,
    IDENTIFIERS,
    Fingerprints,
)
from monitor.prompts.projection import CONTENT, SCALE
from monitor.records.profile import HALF_LIVES, HOUR, LONG
from monitor.sketches import hyperloglog
from monitor.sketches.kernel_mean import STEPS

MIDNIGHT = 1_772_409_600.0


@dataclass
class Crowd:
    """Similar keys, as their fingerprints are at one moment.

    Attributes:
        keys: number of keys.
        seed: of random numbers and key names.
        task: `(CONTENT,)`, the mean prompt of the common task; zero for ordinary keys.
        mix: share of a key's prompts that are its own.
        own: length of the mean of a key's own prompts, standard deviations.
        start, spread: hours after midnight when the first key is seen, and until all are.
        hours: how long each key has been active.
        rate: requests per hour.
        sessions: whether requests come in sessions, as users' do, and not steadily.
        repeats: prompts that all keys send; 0 if every prompt is different.
        severity: of each key's own most severe alert, 0 without one.
        surprisal: -log p of each key's strongest detector, which judges prompts, nats.
        shared: identifiers that all keys have, by name; the others differ.
    """

    keys: int
    seed: int = 1
    task: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(CONTENT))
    mix: float = 0.0
    own: float = 2.0
    start: float = 0.0
    spread: float = 12.0
    hours: float = 5.0
    rate: float = 10.0
    sessions: bool = False
    repeats: int = 0
    prompts_per_template: float = 1.5
    severity: int = 0
    surprisal: float = 0.5
    follow_ups: float = 0.0
    end_users: int = 0
    timers: float = 0.0  # nats
    shared: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return [f"k_{self.seed}_{i}" for i in range(self.keys)]

    def fingerprints(self) -> Fingerprints:
        """The fingerprints, each `hours` after the key was first seen."""
        random = np.random.default_rng(self.seed)
        n = self.keys
        out = np.zeros(n, FINGERPRINT)
        out["version"], out["severity"] = FINGERPRINT_VERSION, self.severity
        out["surprisal"] = out["prompt_surprisal"] = self.surprisal
        out["first_seen"] = MIDNIGHT + HOUR * (self.start + random.uniform(0, self.spread, n))
        out["ts"] = out["first_seen"] + self.hours * HOUR
        out["requests"] = out["sketch_prompts"] = np.maximum(
            random.poisson(self.hours * self.rate, n), 8
        )
        out["tokens"] = 500.0 * out["requests"]
        out["follow_ups"] = self.follow_ups * (1.0 - 0.5 ** (out["requests"] / 64.0))
        out["end_users"], out["regular"] = self.end_users, self.timers
        out["content"] = self._content(random, out["sketch_prompts"])
        self._fill_hours(out, random)
        for i in range(n):
            out["distinct"][i] = self._distinct(random, int(out["sketch_prompts"][i]))
        for kind, name in enumerate(IDENTIFIERS):
            own = random.integers(1, 2**63, n, dtype=np.uint64)
            out["ids"][:, kind] = self.shared.get(name, 0) or own
        return out

    def _content(self, random: Any, prompts: npt.NDArray[np.uint32]) -> npt.NDArray[np.int16]:
        own = random.standard_normal((self.keys, CONTENT)) * (self.own / CONTENT**0.5)
        noise = random.standard_normal((self.keys, CONTENT)) / np.sqrt(prompts)[:, None]
        mean = (1.0 - self.mix) * self.task + (self.mix if self.task.any() else 1.0) * own + noise
        return np.clip(np.rint(mean * SCALE * STEPS), -32768, 32767).astype(np.int16)

    def _fill_hours(self, out: Fingerprints, random: Any) -> None:
        first, last = (out[name] // HOUR for name in ("first_seen", "ts"))
        out["long_head"] = last
        for i in range(self.keys):
            for hour in range(int(first[i]), int(last[i]) + 1):
                rate = self.rate
                if self.sessions:
                    rate *= 4.0 * (random.random() < 0.25)
                out["long_requests"][i, hour % LONG.panes] = random.poisson(rate)

    def _distinct(self, random: Any, prompts: int) -> npt.NDArray[np.uint8]:
        registers = np.zeros((2, hyperloglog.BYTES), np.uint8)
        templates = max(int(prompts / self.prompts_per_template), 1)
        pool = np.random.default_rng(0).integers(1, 2**63, max(self.repeats, 1), dtype=np.uint64)
        for count, row in ((prompts, registers[0]), (templates, registers[1])):
            hashes = random.integers(1, 2**63, count, dtype=np.uint64)
            if self.repeats:
                hashes = random.choice(pool, count)
            for hashed in hashes:
                hyperloglog.add(row, hashed)
        return registers


def direction(seed: int, length: float = 3.0) -> npt.NDArray[np.float64]:
    """The mean prompt of a fleet's task: a vector of this length, in standard deviations."""
    vector = np.random.default_rng(1000 + seed).standard_normal(CONTENT)
    return np.asarray(length * vector / np.linalg.norm(vector))


def population(keys: int = 400, seed: int = 1, **more: Any) -> Crowd:
    """Ordinary keys, whose requests come in sessions."""
    return Crowd(keys, seed, own=3.0, sessions=True, rate=4.0, follow_ups=0.4, **more)


def fleet(keys: int = 30, seed: int = 2, **more: Any) -> Crowd:
    """Accounts that split one prompt list at a common rate; a part of their prompts is ordinary."""
    chosen = {"mix": 0.3, "start": 3.0, "spread": 0.3, "surprisal": 3.0, "rate": 12.0, **more}
    return Crowd(keys, seed, task=direction(seed), **chosen)


assert HALF_LIVES[-1] > 1000  # means have hardly decayed, so `content` is the plain mean
