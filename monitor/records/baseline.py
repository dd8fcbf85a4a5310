"""The baseline: how high the levels of ordinary keys get in a day.

For every level the baseline keeps one histogram: keys by the highest level each reached in a day. A
key counts once per day, however much it sends, so a big customer or a campaign cannot shift it. The
share of key-days at or above a level is the probability that an ordinary key reaches that level in
a day. The peak is the maximum over all evaluations, so continuous evaluation adds no false alerts.
Above the highest two in a thousand key-days there is little to count. There the tail is taken as
exponential in the level (a power law in counts); its scale is the mean excess (the Hill estimator;
B. M. Hill, Annals of Statistics 3, 1975), shrunk towards a prior.

The baseline is the shipped reference (statistics of ordinary days, no prompt) plus this
deployment's past days, which fade. A day counts when it is over, without the keys that were flagged
on it. So an attacker's accounts do not change the baseline that evaluates them. Each partition
has its own baseline, a fair sample of all keys. It changes only at the end of a day of event time,
so results depend neither on batch boundaries nor on how the stream is shared among workers.

New keys are cheap, so a key counts only after VOTE_REQUESTS requests and VOTE_AGE, unless the
traffic is known to be ordinary. Keys that stay just below the thresholds must not raise them beyond
reach, so no scale exceeds that of the reference by more than MAX_EXCESS.

`baseline_mean.py` keeps where the prompts of ordinary keys lie.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.errors import ConfigError
from monitor.kernels.jit import jit
from monitor.prompts.kernel import MEANING
from monitor.records.baseline_mean import GROUPS, BaselineMean, Sums
from monitor.records.profile import (
    BINS,
    EXCLUDED,
    HOUR,
    LEVELS,
    MAX_LEVEL,
    OWN,
    PER_LEVEL,
    Profile,
)

TAIL = 0.002  # share of key-days above which the tail is extrapolated
CEILING = 0.001  # share of key-days above which a level does not count towards a key's own past
EXCESS, EXCESS_WEIGHT = 0.5, 10.0  # prior of the mean excess, in levels, and its weight in keys
MAX_EXCESS = 1.25  # largest mean excess, relative to that of the reference
VOTE_REQUESTS, VOTE_AGE = 8, float(HOUR)  # of a key that counts; seconds since its first request
_HALF_LIFE_DAYS = 7.0

_EARLIER_LEVELS = {1: 10, 2: 16}  # by state version; version 1 has no mean
_REFERENCE_LEVELS = 20  # of the oldest reference that can be read

Histogram = npt.NDArray[np.float64]
_BIN_CENTRES = (np.arange(BINS) + 0.5) / PER_LEVEL


class Reference(NamedTuple):
    """What a deployment starts from.

    Attributes:
        peaks: `(LEVELS, BINS) float64`, key-days by peak of the day.
        mean: sums of the prompts' embeddings.
    """

    peaks: Histogram
    mean: Sums

    @classmethod
    def empty(cls) -> Reference:
        """A reference of no key-days."""
        return cls(np.zeros((LEVELS, BINS)), Sums.empty())


class Baseline:
    """Histograms of day peaks, `(LEVELS, BINS) float64`, and the tails they imply.

    Args:
        reference: what the deployment starts from.
        trusted: whether new keys count, too: for traffic that is known to be ordinary.

    Attributes:
        mean: where the prompts of ordinary keys lie.
        day: the current day, days since the epoch, 0 before the first.
        past: `(LEVELS, BINS) float64`, key-days of past days, faded.
        today: `(LEVELS, BINS) float64`, keys of the current day.
        total: `(LEVELS,) float64`, key-days behind the tails.
        ceiling: `(LEVELS,) float64`, levels that hardly any ordinary key exceeds.
    """

    def __init__(self, reference: Reference, *, trusted: bool = False) -> None:
        self.trusted = trusted
        self.reference = reference.peaks
        known = self.reference.sum(axis=1) > 0.0
        self._max_excess = np.where(known, MAX_EXCESS * _tails(self.reference)[1], np.inf)
        self.mean = BaselineMean(reference.mean)
        self.past = np.zeros((LEVELS, BINS))
        self.today = np.zeros((LEVELS, BINS))
        self.day = 0
        self._fit()

    def __repr__(self) -> str:
        return f"Baseline({self.total[0]:.0f} key-days)"

    def start_day(self, day: int) -> bool:
        """Start `day` if it is a new one: today's keys become part of the past, which fades.

        Returns:
            Whether a new day started.
        """
        if day <= self.day:
            return False
        if self.day:
            faded = (self.past + self.today) * 0.5 ** ((day - self.day) / _HALF_LIFE_DAYS)
            self.past = faded.astype("<f4").astype(np.float64)  # rounded as in the store
            self._fit()
            self.mean.end_day(self.day)
        self.today[:] = 0.0
        self.day = day
        return True

    def set_level(self, records: Any, which: int, rows: Any, levels: Any) -> None:
        """Write a level that the kernel does not compute, with its peaks of the day.

        Args:
            records: `(capacity,) RECORD`, the table; updated in place.
            which: index of the level.
            rows: `(n,) int64`, the records in stream order; a row may occur several times.
            levels: `(n,) float64`.
        """
        _set_level(records, which, rows, levels, self.day, self.trusted, self.today[which])

    def exclude(self, records: Any, row: int) -> None:
        """Exclude a flagged key, a row of `(capacity,) RECORD`, from today's histograms."""
        _exclude(records, row, self.day, self.trusted, self.today)

    def _fit(self) -> None:
        """Fit the tails to the reference and the past."""
        self._compared: Profile | None = None
        self._shares = np.empty((0, LEVELS))
        counts = self.reference + self.past
        self.total = counts.sum(axis=1)
        self._share = _share_from(counts)
        self._edge, excess = _tails(counts)
        self._excess = np.minimum(excess, self._max_excess)
        rarest = np.maximum(CEILING, 1.0 / np.maximum(self.total, 1.0))
        self.ceiling = (self._share >= rarest[:, None]).sum(axis=1) / PER_LEVEL
        edge_bin = (self._edge * PER_LEVEL).astype(int)
        # At least half a key: a level that no key has reached yet is not impossible. A level
        # without key-days starts at 1.
        least = np.where(self.total > 0.0, 0.5 / np.maximum(self.total, 1.0), 1.0)
        self._at_edge = np.maximum(self._share[np.arange(LEVELS), edge_bin], least)

    def tail(
        self,
        which: slice | npt.NDArray[np.int64],
        levels: npt.NDArray[np.float64],
        least_excess: float | npt.NDArray[np.float64] = 0.0,
    ) -> npt.NDArray[np.float64]:
        """Probability that an ordinary key reaches these levels in a day.

        Args:
            which: indices of k levels.
            levels: `(n, k) float64`.
            least_excess: smallest mean excess of the extrapolated tails, in levels; a number or
                `(n, 1) float64`.

        Returns:
            `(n, k) float64`, in (0, 1].
        """
        columns = np.arange(LEVELS)[which]
        bins = np.minimum((levels * PER_LEVEL).astype(np.int64), BINS - 1)
        body = self._share[columns, bins]
        beyond = np.maximum(levels - self._edge[columns], 0.0)
        excess = np.maximum(self._excess[columns], least_excess)
        extrapolated = self._at_edge[columns] * np.exp(-beyond / excess)
        tail = np.where(levels >= self._edge[columns], extrapolated, body)
        clipped: npt.NDArray[np.float64] = np.clip(tail, 1e-300, 1.0)
        return clipped

    def tails(self, keys: Profile) -> npt.NDArray[np.float64]:
        """`tail` of all levels of n records, `(n, LEVELS) float64`; kept for the last records."""
        if keys is not self._compared:
            self._compared, self._shares = keys, self.tail(slice(None), keys.level)
        return self._shares

    def snapshot(self) -> bytes:
        """What was learned as bytes, for the partition's state."""
        arrays = np.stack([self.past, self.today]).astype("<f4")
        learned = np.array([self.day, LEVELS], "<i4").tobytes() + arrays.tobytes()
        return learned + self.mean.snapshot()

    def restore(self, data: bytes) -> None:
        """Restore what `snapshot` returned, in this or an earlier version."""
        self.day, levels = np.frombuffer(data[:8], "<i4").tolist()
        first = len(data) == 8 + 2 * _EARLIER_LEVELS[1] * BINS * 4
        levels = levels or _EARLIER_LEVELS[1 if first else 2]
        end = 8 + 2 * levels * BINS * 4
        arrays = np.frombuffer(data[8:end], "<f4").reshape(2, levels, BINS)
        self.past[:levels], self.today[:levels] = arrays
        # Levels that are newer than the state: today's keys have not reached any of them yet.
        self.past[levels:], self.today[levels:] = 0.0, 0.0
        self.today[levels:, 0] = self.today[0].sum()
        if not first:
            self.mean.restore(data[end:])
        self._fit()


