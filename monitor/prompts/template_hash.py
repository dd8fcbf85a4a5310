"""The template's fingerprint: what stays of a prompt when its slots are filled anew.

Numbers, names and pasted documents change from prompt to prompt, and where they stand is not
known. But a template has a sentence that says what is to be done, and such sentences are made of
few words. So the sentence that looks most like an instruction is chosen, by its share of such
words (`instructions.toml`), by its place (first or last) and by its end (a question mark, a
colon), and of that sentence the words that instructions are made of are hashed. What is quoted
does not count.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.bits import C1, C2, U, entry, hash_bytes, jit, mix
from monitor.prompts.segment import ASKS, ENDS, QUOTED, WORD

_EDGE, _ASKED = 0.5, 0.7  # what it counts to be the first or the last sentence, and to ask


@jit
def _role(word: Any, vocabulary: Any) -> Any:
    """2 for a word that names a task, 1 for one that links, 0 for any other."""
    slot = word >> U(52)
    while vocabulary[slot]:
        if (vocabulary[slot] ^ word) >> U(1) == U(0):
            return 1 + np.int64(vocabulary[slot] & U(1))
        slot = (slot + U(1)) & U(len(vocabulary) - 1)
    return 0


@jit
def fingerprint(words: int, memory: Any, vocabulary: Any) -> Any:
    """The hash of what stays of the sentence that looks most like an instruction: the words that
    name its task, with those that link them if they are few, and its beginning if all are few."""
    exact, traits = memory.words[0], memory.traits
    best, chosen = -1.0, U(0)
    length, tasks, links = 0, 0, 0
    named, linked, begun = U(0), U(0), U(0)
    edge = _EDGE
    for i in range(words):
        if traits[i] & QUOTED == 0:
            length += 1
            role = _role(exact[i], vocabulary)
            if role:
                linked = linked * C1 + exact[i]
                links += 1
            if role == 2:
                named = named * C1 + exact[i]
                tasks += 1
            if length <= 6:
                begun = begun * C1 + exact[i]
        if (traits[i] & ENDS or i == words - 1) and length:
            score = (0.8 * tasks + 0.2 * links) / (np.sqrt(length) + 1.0)
            score += edge if i < words - 1 else _EDGE
            score += _ASKED if traits[i] & ASKS else 0.0
            if score > best:
                best = score
                chosen = named if tasks > 3 else linked if links > 2 else linked * C2 + begun
            length, tasks, links, edge = 0, 0, 0, 0.0
            named = linked = begun = U(0)
    return mix(chosen)


@entry
def learn(buffer: Any, starts: Any, ends: Any, tasks: int, seeds: Any, vocabulary: Any) -> None:
    """Put words that instructions are made of into their hash table; the last bit of an entry
    tells whether they name tasks. The first to come stays."""
    for i in range(len(starts)):
        word = hash_bytes(buffer, U(starts[i]), U(ends[i]), seeds[WORD])
        if _role(word, vocabulary) == 0:
            slot = word >> U(52)
            while vocabulary[slot]:
                slot = (slot + U(1)) & U(len(vocabulary) - 1)
            vocabulary[slot] = (word & ~U(1)) | U(tasks)
