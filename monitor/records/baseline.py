"""The public at large: how far ordinary keys get in a day.

For every statistic the public keeps one histogram: keys by the highest level that each reached
in a day. A key weighs one a day, however much it sends, so a big customer or a campaign cannot
drag it. The share of key-days at or above a level is then the probability that an ordinary key
ever gets there on a day, and looking continuously costs nothing: the peak is the supremum over
all looks. Beyond the highest two in a thousand, where there is little to count, the tail is
taken as exponential in the level (a power law in counts), its scale the mean excess there (the
Hill estimator; B. M. Hill, Annals of Statistics 3, 1975) shrunk towards a prior.

What is known is the shipped reference (statistics of ordinary days, no prompt) and this
deployment's past days, fading. A day counts when it is over, without the keys that were accused
on it: whoever comes with a thousand accounts finds the public as it was before. Each partition
has a public of its own, a fair sample of all keys, which changes at the end of a day of event
time only, so that verdicts depend neither on how the stream was cut into batches nor on how it is
shared among workers.

Where the prompts of the public lie is its mean's to know (`baseline_mean.py`).
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
from monitor.prompts.kernel import MEANING
from monitor.records.baseline_mean import GROUPS, BaselineMean, Sums
from monitor.records.profile import FARTHEST, LEVELS

PER_LEVEL = 4  # bins to a level
BINS = 128
TAIL = 0.002  # the share of key-days beyond which the tail is extrapolated
CEILING = 0.001  # the share of key-days beyond which a level does not count as anyone's own past
EXCESS, EXCESS_WEIGHT = 0.5, 10.0  # prior of the mean excess, in levels, and its worth in keys
MEMORY_DAYS = 7.0  # half-life of past days

_EARLIER = {1: 10, 2: 16}  # levels that earlier versions knew; the first one knew no mean

Histogram = npt.NDArray[np.float64]
_MIDDLE = (np.arange(BINS) + 0.5) / PER_LEVEL  # of the bins


class Reference(NamedTuple):
    """What a deployment starts from: key-days by peak, and sums of what their prompts mean."""

    peaks: Histogram
    mean: Sums

    @classmethod
    def none(cls) -> Reference:
        return cls(np.zeros((LEVELS, BINS)), Sums.none())


class Baseline:
    """Histograms of day peaks, `(LEVELS, BINS) float64`, and the tails they imply.

    Args:
        reference: what the deployment starts from.

    Attributes:
        mean: where the prompts of the public lie.
    """

    def __init__(self, reference: Reference) -> None:
        self.reference = reference.peaks
        self.mean = BaselineMean(reference.mean)
        self.past = np.zeros((LEVELS, BINS))
        self.today = np.zeros((LEVELS, BINS))
        self.day = 0
        self._fit()

    def __repr__(self) -> str:
        return f"Public({self.total[0]:.0f} key-days)"

    def turn(self, day: int) -> bool:
        """Begin a new day, if it is one: today becomes past, and the past fades."""
        if day <= self.day:
            return False
        if self.day:
            faded = (self.past + self.today) * 0.5 ** ((day - self.day) / MEMORY_DAYS)
            self.past = faded.astype("<f4").astype(np.float64)  # as `dump` keeps it
            self._fit()
            self.mean.turn(self.day)
        self.today[:] = 0.0
        self.day = day
        return True

    def reach(self, records: Any, which: int, rows: Any, levels: Any) -> None:
        """Take levels that no kernel knows into records, in stream order, and into today.

        Args:
            records: the table, updated in place.
            which: the statistic.
            rows: `(n,) int64`, which records; one may be there several times.
            levels: `(n,) float64`.
        """
        levels = np.minimum(levels, FARTHEST).astype(np.float32)
        each, where = np.unique(rows, return_inverse=True)
        before = records["day_peak"][each, which]
        peaks = before.copy()
        np.maximum.at(peaks, where, levels)
        records["level"][rows, which] = levels
        records["day_peak"][each, which] = peaks
        counted = (records["day"][each] == self.day) & np.isfinite(before)
        for values, change in ((before, -1.0), (peaks, 1.0)):
            bins = (values[counted] * PER_LEVEL).astype(np.int64)
            np.add.at(self.today[which], np.minimum(bins, BINS - 1), change)

    def withdraw(self, record: Any) -> None:
        """Take a key out of today: it is accused of not being one of the public."""
        peaks = record["day_peak"]
        if record["day"] == self.day and np.isfinite(peaks).all():
            bins = np.minimum((peaks * PER_LEVEL).astype(np.int64), BINS - 1)
            self.today[np.arange(LEVELS), bins] -= 1.0
            record["day_peak"] = np.inf  # nothing that follows on this day counts either

    def _fit(self) -> None:
        """The tails that the reference and the past imply."""
        counts = self.reference + self.past
        self.total = counts.sum(axis=1)
        # Share of key-days at or above the lower edge of each bin.
        self._share = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1] / np.maximum(
            self.total[:, None], 1.0
        )
        self._edge, self._excess = np.empty(LEVELS), np.empty(LEVELS)
        self.ceiling = np.empty(LEVELS)
        for i in range(LEVELS):
            first = int(np.searchsorted(-self._share[i], -TAIL, side="right"))
            first = min(first, BINS - 1)
            above = counts[i, first:]
            beyond = float(above @ (_MIDDLE[first:] - first / PER_LEVEL))
            self._edge[i] = first / PER_LEVEL
            self._excess[i] = (beyond + EXCESS * EXCESS_WEIGHT) / (above.sum() + EXCESS_WEIGHT)
            least = max(CEILING, 1.0 / max(self.total[i], 1.0))
            last = int(np.searchsorted(-self._share[i], -least, side="right"))
            self.ceiling[i] = last / PER_LEVEL
        edge_bin = (self._edge * PER_LEVEL).astype(int)
        # Half a key more than was seen: nothing is impossible for having been seen by none.
        self._at_edge = np.maximum(
            self._share[np.arange(LEVELS), edge_bin], 0.5 / np.maximum(self.total, 1.0)
        )

    def tail(
        self, which: slice | npt.NDArray[np.int64], levels: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Probability that an ordinary key reaches such levels on a day.

        Args:
            which: the statistics, k of them.
            levels: `(n, k) float64`.

        Returns:
            `(n, k) float64`, in (0, 1].
        """
        columns = np.arange(LEVELS)[which]
        bins = np.minimum((levels * PER_LEVEL).astype(np.int64), BINS - 1)
        body = self._share[columns, bins]
        beyond = np.maximum(levels - self._edge[columns], 0.0)
        extrapolated = self._at_edge[columns] * np.exp(-beyond / self._excess[columns])
        tail = np.where(levels >= self._edge[columns], extrapolated, body)
        clipped: npt.NDArray[np.float64] = np.clip(tail, 1e-300, 1.0)
        return clipped

    def dump(self) -> bytes:
        """What the public has learned, for the partition's state."""
        arrays = np.stack([self.past, self.today]).astype("<f4")
        learned = np.array([self.day, LEVELS], "<i4").tobytes() + arrays.tobytes()
        return learned + self.mean.dump()

    def restore(self, data: bytes) -> None:
        """Take up what `dump` gave."""
        self.day, levels = np.frombuffer(data[:8], "<i4").tolist()
        first = len(data) == 8 + 2 * _EARLIER[1] * BINS * 4
        levels = levels or _EARLIER[1 if first else 2]
        end = 8 + 2 * levels * BINS * 4
        arrays = np.frombuffer(data[8:end], "<f4").reshape(2, levels, BINS)
        self.past[:levels], self.today[:levels] = arrays
        if not first:
            self.mean.restore(data[end:])
        self._fit()


