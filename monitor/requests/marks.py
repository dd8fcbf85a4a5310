"""Flags of a request, one bit each in the `marks` column of a batch."""

from __future__ import annotations

HAS_PROMPT = 1
INTENT = 2  # the prompt matches intent 0 of the lexicon; intent i has the bit INTENT << i
FOLLOW_UP = 8  # continues a conversation
FIRST_TURN = 16  # is known to begin a conversation
LARGE = 32  # allows an output of LARGE_OUTPUT tokens or more
BOUNDED = 64  # limits the length of its output
JOINS = 128  # may be a second record of the same call, with the same id
LATE = 256  # came after the lateness limit
TINY_TURN = 512  # has a tiny last turn after a large new text
UNEXPLAINED = 1024  # has more input tokens than its text explains
UNREADABLE = 2048  # much of its text is encoded
CONVERSATION = 4096  # has messages: the record tells whether it continues a conversation

LARGE_OUTPUT = 4096  # tokens
