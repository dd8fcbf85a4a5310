"""Pauses between attempts."""

from __future__ import annotations

import random
from collections.abc import Iterator


def pauses(first: float, longest: float) -> Iterator[float]:
    """Seconds to wait before each further attempt, without end: doubling, with jitter.

    Jitter (a factor from 0.5 to 1) keeps clients from retrying at the same moment.
    """
    pause = first
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(2 * pause, longest)
