"""How often the console may be asked, per client address and per person, and signed on to.

The limits are far above what people do. An IPv6 client counts by its /64, which one customer has.
Checking a token costs CPU time and 19 MiB, so one is checked at a time, and few wait. Whoever sends
many from many addresses delays sign-ons, but not pages.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import TypeVar

from pipelines.web.limits import RateLimiter

Clock = Callable[[], float]  # monotonic time, seconds

_PEOPLE = 5.0  # at one address, at their full rates
_BURST_SECONDS = 5.0
_SIGN_ONS, _SIGN_ON_BURST = 0.2, 10.0  # attempts per second and address, and at once
_CHECKS = 16  # of tokens, with those that wait
_T = TypeVar("_T")


class TooManyError(Exception):
    """More requests than are permitted.

    Attributes:
        seconds: until one is permitted again.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = math.ceil(seconds)
        super().__init__(f"Too many requests: wait {self.seconds} s, then try again.")


class Rates:
    """Counts requests, and raises `TooManyError` for one too many.

    Args:
        rate: requests of one person per second.
    """

    def __init__(self, rate: float, clock: Clock) -> None:
        self._rate, self._clock = rate, clock
        self._addresses, self._people = RateLimiter(), RateLimiter()

    def address(self, address: str) -> None:
        """Count a request from an address."""
        _count(self._addresses, _group(address), self._clock(), _PEOPLE * self._rate)

    def person(self, name: str) -> None:
        """Count a request of a person."""
        _count(self._people, name, self._clock(), self._rate)


class SignOnRates:
    """Bounds the attempts to sign on, and raises `TooManyError` for one too many."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._addresses = RateLimiter()
        self._turn = asyncio.Lock()
        self._checks = 0

    async def check(self, address: str, check: Callable[[], _T]) -> _T:
        """Run a check of a token in a thread, when its turn comes."""
        _count(self._addresses, _group(address), self._clock(), _SIGN_ONS, _SIGN_ON_BURST)
        if self._checks >= _CHECKS:
            raise TooManyError(1.0)
        self._checks += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(check)
        finally:
            self._checks -= 1


def _count(
    limiter: RateLimiter, name: str, now: float, rate: float, burst: float | None = None
) -> None:
    wait = limiter.wait(name, now, rate, rate * _BURST_SECONDS if burst is None else burst)
    if wait:
        raise TooManyError(wait)


def _group(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return address
