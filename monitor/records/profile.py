"""The profile of a key: everything that is remembered about it, in one fixed-size record.

A record holds rings of panes for requests and tokens, sketches of what was asked (kernel means,
novelty, distinct counts, templates) and of how (models, hours, follow-ups), the test statistics
that detectors read (as levels, see below), their peaks of the day and of the hour, what is usual
for the key itself, the last request ids, and the alerts that are open. It is a row of a NumPy
array in the worker and the same bytes in Redis; there is no other codec.

A level is a statistic on the scale on which its tail falls exponentially: log2(1 + n) for counts,
half the log-likelihood ratio in nats for sequential tests. One histogram of levels then
describes how far ordinary keys get, whatever the statistic (see `baseline.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.prompts.kernel import MEANING, WORDS
from monitor.prompts.lexicon import INTENTS
from monitor.prompts.projection import CONTENT, LISTS, SCALE, SHARES
from monitor.sketches import good_turing as novelty
from monitor.sketches import hyperloglog as distinct
from monitor.sketches import minhash
from monitor.sketches.habits import HOURS, MODELS
from monitor.sketches.kernel_mean import HALF_LIVES, LISTED, KernelMeans, weights

VERSION = 3
FARTHEST = 30.0  # no level goes beyond

SECOND, MINUTE, HOUR, DAY = 1, 60, 3600, 86_400


class Ring(NamedTuple):
    """Panes of `width` seconds, `panes` of them, the newest at index `pane number % panes`."""

    width: int
    panes: int


SHORT, MIDDLE, LONG = Ring(10, 30), Ring(300, 12), Ring(3600, 24)
MOST_IN_PANE = 65_535  # requests that a pane of SHORT counts

SCALES = ("1m", "5m", "1h", "24h")  # the windows over which requests and tokens are counted
REQUESTS = slice(0, 4)  # levels of requests over SCALES
TOKENS = slice(4, 8)  # levels of tokens over SCALES
OWN = 8  # the first so many levels are also compared with the key's own past
ELICITATION = slice(8, 10)  # levels of the sequential tests over INTENTS
LIKENESS = slice(10, 15)  # levels of the likeness to work lists over LISTS
BROAD = 15  # level of a breadth between the public's and an application's
AUTOMATION = 16  # level of how unattended the requests come
PIVOT = 17  # level of a sudden move to a model that is new to the key
TEMPLATES = 18  # level of slots swept through few templates
COMBINED = 19  # level of all that detectors say together, as of the last look
LEVELS = 20
KINDS = ("burst", "elicitation", "coverage", "automation", "pivot", "templates", "combined")
SLOTS = 8  # alerts that a record has room for, one a kind
IDS = 12
#: What is counted without repeats; the first three are of prompts, the others as they were sent.
DISTINCT = ("prompts", "cells", "templates", "addresses", "end_users", "user_agents", "systems")

RECORD = np.dtype(
    [
        ("version", "<u2"),
        ("severity", "u1", SLOTS),  # of the open alert of each kind, 0 while none is open
        ("group", "u1"),  # of keys, in which it teaches the public mean
        ("taught", "u1"),  # prompts that it has taught the public mean today
        ("accused", "u1"),  # whether an alert beyond info was open when the last epoch ended
        ("reserved", "u1", 3),
        ("first_seen", "<f8"),
        ("last_seen", "<f8"),
        ("opened", "<f8", SLOTS),  # when the alert of each kind was opened
        ("upheld", "<u4", SLOTS),  # when it was last found to hold, in whole seconds
        ("decided", "<f8"),  # when the decision on the key was last made
        ("tokens", "<f8"),
        ("requests", "<u4"),
        ("prompts", "<u4"),
        ("matches", "<u4", len(INTENTS)),  # prompts that matched each intent
        ("looked", "<u4"),  # `requests` when detectors last looked
        ("sketched", "<u4"),  # prompts that are in the sketches
        ("ids", "<u4", IDS),
        ("id_count", "<u4"),
        ("budget_pane", "<i4"),  # the pane of MIDDLE in which prompts are sampled
        ("budget_used", "<u4"),  # prompts that came in it
        ("short_head", "<i4"),
        ("middle_head", "<i4"),
        ("long_head", "<i4"),
        ("day", "<i4"),
        ("hour", "<i4"),
        ("short_tokens", "<f4", SHORT.panes),
        ("middle_tokens", "<f4", MIDDLE.panes),
        ("long_tokens", "<f4", LONG.panes),
        ("middle_requests", "<u4", MIDDLE.panes),
        ("long_requests", "<u4", LONG.panes),
        ("short_requests", "<u2", SHORT.panes),
        ("level", "<f4", LEVELS),  # now
        ("day_peak", "<f4", LEVELS),
        ("hour_peak", "<f4", OWN),
        ("own_hours", "<f4"),  # active hours that the two below summarise
        ("own_mean", "<f4", OWN),  # of the peaks of the key's own hours
        ("own_variance", "<f4", OWN),
        ("followups", "<f4"),  # share of requests that continue a conversation, lately
        ("model_names", "<u4", MODELS),
        ("model_counts", "<f4", MODELS),
        ("arrived", "<u4"),  # when it first used the model that is newest to it, whole seconds
        ("arrival", "<u4"),  # that model; 0 while there is none
        ("arrivals", "<u4"),  # requests to it since
        ("strays", "<u4"),  # and to others
        ("before", "<f4"),  # requests an hour before that
        ("unattended", "<f4"),  # nats of the sequential test for requests that nobody attends
        ("regular", "<f4"),  # and of that for gaps as a timer makes them
        ("gap", "<f4"),  # the usual gap between requests, log seconds
        ("templates", "<u4", minhash.PLACES),
        ("meaning", "<i2", (len(HALF_LIVES), MEANING)),
        ("words", "<i2", WORDS),  # of the first half-life only
        ("content", "<i2", (len(HALF_LIVES), CONTENT)),
        ("lists", "<f4", (len(LISTS), len(SHARES))),  # decayed sums, of half-life LISTED
        ("distinct", "u1", (len(DISTINCT), distinct.BYTES)),
        ("novelty", "u1", (2, novelty.BYTES)),
        ("rhythm", "u1", HOURS),
        ("model", "<u2"),  # of content, by its tag: what another one said does not add up
        ("told", "<u2"),  # `requests` when its fingerprint was last sent, modulo 65,536
    ]
)
# A value of Redis takes the next larger of its allocator's sizes: 2,048, with a few bytes for
# itself, or else 2,560.
assert RECORD.itemsize <= 2040, RECORD.itemsize

Records = npt.NDArray[np.void]


class Profile:
    """A view of n records that detectors read; every property is an array over the keys."""

    def __init__(self, records: Records) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"Profile({len(self)} keys)"

    def __getitem__(self, field: str) -> npt.NDArray[Any]:
        return self.records[field]

    @property
    def level(self) -> npt.NDArray[np.float64]:
        """Levels now, `(n, LEVELS) float64`."""
        return self.records["level"].astype(np.float64)

    @property
    def counts(self) -> npt.NDArray[np.float64]:
        """Requests over SCALES, then tokens over SCALES, `(n, 8) float64`."""
        return np.exp2(self.level[:, :8]) - 1.0

    def meaning(self, half_life: int) -> KernelMeans:
        """Means of what was asked, of the half-life with this index in HALF_LIVES."""
        stored, prompts = self["meaning"][:, half_life], self["sketched"]
        return KernelMeans.stored(stored, prompts, HALF_LIVES[half_life])

    @property
    def words(self) -> KernelMeans:
        """Means of the words it was asked in, of the first half-life."""
        return KernelMeans.stored(self["words"], self["sketched"], HALF_LIVES[0])

    def content(self, half_life: int) -> KernelMeans:
        """Means of the place among the public, likewise.

        Its self-similarity is the mean product of two of the key's prompts: about 0 for a key that
        asks as the public does, less for a broad sweep than for a template, whatever the number of
        prompts.
        """
        stored, prompts = self["content"][:, half_life], self["sketched"]
        return KernelMeans.stored(stored, prompts, HALF_LIVES[half_life], SCALE, CONTENT)

    def departure(self, half_life: int) -> npt.NDArray[np.float64]:
        """How far a key's prompts are from the public's, `(n,) float64`, in standard deviations.

        Hotelling's T², which is chi-squared for prompts of the public, made normal (E. B. Wilson
        and M. M. Hilferty, PNAS 17, 1931).
        """
        means = self.content(half_life)
        t2 = np.einsum("nd,nd->n", means.sum, means.sum) / np.maximum(means.squares, 1e-12)
        variance = 2.0 / (9.0 * CONTENT)
        return np.where(
            means.squares > 0,
            (np.cbrt(t2 / CONTENT) - (1.0 - variance)) / np.sqrt(variance),
            0.0,
        )

    @property
    def lists(self) -> npt.NDArray[np.float64]:
        """How like work lists the prompts are, in standard deviations of as many ordinary ones,
        `(n, len(LISTS), len(SHARES)) float64`: how sure it is that some are off a list."""
        _, squares = weights(self["sketched"], LISTED)
        return self._listed(np.sqrt(squares))

    @property
    def likeness(self) -> npt.NDArray[np.float64]:
        """The same in the mean over prompts: how like a list they are. A template that sounds a
        little like one gets ever surer, and no more like it, with each prompt."""
        weight, _ = weights(self["sketched"], LISTED)
        return self._listed(weight)

    def _listed(self, scale: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(self["lists"] / np.maximum(scale, 1e-12)[:, None, None])

    def distinct(self, kind: str) -> npt.NDArray[np.float64]:
        """How many different ones of a kind of DISTINCT each key has shown, `(n,) float64`."""
        return distinct.estimate(self["distinct"][:, DISTINCT.index(kind)])

    @property
    def novelty(self) -> npt.NDArray[np.float64]:
        """The chance that the next prompt is of a kind never sent before, `(n,) float64`."""
        return novelty.novelty(self["novelty"], self["sketched"])


def blank() -> np.void:
    """The record of a key that has never been seen."""
    record: np.void = np.zeros(1, RECORD)[0]
    record["version"] = VERSION
    return record
