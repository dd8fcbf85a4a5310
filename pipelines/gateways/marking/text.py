"""Text: marks finished or streamed text by its wordings, where nobody has the logits."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import lru_cache

from monitor.config import Settings
from monitor.tracing.choices import Wordings, load_groups
from monitor.tracing.keyed_hash import HashKey
from monitor.tracing.marks import mark_key, marking_secret

_END = re.compile(r"\n|[.!?]\s")
_FENCE = re.compile(r"```|~~~")
_LONGEST = 4_000  # characters that are held back


class TextMarker:
    """Marks text.

    Args:
        settings: the marking secret, and the file of wordings.

    Raises:
        ConfigError: if there is no secret, or the file cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        secret = marking_secret(settings)
        self._wordings = Wordings(load_groups(settings.tracing.variants_file))
        self._key = lru_cache(1024)(lambda mark: mark_key(secret, mark, "mark wordings"))

    def mark(self, text: str, mark: str) -> str:
        """A text with a mark."""
        return self._wordings.mark(text, self._key(mark))

    def stream(self, mark: str) -> TextStream:
        """Marks a text that comes in parts."""
        return TextStream(self._wordings, self._key(mark))


class TextStream:
    """A text that comes in parts. Each sentence is passed on once it is complete.

    The result is the same as for the whole text at once.
    """

    def __init__(self, wordings: Wordings, key: HashKey) -> None:
        self._wordings = wordings
        self._key = key
        self._text = ""
        self._sent = 0  # characters of the marked text

    def feed(self, part: str) -> str:
        """Add a part; what can be passed on."""
        before = len(self._text)
        self._text += part
        return self._up_to(_settled(self._text, max(before - _LONGEST, 0)))

    def end(self) -> str:
        """The rest."""
        return self._up_to(len(self._text))

    def _up_to(self, end: int) -> str:
        marked = self._wordings.mark(self._text[:end], self._key)
        found, self._sent = marked[self._sent :], max(self._sent, len(marked))
        return found


async def marked_parts(parts: AsyncIterator[str], stream: TextStream) -> AsyncIterator[str]:
    """The parts of a text with its mark."""
    async for part in parts:
        if found := stream.feed(part):
            yield found
    if rest := stream.end():
        yield rest


def _settled(text: str, _from: int) -> int:
    """Where the last sentence or line ends without an open quotation in its line."""
    for match in reversed(list(_END.finditer(text, _from))):
        line = text[text.rfind("\n", 0, match.end() - 1) + 1 : match.end()]
        if match[0] == "\n" or (line.count('"') % 2 == 0 and line.count("`") % 2 == 0):
            return match.end()
    return 0