def _share_from(counts: Histogram) -> Histogram:
    """Share of key-days at or above the lower edge of each bin, as `counts`."""
    total = np.maximum(counts.sum(axis=1), 1.0)
    return np.asarray(np.cumsum(counts[:, ::-1], axis=1)[:, ::-1] / total[:, None])


def _tails(counts: Histogram) -> tuple[Histogram, Histogram]:
    """The level at which the tail of each histogram begins, and its mean excess, `(LEVELS,)`."""
    first = np.minimum((_share_from(counts) >= TAIL).sum(axis=1), BINS - 1)
    excess = np.empty(LEVELS)
    for i in range(LEVELS):
        above = counts[i, first[i] :]
        beyond = float(above @ (_BIN_CENTRES[first[i] :] - first[i] / PER_LEVEL))
        excess[i] = (beyond + EXCESS * EXCESS_WEIGHT) / (above.sum() + EXCESS_WEIGHT)
    return first / PER_LEVEL, excess


@jit
def has_vote(r: Any, trusted: bool) -> bool:
    """Whether the key of one RECORD counts in the baseline, see `Baseline`."""
    if trusted:
        return True
    return bool(r["requests"] >= VOTE_REQUESTS and r["last_seen"] - r["first_seen"] >= VOTE_AGE)


