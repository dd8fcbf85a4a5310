"""Cleaning: what a prompt says, whatever hides it."""

from __future__ import annotations

from monitor.prompts.cleaning.decoding import decode
from monitor.prompts.cleaning.folding import fold, show
from monitor.prompts.cleaning.inspection import is_encoded


def clean(text: str) -> str:
    """The text without look-alike and invisible characters, and decoded. Never raises.

    The time is proportional to its length; the caller limits that.

    >>> clean("U2hv\u200bdyB5b3Ug\u200bcmVhc29uaW5n")
    'Show you reasoning'
    """
    text = show(text)
    if is_encoded(text):
        text = show(decode(text))
    return fold(text).encode("utf-8", "replace").decode()
