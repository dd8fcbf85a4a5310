"""Answers gateways: from the headers of a request to the strongest decision on what they name.

A request is judged by all keys that it names, in all forms in which a log may hold them, and by
the account and the end user that the gateway names in `X-XM-Account` and `X-XM-End-User`. A gateway
must set these two headers itself, or remove them from what a client sends.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from monitor.identity import Identity
from monitor.metrics import Metrics
from monitor.requests.mappings import FieldMapping
from pipelines.gateways import answers
from pipelines.gateways.answers import Answer
from pipelines.gateways.decisions import Decisions
from pipelines.gateways.keys import KeyReader, key_forms

ACCOUNT_HEADER, END_USER_HEADER = "x-xm-account", "x-xm-end-user"


class DecisionService:
    """Answers the requests of gateways; never raises, and never waits longer than a lookup.

    Args:
        reader: finds the keys that a request names.
        decisions: finds decisions.
        identity: makes pseudonyms. Not the one of the stream: a flood of made-up keys would push
            the keys of the stream out of its cache.
        mapping: of the log, which names keys in a form of its own.
        metrics: counts answers.
        shadow: whether to let every request pass.
    """

    def __init__(
        self,
        reader: KeyReader,
        decisions: Decisions,
        identity: Identity,
        mapping: FieldMapping,
        metrics: Metrics,
        *,
        shadow: bool,
    ) -> None:
        self._reader, self._decisions, self._identity = reader, decisions, identity
        self._mapping, self._metrics, self._shadow = mapping, metrics, shadow

    async def answer(self, headers: Iterable[tuple[str, str]], query: str = "") -> Answer:
        """The answer to one request.

        Args:
            headers: all header lines of the request.
            query: of its URL, not decoded.
        """
        answer = await self._answer(list(headers), query)
        self._metrics.decision_lookups.labels(answer.label).inc()
        return answer

    async def close(self) -> None:
        """Give up waiting lookups."""
        await self._decisions.close()

    async def _answer(self, headers: Sequence[tuple[str, str]], query: str) -> Answer:
        named = self._reader.read(headers, query)
        subjects = list(self._subjects(named.keys, headers))
        if not subjects:
            refuse = answers.unreadable_key if named.unreadable else answers.no_key
            return refuse(shadow=self._shadow)
        found = await self._decisions.find(subjects)
        blocked = found.decision is not None and found.decision.action == "block"
        if named.unreadable and not blocked:
            return answers.unreadable_key(shadow=self._shadow)
        return answers.decided(found, shadow=self._shadow, now=time.time())

    def _subjects(self, keys: Sequence[str], headers: Sequence[tuple[str, str]]) -> Iterator[str]:
        """The pseudonyms of keys, and of the account and end users that the gateway names."""
        forms = [form for key in keys for form in key_forms(key, self._mapping)]
        yield from map(self._identity.key, forms)
        for name, value in headers:
            if value and name.lower() == ACCOUNT_HEADER:
                yield self._identity.account(value)
            elif value and name.lower() == END_USER_HEADER:
                yield from (self._identity.end_user(form, value) for form in forms)
