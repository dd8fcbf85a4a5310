"""The profile of a key: everything the monitor keeps about it, in one fixed-size record.

A record holds ring buffers of requests and tokens, sketches of the prompts (kernel means, novelty,
distinct counts) and of the behaviour (models, hours, follow-ups), the levels that detectors read
(see below) with their peaks of the day and of the hour, the key's own usual levels, the last
request ids and text parts, the main end users, networks and clients, and the open alerts. A record
is a row of a NumPy array in the worker and the same bytes in Redis; there is no other codec.

A level is a statistic on a scale on which its tail falls exponentially: log2(1 + n) for counts,
half the log-likelihood ratio in nats for sequential tests. One histogram of levels then describes
how high ordinary keys get, whatever the statistic (see `baseline.py`).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.prompts.kernel import MEANING
from monitor.prompts.lexicon import INTENTS
from monitor.prompts.projection import CONTENT, LISTS, SCALE, SHARES
from monitor.sketches import good_turing, hyperloglog
from monitor.sketches.habits import HOURS, MODELS
from monitor.sketches.kernel_mean import KernelMeans, weights

RECORD_VERSION = 6
MAX_LEVEL = 30.0  # levels are cut off here
PER_LEVEL, BINS = 4, 128  # bins of the histograms of day peaks: per level, and in all
EXCLUDED = 255  # day peak of a key that does not count today

MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds
PAST_DAYS, PAST_HOURS = 3, 24  # since its first request, and active, before a key has a past


class Ring(NamedTuple):
    """A ring buffer of `panes` panes, each `width` seconds; pane p is at index p % panes."""

    width: int
    panes: int


SHORT, MIDDLE, LONG = Ring(15, 20), Ring(300, 12), Ring(3600, 24)
MAX_IN_PANE = 65_535  # requests that a pane of SHORT or MIDDLE can count

SCALES = ("1m", "5m", "1h", "24h")  # windows over which requests and tokens are counted
# Indices of the levels. Stored records depend on them: append, never reorder.
REQUESTS = slice(0, 4)  # requests over SCALES
TOKENS = slice(4, 8)  # tokens over SCALES
OWN = 8  # the levels below this index are also compared with the key's own past
ELICITATION = slice(8, 10)  # sequential tests for INTENTS
LIKENESS = (*range(10, 15), *range(22, 17 + len(LISTS)))  # similarity to each of LISTS
BREADTH = 15  # breadth between an ordinary key's and an application's
AUTOMATION = 16  # requests without a person
PIVOT = 17  # sudden move to a model that is new to the key
TEMPLATES = 18  # many prompts from few templates
COMBINED = 19  # all detectors together, as of the last evaluation
TAKEOVER = 20  # sudden change of networks, clients and work
HARVEST = 21  # independent items, worked through one by one
LEVELS = 17 + len(LISTS)
ALERT_SLOTS = 9  # alerts that a record has room for, one per kind
IDS = 12
PARTS = 60  # text parts that a key's record remembers
FRAMES = 32  # sentences of its frame
USERS = 8  # end users of a key whose requests are counted
ORIGINS = 3  # usual networks and clients of a key
HALF_LIVES = (64.0, 1024.0)  # prompts, of the kernel means
LISTS_HALF_LIFE = 256.0  # prompts, of prompt list scores: a list may be mixed in or start late
#: Counted without repeats. The first three are of prompts, the others of request metadata.
DISTINCT = ("prompts", "cells", "templates", "addresses", "end_users", "user_agents", "systems")

RECORD = np.dtype(
    [
        ("version", "<u2"),
        ("content_model", "<u2"),  # tag of the content model behind `content` and `lists`
        ("published", "<u2"),  # `requests` at the last fingerprint, modulo 65,536
        ("severity", "u1", ALERT_SLOTS),  # of the open alert in each slot, 0 without one
        ("baseline_group", "u1"),  # jackknife group in which it adds to the baseline mean
        ("baseline_prompts", "u1"),  # prompts added to the baseline mean today
        ("first_seen", "<f8"),
        ("last_seen", "<f8"),
        ("opened", "<f8", ALERT_SLOTS),  # when the alert in each slot opened
        ("confirmed", "<u4", ALERT_SLOTS),  # when evidence last confirmed that alert, whole seconds
        ("decided", "<f8"),  # when the decision on the key was last made
        ("tokens", "<f8"),
        ("requests", "<u4"),
        ("prompts", "<u4"),
        ("matches", "<u4", len(INTENTS)),  # prompts that matched each intent
        ("evaluated", "<u4"),  # `requests` at the last evaluation
        ("sketch_prompts", "<u4"),  # prompts in the sketches
        ("ids", "<u4", IDS),  # see `admission.py`
        ("id_checks", "u1", IDS),  # further bits of time and content
        ("id_count", "u1"),  # index in `ids` of the next one
        ("reused_ids", "<u2"),  # requests whose id another request of the key had
        ("late", "<u2"),  # requests that came after the lateness limit
        ("parts", "<u2", PARTS),  # 15 bits of each part's hash, and a bit set when it recurs
        ("systems", "u1"),  # system prompts that were new
        ("account_place", "<u2"),  # keys of its account up to it; 0 without an account
        ("part_hand", "u1"),  # index in `parts` where the search for the next free place begins
        ("frame", "<u2", FRAMES),  # 15 bits of each sentence's hash, and a bit set when it recurs
        ("frame_hand", "u1"),  # index in `frame` where the search for the next free place begins
        ("frame_prompts", "<u2"),  # prompts that were compared with the frame
        ("followed", "u1"),  # recent follow-ups, see `frames.py`
        ("budget_pane", "<i4"),  # pane of MIDDLE in which prompts are sampled
        ("budget_used", "<u4"),  # prompts in that pane
        ("clean", "u1"),  # ordinary prompts since the last sign of change, see `reading/settled.py`
        ("padding", "u1", 3),  # records are stored as words, see `kernels/zeros.py`
        ("short_head", "<i4"),
        ("middle_head", "<i4"),
        ("long_head", "<i4"),
        ("day", "<i4"),
        ("hour", "<i4"),
        ("short_tokens", "<f4", SHORT.panes),
        ("middle_tokens", "<f4", MIDDLE.panes),
        ("long_tokens", "<f4", LONG.panes),
        ("middle_requests", "<u2", MIDDLE.panes),
        ("long_requests", "<u4", LONG.panes),
        ("short_requests", "<u2", SHORT.panes),
        ("level", "<f4", LEVELS),  # now
        ("day_peak", "u1", LEVELS),  # bin of the highest level today, or EXCLUDED
        ("hour_peak", "<f4", OWN),
        ("own_hours", "<f4"),  # active hours in the two fields below
        ("own_mean", "<f4", OWN),  # of the peaks of the key's own hours
        ("own_variance", "<f4", OWN),
        ("follow_ups", "<f4"),  # recent share of requests that continue a conversation
        ("tiny_turns", "<f4"),  # of prompts with a tiny last turn after a large new text
        ("unexplained", "<f4"),  # of prompts whose text is too short for their input tokens
        ("unreadable", "<f4"),  # of prompts whose text is mostly encoded
        ("task_prompts", "<u2"),  # prompts in the two fields below
        ("tasks", "<f4"),  # recent mean log odds that what varies is a task, nats
        ("unframed", "<f4"),  # recent mean of how little of a frame the prompts have
        ("user_names", "<u4", USERS),  # hashes of the most frequent end users
        ("user_counts", "<u2", USERS),
        ("networks", "<u4", ORIGINS),  # hashes of the usual networks
        ("network_counts", "<f4", ORIGINS),
        ("clients", "<u4", ORIGINS),  # hashes of the usual clients
        ("client_counts", "<f4", ORIGINS),
        ("moved_since", "<u4"),  # first request from new origins, whole seconds; 0 without a move
        ("moved_requests", "<u2"),  # requests from new origins since then
        ("unmoved_requests", "<u2"),  # requests from usual origins since then
        ("model_names", "<u4", MODELS),
        ("model_counts", "<f4", MODELS),
        ("new_model", "<u4"),  # hash of the model newest to the key, 0 without one
        ("new_model_since", "<u4"),  # first request to it, whole seconds
        ("new_model_requests", "<u4"),  # requests to it since then
        ("other_model_requests", "<u4"),  # requests to other models since then
        ("rate_before", "<f4"),  # requests an hour before then
        ("unattended", "<f4"),  # nats, sequential test for requests without a person
        ("regular", "<f4"),  # nats, sequential test for the gaps of a timer
        ("gap", "<f4"),  # usual gap between requests, log seconds
        ("meaning", "<i2", MEANING),  # kernel mean, of the first half-life
        ("content", "<i2", (len(HALF_LIVES), CONTENT)),  # kernel means
        ("energy", "<f4", len(HALF_LIVES)),  # mean squared length of the content coordinates
        ("lists", "<f4", (len(LISTS), len(SHARES))),  # sums decayed with LISTS_HALF_LIFE
        ("distinct", "u1", (len(DISTINCT), hyperloglog.BYTES)),
        ("novelty", "u1", (2, good_turing.BYTES)),
        ("rhythm", "u1", HOURS),
        ("flagged", "u1"),  # whether an alert above info was open when the last epoch ended
    ]
)
# With its header a Redis value must fit a size class of jemalloc: 2,048 bytes.
assert RECORD.itemsize <= 2040, RECORD.itemsize

Records = npt.NDArray[np.void]


def copies(records: Records, rows: npt.NDArray[np.int64]) -> Records:
    """Copies of the records at these rows, `(len(rows),) RECORD`; as bytes, because NumPy copies
    records with fields one field at a time."""
    return records.view(f"V{RECORD.itemsize}")[rows].view(RECORD)


def as_words(records: Records) -> npt.NDArray[np.uint32]:
    """The bytes of n records as words, `(n, words) uint32`, in place."""
    return records.view(np.uint32).reshape(len(records), -1)


class Profile:
    """The view of n records that detectors read; every property is an array over the keys.

    Args:
        records: `(n,) RECORD`.
    """

    def __init__(self, records: Records) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"Profile({len(self)} keys)"

    def __getitem__(self, field: str) -> npt.NDArray[Any]:
        return self.records[field]

    @cached_property
    def level(self) -> npt.NDArray[np.float64]:
        """Levels when first read, `(n, LEVELS) float64`."""
        return self.records["level"].astype(np.float64)

    @property
    def counts(self) -> npt.NDArray[np.float64]:
        """Requests over SCALES, then tokens over SCALES, `(n, 8) float64`."""
        return np.exp2(self.level[:, :8]) - 1.0

    @property
    def meaning(self) -> KernelMeans:
        """Kernel means of the prompts' embeddings, of the first half-life."""
        return KernelMeans.from_stored(self["meaning"], self["sketch_prompts"], HALF_LIVES[0])

    def content(self, half_life: int) -> KernelMeans:
        """Kernel means of the prompts' content coordinates.

        The coordinates are whitened over ordinary prompts. So the self-similarity is about 0 for
        an ordinary key, higher for a broad sweep and higher still for a template, whatever the
        number of prompts.

        Args:
            half_life: index in HALF_LIVES.
        """
        means, prompts = self["content"][:, half_life], self["sketch_prompts"]
        return KernelMeans.from_stored(means, prompts, HALF_LIVES[half_life], SCALE, CONTENT)

    def departure(self, half_life: int) -> npt.NDArray[np.float64]:
        """Distance of the mean prompt from that of ordinary keys, `(n,)`, standard deviations.

        Hotelling's T², which is chi-squared for ordinary prompts, transformed to a normal variable
        (E. B. Wilson and M. M. Hilferty, PNAS 17, 1931).

        Args:
            half_life: index in HALF_LIVES.
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
        """Similarity of the prompts to distillation prompt lists.

        In standard deviations of as many ordinary prompts, `(n, len(LISTS), len(SHARES)) float64`.
        """
        _, squares = weights(self["sketch_prompts"], LISTS_HALF_LIFE)
        scale = np.maximum(np.sqrt(squares), 1e-12)
        return np.asarray(self["lists"] / scale[:, None, None])

    def distinct(self, kind: str) -> npt.NDArray[np.float64]:
        """Estimated number of different values of one kind of DISTINCT, `(n,) float64`."""
        return hyperloglog.estimate(self["distinct"][:, DISTINCT.index(kind)])

    @property
    def novelty(self) -> npt.NDArray[np.float64]:
        """Probability that the next prompt is of a kind never sent before, `(n,) float64`."""
        return good_turing.novelty(self["novelty"], self["sketch_prompts"])


def blank() -> np.void:
    """The record of a new key."""
    record: np.void = np.zeros(1, RECORD)[0]
    record["version"] = RECORD_VERSION
    return record
