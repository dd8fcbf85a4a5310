"""The lists of favoured tokens, as tensors on the device of the logits.

PyTorch is not imported here: tensors are made from those of the model server.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from monitor.config import Settings, load
from monitor.tracing.marks import marking_secret
from monitor.tracing.watermark import Watermark

_KEPT = 64  # lists, of a byte per token each
_NONE = -1


class TokenLists:
    """Adds to the logits of favoured tokens.

    Args:
        settings: default: from XM_* variables and the settings file.

    Raises:
        ConfigError: if there is no secret, or a setting is invalid.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings or load()
        self._tracing = settings.tracing
        self._secret = marking_secret(settings)
        self._kept: OrderedDict[tuple[str, str, int], Any] = OrderedDict()

    def add(self, logits: Any, mark: str, previous: Any = None) -> Any:
        """The logits with a mark. A token that is excluded (minus infinity) stays excluded.

        Args:
            logits: `(rows, vocabulary)`, a floating-point tensor.
            mark: its id.
            previous: int64 `(rows,)`, the token before each; not needed by scheme `fixed`.
        """
        if self._tracing.scheme == "fixed" or previous is None:
            favoured = self._fixed(logits, mark)
        else:
            tokens = self._vocabulary(logits)
            favoured = self._watermark(mark).has(previous.reshape(-1, 1), tokens.reshape(1, -1))
        return logits + self._tracing.strength * favoured

    @property
    def needs_previous(self) -> bool:
        """Whether a list depends on the token before."""
        return self._tracing.scheme == "context"

    def _watermark(self, mark: str) -> Watermark:
        tracing = self._tracing
        return Watermark.of(self._secret, mark, tracing.scheme, tracing.share)

    def _fixed(self, logits: Any, mark: str) -> Any:
        """The list of a mark; with scheme `context` the one after no token."""

        def make() -> Any:
            tokens = np.arange(logits.shape[-1])
            found = self._watermark(mark).list_after(_NONE, tokens)
            return _like(logits, found)

        return self._cached((mark, str(logits.device), logits.shape[-1]), make)

    def _vocabulary(self, logits: Any) -> Any:
        key = ("", str(logits.device), logits.shape[-1])
        return self._cached(key, lambda: _like(logits, np.arange(logits.shape[-1])))

    def _cached(self, key: tuple[str, str, int], make: Any) -> Any:
        if key not in self._kept:
            self._kept[key] = make()
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def _like(logits: Any, array: Any) -> Any:
    """An array as a tensor on the device of the logits."""
    if isinstance(logits, np.ndarray):
        return array
    from torch import as_tensor

    return as_tensor(array, device=logits.device)
