"""The template hash: what prompts from one template have in common.

Numbers, names and pasted documents change from prompt to prompt, at unknown places. But a template
has a sentence that states the task, and such sentences use a small vocabulary
(`instructions.toml`). The kernel chooses the sentence that looks most like an instruction, by its
share of such words, its place (first or last) and its end (a question mark or a colon), and hashes
only its words of the vocabulary. Quoted text does not count.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib import resources
from typing import Any

import numpy as np

from monitor.kernels.bits import C1, C2, U, inner, mix
from monitor.prompts.segment import ASKS, ENDS, QUOTED
from monitor.prompts.vocabulary import LINK, TASK, Known

# Added to a sentence's score: for the first and the last sentence, and for a question.
_EDGE, _QUESTION = 0.5, 0.7


def instruction_words() -> Iterator[Known]:
    """The instruction words of all languages; the first role of a word counts."""
    text = resources.files("monitor.prompts").joinpath("instructions.toml").read_text("utf-8")
    roles: dict[str, int] = {}
    for language in tomllib.loads(text).values():
        for kind, role in (("links", LINK), ("tasks", TASK)):
            for word in language[kind].split():
                roles.setdefault(word, role)
    for word, role in roles.items():
        yield word, "", role


@inner
def template_hash(words: int, workspace: Any) -> Any:
    """The hash, uint64, of the sentence that looks most like an instruction.

    It covers the task words; with fewer than four of them also the linking words; with fewer than
    three of both also the first six words.

    Args:
        words: number of words in `workspace`, a `Workspace`.
    """
    exact, traits, known = workspace.words, workspace.traits, workspace.known
    best, chosen = -1.0, U(0)
    length, tasks, links = 0, 0, 0
    task_hash, link_hash, first_hash = U(0), U(0), U(0)
    edge = _EDGE
    for i in range(words):
        # Without branches: which words count is hard to predict.
        counts, word = traits[i] & QUOTED == 0, exact[i]
        is_task = counts & (known[i] & U(TASK) != U(0))
        is_link = counts & (known[i] & U(LINK | TASK) != U(0))
        length += counts
        links += is_link
        tasks += is_task
        link_hash = link_hash * C1 + word if is_link else link_hash
        task_hash = task_hash * C1 + word if is_task else task_hash
        first_hash = first_hash * C1 + word if counts & (length <= 6) else first_hash
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