def load_reference(file: Path | None) -> Reference:
    """The reference in a file, or the shipped one.

    Raises:
        ConfigError: if the file cannot be used.
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
    """The reference in the package; its file says where it is from."""
    text = resources.files("monitor.records").joinpath("reference.json").read_bytes()
    return read_reference(text)


def read_reference(text: bytes) -> Reference:
    """Read a reference as `xm calibrate` writes it.

    Raises:
        ConfigError: if it is not one.
    """
    try:
        document: dict[str, Any] = msgspec.json.decode(text)
        peaks = _array(document["key_days"], (LEVELS, BINS))
        meaning = _array(document["meaning"], (GROUPS, MEANING))
        prompts = _array(document["prompts"], (GROUPS,))
    except (ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise ConfigError(
            f"This is no reference of this version ({error}): make one with `xm calibrate`."
        ) from error
    mean = Sums.none()
    mean.vectors[:, :MEANING], mean.prompts[:, 0] = meaning, prompts
    return Reference(peaks, mean)


def write_reference(reference: Reference, **notes: object) -> bytes:
    """A reference as JSON, with notes on where it is from. Of the mean, what needs no secret."""
    document = {
        **notes,
        "key_days": reference.peaks.round(3).tolist(),
        "meaning": reference.mean.vectors[:, :MEANING].round(1).tolist(),
        "prompts": reference.mean.prompts[:, 0].round(1).tolist(),
    }
    return msgspec.json.encode(document) + b"\n"


def _array(values: object, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    array = np.array(values, np.float64)
    if array.shape != shape:
        raise ValueError(f"its shape is {array.shape}, not {shape}")
    return array
