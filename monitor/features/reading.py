"""A prompt taken apart, in one pass over its bytes.

Into chunks as the tokenizer of the embedding sees them (a word with the space before it, a run of
punctuation) and into words as everything else does (without case or punctuation). A run of
letters is a word, so is a run of digits, and so is each sole character; a word longer than
`LONGEST` bytes is cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.features.bits import (
    CASE,
    HIGH,
    ONES,
    U,
    before,
    character,
    count_ones,
    hash_bytes,
    jit,
    letters,
    load,
    mix,
)
from monitor.features.characters import (
    ASK,
    BLANK,
    DIGIT,
    LETTER,
    MARK,
    QUOTE,
    SOLE,
    SPACE,
    WIDE,
)

# what is counted of a prompt; upper-case letters are letters too
LETTERS, UPPER, DIGITS, MARKS, SPACES, OTHER = range(6)
GAPS, LOWERED, SENTENCES, DASHES, NUMBERED = range(6, 11)
FIRST, LAST = 11, 12  # the classes of the outer characters, see `characters.py`
COUNTS = 13

PLAIN, SPACED, LOWER, TIMES, WHOLE, SEEDS = range(6)  # what the seeds are for, and their number
QUOTED, ENDS, ASKS = np.uint8(1), np.uint8(2), np.uint8(4)  # traits of words

LONGEST = 64
RUN = 16  # the longest run of spaces that is a token


@jit
def _word(buffer: Any, at: Any, raw: Any, low: Any) -> tuple[Any, Any, Any, Any]:
    """Read ASCII letters, eight at a time: where they end, the hashes of the word as it is and in
    lower case, and how many letters are in upper case."""
    begin, upper = at, U(0)
    while at - begin < U(LONGEST):
        x = load(buffer, at)
        others = ~letters(x) & HIGH
        inside = before(others) if others else ~U(0)
        x &= inside
        if x:
            raw, low = mix(raw ^ x), mix(low ^ (x | (CASE & inside)))
            upper += count_ones((~x & CASE & inside) >> U(5))
        at += count_ones(inside & ONES)
        if others:
            break
    return at, raw, low, upper


@jit
def _wide(buffer: Any, at: Any, stop: Any, kinds: Any) -> tuple[Any, Any, Any]:
    """Read a word, or another character, that is not all ASCII: where it ends, its kind, and how
    many characters it has."""
    begin, kind, count = at, np.uint8(LETTER), 0
    while kind == LETTER and at < stop:
        code, size = character(buffer, at)
        found = kinds[code] if code < U(0x10000) else np.uint8(SOLE)
        if count and (found != LETTER or at + size - begin > U(LONGEST)):
            break
        kind = found
        at += size
        count += 1
    return at, kind, count


@jit
def _fold(buffer: Any, at: Any, end: Any, lower: Any, folded: Any) -> tuple[Any, Any]:
    """Write a word in lower case; returns its length in bytes, which stays the same, and whether
    the word was in lower case before."""
    length = end - at
    for i in range(length):
        folded[i] = buffer[at + U(i)]
    k = U(0)
    while k < length:
        code, size = character(folded, k)
        if size == U(1):
            folded[k] = lower[code]
        elif size == U(2):
            code = U(lower[code])
            folded[k] = U(0xC0) | code >> U(6)
            folded[k + U(1)] = U(0x80) | code & U(0x3F)
        k += size
    same = True
    for i in range(length):
        same &= folded[i] == buffer[at + U(i)]
    return length, same


@jit
def _item(buffer: Any, at: Any, counts: Any) -> None:
    """Note the item of a list that begins on a line; what follows a prompt is no item."""
    if buffer[at] == 45 and buffer[at + U(1)] == 32:
        counts[DASHES] += 1
    digits = at
    while digits - at < U(4) and 48 <= buffer[digits] <= 57:
        digits += U(1)
    if digits > at and (buffer[digits] == 46 or buffer[digits] == 41):
        counts[NUMBERED] += 1


@jit
def _outer(buffer: Any, start: Any, stop: Any, tables: Any, counts: Any) -> None:
    """Note the classes of the first and the last character that is no space."""
    first = tables.first
    while start < stop and (first[buffer[start]] == BLANK or first[buffer[start]] == SPACE):
        start += U(1)
    while stop > start and (
        first[buffer[stop - U(1)]] == BLANK or first[buffer[stop - U(1)]] == SPACE
    ):
        stop -= U(1)
    counts[FIRST] = tables.edge[buffer[start]]
    counts[LAST] = tables.edge[buffer[max(stop, start + U(1)) - U(1)]]


@jit
def _punctuate(kind: Any, quoted: Any, traits: Any, words: int) -> Any:
    """Note at the last word what a mark after it says; returns whether the next one is quoted."""
    if kind == MARK:
        return quoted
    if kind == QUOTE:
        return quoted ^ QUOTED
    traits[max(words - 1, 0)] |= ENDS | ASKS if kind == ASK else ENDS
    return quoted


@jit
def read(buffer: Any, start: Any, stop: Any, tables: Any, memory: Any) -> tuple[int, int, int, Any]:
    """Take a prompt apart; returns how many chunks there are to look up, how many tokens are
    known without, how many words there are, and the hash of the whole."""
    first, kinds, seeds, spaces, single = (
        tables.first,
        tables.kind,
        tables.seeds,
        tables.spaces,
        tables.single,
    )
    hashes, begins, ends = memory.chunks[0], memory.chunks[1], memory.chunks[2]
    exact, alike = memory.words[0], memory.words[1]
    tokens, traits, folded, counts = memory.tokens, memory.traits, memory.folded, memory.counts
    plain_seed, spaced_seed, lower_seed = seeds[PLAIN], seeds[SPACED], seeds[LOWER]
    times, whole, gap = seeds[TIMES] | U(1), seeds[WHOLE], U(0)
    tally = memory.tally
    tally[:] = 0
    counts[:] = 0
    gaps, lowered, sentences = 0, 0, 0
    chunks, n, words = 0, 0, 0
    letters, upper, digits, marks, blanks, other = U(0), U(0), U(0), U(0), 0, 0
    quoted = np.uint8(0)
    lead = 1  # spaces before p; the tokenizer puts one before the text
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
        raw, low = seed, lower_seed
        mask = U(0)
        if kind == LETTER:
            p, raw, low, capitals = _word(buffer, p, raw, low)
            if (
                buffer[p] >= 128
                and p < stop
                and kinds[character(buffer, p)[0] & U(0xFFFF)] == LETTER
            ):
                kind = np.uint8(WIDE)
            else:
                letters += p - begin
                upper += capitals
                lowered += capitals == U(0)
            mask = low
        elif kind == DIGIT:
            while p < stop and first[buffer[p]] == DIGIT and p - begin < U(LONGEST):
                tokens[n] = single[buffer[p]]
                n += 1
                p += U(1)
            digits += p - begin
            low = hash_bytes(buffer, begin, p, low)
            mask = mix(lower_seed ^ (p - begin))
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
                _item(buffer, p, counts)
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
                raw = hash_bytes(buffer, begin, p, raw)
            else:
                tokens[n] = single[buffer[begin]]
                n += 1
            is_word = False
        if kind == WIDE:
            p, found, count = _wide(buffer, begin, stop, kinds)
            raw = hash_bytes(buffer, begin, p, seed)
            is_word = found <= SOLE
            if is_word:
                size, same = _fold(buffer, begin, p, tables.lower, folded)
                lowered += same
                low = hash_bytes(folded, U(0), size, lower_seed)
                mask = low
                other += count
            elif found >= MARK:
                quoted = _punctuate(found, quoted, traits, words)
                gap = mix(gap ^ raw)
                marks += U(count)
            else:
                blanks += count
        if raw != seed:
            hashes[chunks] = raw
            begins[chunks] = begin << U(1) | U(spaced)
            ends[chunks] = p
            chunks += 1
        if is_word:
            exact[words], alike[words], traits[words] = low, mask, quoted
            whole = (whole + gap if words else whole) * times + low
            words += 1
            gap = U(0)
    if stop > start:
        blanks += lead - 1
        while lead > 0:
            tokens[n] = spaces[min(lead, RUN)]
            n += 1
            lead -= RUN
    counts[LETTERS], counts[UPPER], counts[DIGITS] = letters, upper, digits
    counts[MARKS], counts[SPACES], counts[OTHER], counts[GAPS] = marks, blanks, other, gaps
    counts[LOWERED], counts[SENTENCES] = lowered, sentences
    _outer(buffer, start, stop, tables, counts)
    return chunks, n, words, mix(whole if words else whole + gap)
