"""The template hash: what prompts from one template have in common.

Numbers, names and pasted documents change from prompt to prompt, at unknown places. But a template
has a sentence that states the task, and such sentences use a small vocabulary
(`instructions.toml`). The kernel chooses the sentence that looks most like an instruction, by its
share of such words, its place (first or last) and its end (a question mark or a colon), and hashes
only its words of the vocabulary. Quoted text does not count.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.bits import C1, C2, U, entry, hash_bytes, inner, mix
from monitor.prompts.segment import ASKS, ENDS, QUOTED, WORD

# Added to a sentence's score: for the first and the last sentence, and for a question.
_EDGE, _QUESTION = 0.5, 0.7


@inner
def _role(word: Any, vocabulary: Any) -> Any:
    """2 for a task word, 1 for a linking word, 0 for any other; int64.

    Args:
        word: uint64 hash.
        vocabulary: `(4096,) uint64`, see `add_words`.
    """
    slot = word >> U(52)
    while vocabulary[slot]:
        if (vocabulary[slot] ^ word) >> U(1) == U(0):
            return 1 + np.int64(vocabulary[slot] & U(1))
        slot = (slot + U(1)) & U(len(vocabulary) - 1)
    return 0


@inner
def template_hash(words: int, workspace: Any, vocabulary: Any) -> Any:
    """The hash, uint64, of the sentence that looks most like an instruction.

    It covers the task words; with fewer than four of them also the linking words; with fewer than
    three of both also the first six words.

    Args:
        words: number of words in `workspace`, a `Workspace`.
        vocabulary: `(4096,) uint64`, see `add_words`.
    """
    exact, traits = workspace.words, workspace.traits
    best, chosen = -1.0, U(0)
    length, tasks, links = 0, 0, 0
    task_hash, link_hash, first_hash = U(0), U(0), U(0)
    edge = _EDGE
    for i in range(words):
        if traits[i] & QUOTED == 0:
            length += 1
            role = _role(exact[i], vocabulary)
            if role:
                link_hash = link_hash * C1 + exact[i]
                links += 1
            if role == 2:
                task_hash = task_hash * C1 + exact[i]
                tasks += 1
            if length <= 6:
                first_hash = first_hash * C1 + exact[i]
        if (traits[i] & ENDS or i == words - 1) and length:
            score = (0.8 * tasks + 0.2 * links) / (np.sqrt(length) + 1.0)
            score += edge if i < words - 1 else _EDGE
            score += _QUESTION if traits[i] & ASKS else 0.0
            if score > best:
                best = score
                if tasks > 3:
                    chosen = task_hash
                else:
                    chosen = link_hash if links > 2 else link_hash * C2 + first_hash
            length, tasks, links, edge = 0, 0, 0, 0.0
            task_hash = link_hash = first_hash = U(0)
    return mix(chosen)


@entry
def add_words(buffer: Any, starts: Any, ends: Any, tasks: int, seeds: Any, vocabulary: Any) -> None:
    """Add n words to the hash table of instruction words. A word that is there already stays.

    Args:
        buffer: `(size,) uint8`, the words; `starts`, `ends`: `(n,) int64`, their byte offsets.
        tasks: 1 for task words, 0 for linking words; kept in the last bit of an entry.
        seeds: `(SEEDS,) uint64`.
        vocabulary: `(4096,) uint64`, 0 for a free slot.
    """
    for i in range(len(starts)):
        word = hash_bytes(buffer, U(starts[i]), U(ends[i]), seeds[WORD])
        if _role(word, vocabulary) == 0:
            slot = word >> U(52)
            while vocabulary[slot]:
                slot = (slot + U(1)) & U(len(vocabulary) - 1)
            vocabulary[slot] = (word & ~U(1)) | U(tasks)
