"""Rate limits, by name, in the memory of one process.

Each name may do a burst at once and then go on at its rate. The limiter keeps one number per name:
the time up to which its requests are paid for (the generic cell rate algorithm, GCRA, of ATM
Forum's Traffic Management 4.0). A name that is not kept has its whole burst.
"""

from __future__ import annotations

from collections import OrderedDict


class RateLimiter:
    """Limits the rate of each name.

    Args:
        most: names to keep; the one used longest ago is dropped first.
    """

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._paid: OrderedDict[str, float] = OrderedDict()

    def wait(self, name: str, now: float, rate: float, burst: float) -> float:
        """Count a request, and return 0; or seconds until it is permitted, and count nothing.

        Args:
            now: monotonic time, seconds.
            rate: requests per second, above 0.
            burst: requests that may come at once, at least 1.
        """
        paid = max(self._paid.get(name, now), now)
        early = paid + 1.0 / rate - burst / rate - now
        if early > 0.0:
            return early
        self._paid[name] = paid + 1.0 / rate
        self._paid.move_to_end(name)
        if len(self._paid) > self._most:
            self._paid.popitem(last=False)
        return 0.0
