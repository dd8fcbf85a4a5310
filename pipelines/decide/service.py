"""Answers gateways: from the headers of a request to the strongest decision on what they name.

A request is judged by all keys that it names, in all forms in which a log may hold them, and by
the account and the end user that the gateway names in `X-XM-Account` and `X-XM-End-User`. A gateway
must set these two headers itself, or remove them from what a client sends.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain

from monitor import config
from monitor.identity import Identity
from monitor.requests.mappings import FieldMapping
from pipelines.decide.copy import DecisionCopy
from pipelines.decide.metrics import LABELS, LookupMetrics
from pipelines.gateways import answers
from pipelines.gateways.answers import Answer
from pipelines.gateways.keys import KeyReader, is_short, key_forms
from pipelines.web.limits import RateLimiter

ACCOUNT_HEADER, END_USER_HEADER = "x-xm-account", "x-xm-end-user"
_CACHED = 10_000  # requests with the same keys, in memory
_BURST_SECONDS = 5.0  # of the rate of a throttled subject, that may come at once
_LEAST_BURST = 2.0  # requests
_DEFAULT_RATE = 60.0  # requests per minute, if a decision has none


class DecisionService:
    """Answers the requests of gateways from memory; never raises, and never waits.

    Args:
        settings: where keys are, and what to do while Redis is away.
        copy: has the decisions.
        identity: makes pseudonyms. Not the one of the stream: a flood of made-up keys would push
            the keys of the stream out of its cache.
        mapping: of the log, which names keys in a form of its own.
        metrics: counts answers.
    """

    def __init__(
        self,
        settings: config.Gateway,
        copy: DecisionCopy,
        identity: Identity,
        mapping: FieldMapping,
        metrics: LookupMetrics,
    ) -> None:
        self.copy = copy
        self._reader = KeyReader(settings)
        self._stale_seconds, self._closed = settings.stale_seconds, settings.fail == "closed"
        self._identity, self._mapping = identity, mapping
        self._counts = {label: metrics.lookups.labels(label) for label in LABELS}
        self._limiter = RateLimiter()
        self._cached_subjects = lru_cache(_CACHED)(self._subjects)

    def answer(
        self, headers: Sequence[tuple[str, str]], query: str = "", *, admit: bool = False
    ) -> Answer:
        """The answer to one request.

        Args:
            headers: all header lines of the request.
            query: of its URL, not decoded.
            admit: count the request, and refuse one of a throttled subject beyond its rate.
        """
        answer = self._answer(headers, query, admit)
        self._counts[answer.label].inc()
        return answer

    def subjects(
        self, keys: Iterable[str], accounts: Iterable[str] = (), end_users: Iterable[str] = ()
    ) -> list[str]:
        """The pseudonyms by which keys, accounts and end users of these keys are looked up."""
        named = tuple(keys), tuple(accounts), tuple(end_users)
        short = is_short(chain.from_iterable(named))
        return (self._cached_subjects if short else self._subjects)(*named)

    def _subjects(
        self, keys: tuple[str, ...], accounts: tuple[str, ...], end_users: tuple[str, ...]
    ) -> list[str]:
        forms = [form for key in keys for form in key_forms(key, self._mapping)]
        return [
            *map(self._identity.key, forms),
            *map(self._identity.account, accounts),
            *(self._identity.end_user(form, each) for each in end_users for form in forms),
        ]

    @property
    def known(self) -> bool:
        """Whether the copy is up to date."""
        return self.copy.age <= self._stale_seconds

    def _answer(self, headers: Sequence[tuple[str, str]], query: str, admit: bool) -> Answer:
        named = self._reader.read(headers, query)
        subjects = self.subjects(
            named.keys, _values(headers, ACCOUNT_HEADER), _values(headers, END_USER_HEADER)
        )
        if not subjects:
            refuse = answers.unreadable_key if named.unreadable else answers.no_key
            return refuse(shadow=self.copy.passes_all)
        now = time.time()
        found = self.copy.find(subjects, now)
        if named.unreadable and found.action != "block":
            return answers.unreadable_key(shadow=self.copy.passes_all)
        if found.decision is None and not self.known:
            return answers.unknown(closed=self._closed, shadow=self.copy.passes_all)
        answer = answers.decided(found, now)
        if admit and found.action == "throttle" and found.decision is not None:
            wait = self._wait(found.decision.key, found.decision.rate)
            return answers.exceeded(answer, wait) if wait else answer
        return answer

    def _wait(self, subject: str, rate: float | None) -> float:
        """Seconds until a throttled subject is within its rate; 0 if it is, and counts."""
        per_second = max(rate or _DEFAULT_RATE, 0.1) / 60.0
        burst = max(_LEAST_BURST, per_second * _BURST_SECONDS)
        return self._limiter.wait(subject, time.monotonic(), per_second, burst)


def _values(headers: Iterable[tuple[str, str]], name: str) -> Iterator[str]:
    return (value for each, value in headers if value and each.lower() == name)
