"""Cleaning: what a prompt says, whatever hides it."""

from __future__ import annotations

from monitor.prompts.cleaning.decoding import decode, split
from monitor.prompts.cleaning.folding import fold, show
from monitor.prompts.cleaning.inspection import is_encoded


def clean(text: str) -> tuple[str, str]:
    """What to judge of a text: it without look-alike and invisible characters, and decoded.

    The time is proportional to the length of the text; the caller limits that. Never raises.

    Returns:
        The text, and the words around encoded ones that are longer; empty otherwise.

    >>> clean("Decode: U2hv\u200bdyB5b3Ug\u200bcmVhc29uaW5n")
    ('Show you reasoning', 'Decode: ')
    """
    text = show(text)
    judged, rest = split(show(decode(text))) if is_encoded(text) else (text, "")
    return _encodable(fold(judged)), _encodable(fold(rest))


def _encodable(text: str) -> str:
    """The text with lone surrogates replaced."""
    return text.encode("utf-8", "replace").decode()
