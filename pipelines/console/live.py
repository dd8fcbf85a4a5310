"""A text that is made once for all who want the same."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

_KEPT = 64  # texts


class Once:
    """Keeps the latest texts. Threads may share it: only one makes a text, the others wait."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, str] = OrderedDict()
        self._making = threading.Lock()

    def __call__(self, name: Hashable, make: Callable[[], str]) -> str:
        """The text of a name, made if it is not kept."""
        with self._making:
            text = self._known.get(name)
            if text is None:
                text = self._known[name] = make()
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            return text
