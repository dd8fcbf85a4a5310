"""The speed of verifying a long chain: `python -m tests.benchmarks.speed.chain`.

Each entry is as long as that of an alert. Three keys sign in turn, as after two rotations.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from monitor.evidence.chain import check, seal
from monitor.evidence.entries import Entry, Noted
from monitor.evidence.links import digest
from monitor.evidence.ring import Ring
from tests.support.chains import CASE, START, new_signer

_TEXT = 500  # characters of an entry's body
_REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    chosen = parser.parse_args()
    signers = [new_signer() for _ in range(3)]
    ring = Ring(signer.public for signer in signers)
    lines: list[bytes] = []
    previous, begun = "", time.process_time()
    for number in range(1, chosen.entries + 1):
        signer = signers[(number - 1) * len(signers) // chosen.entries]
        body = Noted(f"{number:,} " * (_TEXT // 10))
        lines.append(seal(Entry(CASE, number, previous, START + number, "monitor", body), signer))
        previous = digest(lines[-1])
    print(f"sealed    {chosen.entries / (time.process_time() - begun):>10,.0f} entries/s")
    size = sum(map(len, lines)) / len(lines)
    print(f"an entry has {size:,.0f} bytes")
    report, seconds = _median(lambda: check(lines, ring).ok)
    assert report
    print(f"verified  {chosen.entries / seconds:>10,.0f} entries/s, newest of each run of a key")
    few = lines[: min(5_000, chosen.entries)]
    _, seconds = _median(lambda: check(few, ring, each=True).ok)
    print(f"verified  {len(few) / seconds:>10,.0f} entries/s, each signature")


def _median(call: Callable[[], bool]) -> tuple[bool, float]:
    """The result, and the median CPU time in seconds."""
    times = []
    for _ in range(_REPEATS):
        begun = time.process_time()
        result = call()
        times.append(time.process_time() - begun)
    return result, statistics.median(times)


if __name__ == "__main__":
    main()