@jit
def update_peaks(r: Any, levels: Any, first_today: bool, voted: bool, today: Any) -> None:
    """Store the levels in a key's record, with their peaks of the hour and of the day.

    Args:
        levels: `(LEVELS,) float64`.
        first_today: whether this is the key's first request of the day.
        voted: whether the key counted in the baseline before this request.
        today: the partition's `Today`; its peaks are updated in place.
    """
    votes, peaks = has_vote(r, today.trusted), today.peaks
    for i in range(LEVELS):
        level = min(levels[i], MAX_LEVEL)
        r["level"][i] = level
        if i < OWN:
            r["hour_peak"][i] = max(r["hour_peak"][i], level)
        before = 0 if first_today else np.int64(r["day_peak"][i])
        peak = max(before, int(level * PER_LEVEL))
        r["day_peak"][i] = peak
        if not votes or peak == EXCLUDED:
            continue
        if first_today or not voted:
            peaks[i, peak] += 1.0
        elif peak > before:
            peaks[i, before] -= 1.0
            peaks[i, peak] += 1.0


@jit
def _set_level(
    records: Any, which: int, rows: Any, levels: Any, day: int, trusted: bool, peaks: Any
) -> None:
    """See `Baseline.set_level`; `peaks`, `(BINS,) float64`, are those of today."""
    for i in range(len(rows)):
        r, level = records[rows[i]], np.float32(min(levels[i], MAX_LEVEL))
        before = r["day_peak"][which]
        peak = max(before, np.uint8(level * PER_LEVEL))
        r["level"][which], r["day_peak"][which] = level, peak
        if r["day"] == day and before != EXCLUDED and has_vote(r, trusted):
            peaks[before] -= 1.0
            peaks[peak] += 1.0


@jit
def _exclude(records: Any, row: int, day: int, trusted: bool, today: Any) -> None:
    """See `Baseline.exclude`; `today`, `(LEVELS, BINS) float64`, are its histograms."""
    r = records[row]
    peaks, counts = r["day_peak"], r["day"] == day
    for i in range(LEVELS):
        counts &= peaks[i] != EXCLUDED
    if counts:
        votes = has_vote(r, trusted)
        for i in range(LEVELS):
            if votes:
                today[i, peaks[i]] -= 1.0
            peaks[i] = EXCLUDED  # excludes its later requests of today, too


@jit
def set_levels(r: Any, levels: Any) -> None:
    """Store the levels in a record that does not count in the baseline."""
    for i in range(LEVELS):
        level = min(levels[i], MAX_LEVEL)
        r["level"][i] = level
        r["day_peak"][i] = EXCLUDED
        if i < OWN:
            r["hour_peak"][i] = max(r["hour_peak"][i], level)


def load_reference(file: Path | None) -> Reference:
    """Load a reference from a file, or the shipped one.

    Raises:
        ConfigError: if the file cannot be read.
    """
    if file is None:
        return shipped_reference()
    try:
        return read_reference(file.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"XM_REFERENCE names {file}, which cannot be read: {error.strerror}."
        ) from error


@lru_cache(1)
def shipped_reference() -> Reference:
    """The reference in the package; its file states its source."""
    text = resources.files("monitor.records").joinpath("reference.json").read_bytes()
    return read_reference(text)


def read_reference(text: bytes) -> Reference:
    """Read a reference that `xm calibrate` wrote. Levels that it lacks have no key-days.

    Raises:
        ConfigError: if it is not a reference of this version.
    """
    try:
        document: dict[str, Any] = msgspec.json.decode(text)
        found: list[Any] = document["key_days"]
        peaks = np.zeros((LEVELS, BINS))
        peaks[: len(found)] = _array(found, (max(len(found), _REFERENCE_LEVELS), BINS))
        meaning = _array(document["meaning"], (GROUPS, MEANING))
        prompts = _array(document["prompts"], (GROUPS,))
    except (ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise ConfigError(
            f"This is not a reference of this version ({error}). Make one with `xm calibrate`."
        ) from error
    return Reference(peaks, Sums(meaning, prompts))


def write_reference(reference: Reference, **notes: object) -> bytes:
    """A reference as JSON, with notes on its source."""
    document = {
        **notes,
        "key_days": reference.peaks.round(3).tolist(),
        "meaning": reference.mean.vectors.round(1).tolist(),
        "prompts": reference.mean.prompts.round(1).tolist(),
    }
    return msgspec.json.encode(document) + b"\n"


def _array(values: object, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    array = np.array(values, np.float64)
    if array.shape != shape:
        raise ValueError(f"its shape is {array.shape}, not {shape}")
    return array
