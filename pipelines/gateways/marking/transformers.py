"""Transformers: marks what `generate` writes.

    from pipelines.gateways.marking.transformers import MarkLogits

    model.generate(**inputs, do_sample=True, logits_processor=[MarkLogits("m_5e2a…")])

The mark id is that of the decision on the key, see `X-XM-Mark`. Settings are those of the monitor:
XM_TRACING__SECRET_FILE, XM_TRACING__SCHEME and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monitor.config import Settings
from monitor.errors import InputError
from monitor.tracing.marks import is_mark
from pipelines.gateways.marking.lists import TokenLists


class MarkLogits:
    """A logits processor.

    Args:
        marks: one for all sequences, or one for each prompt of the batch; `None` leaves it
            unmarked.
        settings: default: from XM_* variables and the settings file.

    Raises:
        ConfigError: if there is no secret, or a setting is invalid.
        InputError: if a mark id has another form.
    """

    def __init__(
        self, marks: str | Sequence[str | None] | None, settings: Settings | None = None
    ) -> None:
        self._marks = [marks] if isinstance(marks, str) or marks is None else list(marks)
        for mark in self._marks:
            if mark is not None and not is_mark(mark):
                raise InputError(f"{mark!r} is not a mark id: pass the value of X-XM-Mark.")
        self._lists = TokenLists(settings)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """The scores of the next token.

        Args:
            input_ids: int64 `(rows, length)`. A prompt has several rows if beams are searched.
            scores: `(rows, vocabulary)`.
        """
        previous = input_ids[:, -1] if self._lists.needs_previous else None
        rows = scores.shape[0] // len(self._marks)
        marked = scores + 0.0  # the caller's tensor is not changed
        for i, mark in enumerate(self._marks):
            if mark is not None:
                part = slice(i * rows, (i + 1) * rows)
                marked[part] = self._lists.add(
                    scores[part], mark, None if previous is None else previous[part]
                )
        return marked
