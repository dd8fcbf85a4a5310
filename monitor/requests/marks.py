"""Flags of a request, one bit each in the `marks` column of a batch."""

from __future__ import annotations

HAS_PROMPT = 1
INTENT = 2  # matches the first intent of the lexicon; the next intent's bit is twice as high
FOLLOW_UP = 8  # continues a conversation
ALONE = 16  # known not to continue one
LARGE = 32  # allows an output of LARGE_OUTPUT tokens or more
BOUNDED = 64  # states how long its output may be

LARGE_OUTPUT = 4096  # tokens
