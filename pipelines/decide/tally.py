"""Counts what is enforced and what is held back, for the metrics."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from monitor.alerting.alerts import ACTIONS
from monitor.alerting.enforcement import CAPS, KILL, SHADOW
from pipelines.decide.copy import DecisionCopy
from pipelines.decide.metrics import HOLDS, LookupMetrics

_SECONDS = 5.0  # between counts
_SLICE = 50  # subjects that are counted before look-ups have their turn


class Tally:
    """Sets the metrics of enforcement.

    Args:
        copy: of the decisions.
        metrics: are set.
        shadow: the setting.

    Attributes:
        enforced: subjects by the action that applies, as of the latest count.
    """

    def __init__(self, copy: DecisionCopy, metrics: LookupMetrics, *, shadow: bool) -> None:
        self._copy, self._metrics, self._shadow = copy, metrics, shadow
        self.enforced: dict[str, int] = {}

    async def run(self) -> None:
        """Count every few seconds until cancelled."""
        while True:
            await self.count()
            await asyncio.sleep(_SECONDS)

    async def count(self) -> None:
        """Count once."""
        control, now = self._copy.control, time.time()
        for name, is_on in (
            (KILL, control.is_on(KILL, now, default=False)),
            (SHADOW, control.is_on(SHADOW, now, default=self._shadow)),
            ("caps_lifted", not control.is_on(CAPS, now, default=True)),
        ):
            self._metrics.switches.labels(name).set(is_on)
        self._metrics.enforcing.set(not self._copy.passes_all)
        enforced, held_back = Counter[str](), Counter[str]()
        for n, subject in enumerate(self._copy.subjects):
            if n % _SLICE == 0:
                await asyncio.sleep(0)
            found = self._copy.find((subject,), now)
            enforced[found.action] += 1
            held_back[found.why] += found.action != found.would_be
        self.enforced = {action: enforced[action] for action in ACTIONS[1:] if enforced[action]}
        for action in ACTIONS[1:]:
            self._metrics.enforced.labels(action).set(enforced[action])
        for why in HOLDS:
            self._metrics.held_back.labels(why).set(held_back[why])
