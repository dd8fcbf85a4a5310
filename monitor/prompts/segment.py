"""Segmentation of a prompt into chunks and words, in one pass over its bytes.

A chunk is what the tokenizer of the embedding sees: a word with the space before it, or a run of
punctuation. A word is a run of letters, a run of digits, or a SINGLE character; all other features
use words. A word longer than `LONGEST` bytes is cut.

In all kernels here `buffer` is `(size,) uint8`, normalised prompts; `at`, `start` and `stop` are
uint64 offsets in it; `counts` is `(COUNTS,) int64`; `tables` is `Tables` and `workspace` is
`Workspace` (`kernel.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.kernels.bits import (
    HIGH,
    ONES,
    U,
    before,
    character,
    count_ones,
    hash_bytes,
    inner,
    letters,
    load_bytes,
    mix,
)
from monitor.prompts.characters import (
    ASK,
    BLANK,
    BLOCK,
    DIGIT,
    LETTER,
    MARK,
    QUOTE,
    SCRIPTS,
    SINGLE,
    SPACE,
    WIDE,
)
from monitor.prompts.vocabulary import OPENS, TRIGGER, pair, traits_of

# Indices of `Workspace.counts`.
LETTERS, DIGITS, MARKS, SPACES, OTHER = range(5)
GAPS, SENTENCES, DASHES, NUMBERED = range(5, 9)
FIRST, LAST = 9, 10  # classes of the first and the last character, see EDGES
TRIGGERED = 11  # whether the prompt may have a phrase of the lexicon
SCRIPT = 12  # characters of each of SCRIPTS that are not ASCII
COUNTS = SCRIPT + len(SCRIPTS)

# Indices of the seeds: of chunks without and with a space before them, of words, and of the prompt.
PLAIN, SPACED, WORD, TIMES, WHOLE, SEEDS = range(6)
QUOTED, ENDS, ASKS, NUMBER = np.uint8(1), np.uint8(2), np.uint8(4), np.uint8(8)  # flags of words

LONGEST = 64
_BRACKET = ord("[")
RUN = 16  # the longest run of spaces that is a token


@inner
def _letters(buffer: Any, at: Any, chunk: Any, word: Any) -> tuple[Any, Any, Any]:
    """Read a run of ASCII letters, eight at a time.

    Args:
        chunk, word: uint64, the seeds of both hashes.

    Returns:
        Offset after the run, its hash as a chunk, and its hash as a word, all uint64.
    """
    begin = at
    while at - begin < U(LONGEST):
        x = load_bytes(buffer, at)
        others = ~letters(x) & HIGH
        inside = before(others) if others else ~U(0)
        x &= inside
        if x:
            chunk, word = mix(chunk ^ x), mix(word ^ x)
        at += count_ones(inside & ONES)
        if others:
            break
    return at, chunk, word


@inner
def _wide(buffer: Any, at: Any, stop: Any, kinds: Any) -> tuple[Any, Any, Any]:
    """Read a word that is not all ASCII, or another character that is not ASCII.

    Args:
        kinds: `(65536,) uint8`, see `Characters.kind`.

    Returns:
        Offset after it (uint64), its kind (uint8), and its number of characters.
    """
    begin, kind, count = at, np.uint8(LETTER), 0
    while kind == LETTER and at < stop:
        code, size = character(buffer, at)
        found = kinds[code] if code < U(0x10000) else np.uint8(SINGLE)
        if count and (found != LETTER or at + size - begin > U(LONGEST)):
            break
        kind = found
        at += size
        count += 1
    return at, kind, count


@inner
def _count_item(buffer: Any, at: Any, counts: Any) -> None:
    """Count the list item that begins at `at`, the start of a line, if there is one."""
    if buffer[at] == 45 and buffer[at + U(1)] == 32:
        counts[DASHES] += 1
    digits = at
    while digits - at < U(4) and 48 <= buffer[digits] <= 57:
        digits += U(1)
    if digits > at and (buffer[digits] == 46 or buffer[digits] == 41):
        counts[NUMBERED] += 1


@inner
def _classify_edges(buffer: Any, start: Any, stop: Any, tables: Any, counts: Any) -> None:
    """Write the classes of the first and the last character that is not a space."""
    first = tables.first
    while start < stop and (first[buffer[start]] == BLANK or first[buffer[start]] == SPACE):
        start += U(1)
    while stop > start and (
        first[buffer[stop - U(1)]] == BLANK or first[buffer[stop - U(1)]] == SPACE
    ):
        stop -= U(1)
    counts[FIRST] = tables.edge[buffer[start]]
    counts[LAST] = tables.edge[buffer[max(stop, start + U(1)) - U(1)]]


@inner
def _punctuate(kind: Any, quoted: Any, traits: Any, words: int) -> Any:
    """Set the flags of the last word for the mark after it.

    Args:
        kind: uint8, of the mark.
        quoted: uint8, QUOTED if the mark is within a quotation.
        traits: `(most,) uint8`, flags of the words.
        words: number of words so far.

    Returns:
        uint8, QUOTED if the next word is quoted.
    """
    if kind == MARK:
        return quoted
    if kind == QUOTE:
        return quoted ^ QUOTED
    traits[max(words - 1, 0)] |= ENDS | ASKS if kind == ASK else ENDS
    return quoted


@inner
def segment(
    buffer: Any, start: Any, stop: Any, tables: Any, workspace: Any
) -> tuple[int, int, int, Any]:
    """Segment a prompt; write its chunks, words with traits and flags, single tokens and counts to
    `workspace`.

    Returns:
        Number of chunks, number of tokens that need no chunk, number of words, and the hash of the
        prompt without case, spaces and outer marks (uint64).
    """
    first, kinds, scripts, seeds, spaces, single = (
        tables.first,
        tables.kind,
        tables.script,
        tables.seeds,
        tables.spaces,
        tables.single,
    )
    hashes, begins, ends = workspace.chunks[0], workspace.chunks[1], workspace.chunks[2]
    tokens, traits, counts = workspace.tokens, workspace.traits, workspace.counts
    plain_seed, spaced_seed, word_seed = seeds[PLAIN], seeds[SPACED], seeds[WORD]
    times, whole, gap = seeds[TIMES] | U(1), seeds[WHOLE], U(0)
    tally = workspace.tally
    tally[:] = 0
    counts[:] = 0
    gaps, sentences = 0, 0
    chunks, n, words = 0, 0, 0
    letters, digits, marks, blanks, other = U(0), U(0), U(0), 0, 0
    table, opens, every = tables.known, U(0), U(0)
    quoted = np.uint8(0)
    lead = 1  # spaces before p; the tokenizer adds one before the text
    p = start
    while p < stop:
        kind = first[buffer[p]]
        if kind == BLANK:
            lead += 1
            p += U(1)
            continue
        blanks += lead
        spaced = lead > 0
        gaps += spaced
        run = lead if kind in (DIGIT, SPACE) else lead - 1  # the last one belongs to a word
        while run > 0:
            tokens[n] = spaces[min(run, RUN)]
            n += 1
            run -= RUN
        lead = 0
        begin, is_word = p, True
        seed = spaced_seed if spaced else plain_seed
        chunk, word = seed, word_seed
        if kind == LETTER:
            p, chunk, word = _letters(buffer, p, chunk, word)
            if (
                buffer[p] >= 128
                and p < stop
                and kinds[character(buffer, p)[0] & U(0xFFFF)] == LETTER
            ):
                kind = np.uint8(WIDE)
            else:
                letters += p - begin
        elif kind == DIGIT:
            while p < stop and first[buffer[p]] == DIGIT and p - begin < U(LONGEST):
                tokens[n] = single[buffer[p]]
                n += 1
                p += U(1)
            digits += p - begin
            word = hash_bytes(buffer, begin, p, word)
        elif kind == SPACE:
            byte = buffer[p]
            tokens[n] = single[byte] if single[byte] >= 0 else 3 + np.int16(byte)
            n += 1
            p += U(1)
            blanks += 1
            is_word = False
            if byte == 10:
                quoted = np.uint8(0)
                traits[max(words - 1, 0)] |= ENDS
                _count_item(buffer, p, counts)
        elif kind <= QUOTE:
            while p < stop and MARK <= first[buffer[p]] <= QUOTE and p - begin < U(LONGEST):
                quoted = _punctuate(first[buffer[p]], quoted, traits, words)
                gap = gap * times + U(buffer[p])
                tally[buffer[p]] += 1
                p += U(1)
            marks += p - begin
            last = buffer[p - U(1)]
            if last == 46 or last == 33 or last == 63:
                sentences += p >= stop or first[buffer[p]] == BLANK or first[buffer[p]] == SPACE
            if spaced or p - begin > U(1):
                chunk = hash_bytes(buffer, begin, p, chunk)
            else:
                tokens[n] = single[buffer[begin]]
                n += 1
            is_word = False
        if kind == WIDE:
            p, found, count = _wide(buffer, begin, stop, kinds)
            chunk = hash_bytes(buffer, begin, p, seed)
            is_word = found <= SINGLE
            if is_word:
                word = hash_bytes(buffer, begin, p, word_seed)
                other += count
                code = character(buffer, begin)[0]
                if code < U(0x10000):
                    counts[SCRIPT + np.int64(scripts[code >> U(BLOCK)])] += count
            elif found >= MARK:
                quoted = _punctuate(found, quoted, traits, words)
                gap = mix(gap ^ chunk)
                marks += U(count)
            else:
                blanks += count
        if chunk != seed:
            hashes[chunks] = chunk
            begins[chunks] = begin << U(1) | U(spaced)
            ends[chunks] = p
            chunks += 1
        if is_word:
            known = traits_of(word, table)
            if opens:
                known |= traits_of(pair(workspace.words[words - 1], word), table)
            opens = known & OPENS
            every |= known
            workspace.words[words], workspace.known[words] = word, known
            traits[words] = quoted | NUMBER if kind == DIGIT else quoted
            whole = (whole + gap if words else whole) * times + word
            words += 1
            gap = U(0)
    if stop > start:
        blanks += lead - 1
        while lead > 0:
            tokens[n] = spaces[min(lead, RUN)]
            n += 1
            lead -= RUN
    counts[LETTERS], counts[DIGITS], counts[MARKS] = letters, digits, marks
    counts[SPACES], counts[OTHER], counts[GAPS] = blanks, other, gaps
    counts[SENTENCES] = sentences
    counts[TRIGGERED] = every & TRIGGER or other or tally[_BRACKET] > 1
    _classify_edges(buffer, start, stop, tables, counts)
    return chunks, n, words, mix(whole if words else whole + gap)
