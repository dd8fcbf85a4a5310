"""Values that are made once for all callers that need them at the same time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

_KEPT = 64  # values
_T = TypeVar("_T")


class Once:
    """Makes values in threads and keeps the latest. Waiting for one holds no thread."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, asyncio.Task[Any]] = OrderedDict()

    async def __call__(self, name: Hashable, make: Callable[[], _T]) -> _T:
        """The value of a name, made unless it is kept."""
        task = self._known.get(name)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._known[name] = asyncio.create_task(asyncio.to_thread(make))
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return cast("_T", await asyncio.shield(task))
