"""The kernel that reads prompts: bytes in, numbers out, one pass over the text.

A prompt is taken apart once, into chunks as the tokenizer of the embedding sees them (a word with
the space before it, a run of punctuation) and into words as everything else does (without case and
punctuation). Each feature is then a short loop over these lists.

A chunk's vector is the sum of its tokens' vectors. Spelling it in tokens is slow, so the vector
is kept in a table, in the slot that the chunk's hash points to. A chunk whose slot is another's is
spelled again and takes it: the table makes chunks that are seen often cheap and never changes a
result, because a slot is known by all 64 bits of a hash keyed with the secret.

All sums are whole numbers: no order of summation, no batch and no machine changes a bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from monitor.features.characters import BLANK, DIGIT, LETTER, MARK, SOLE, SPACE, WIDE

MEANING, WORDS, MINHASHES, CELL = 64, 128, 16, 16
SHAPE = ("letters", "upper", "digits", "marks", "spaces", "other", "words")

_LETTERS, _UPPER, _DIGITS, _MARKS, _SPACES, _OTHER, _WORDS = range(7)

LONGEST = 64  # bytes of a word; what is longer is cut
SPACES = 16  # the longest run of spaces that is a token
DIRECT = 256  # slots before the table: the characters of ASCII, then runs of spaces

_U = np.uint64
_ONES, _HIGH = _U(0x0101010101010101), _U(0x8080808080808080)
_CASE = _U(0x2020202020202020)
_C1, _C2 = _U(0xFF51AFD7ED558CCD), _U(0xC4CEB9FE1A85EC53)
_SEVEN, _EIGHT, _FULL = _U(7), _U(8), _U(0xFFFFFFFFFFFFFFFF)

PLAIN, SPACED, LOWER, TIMES, WHOLE, SEEDS = range(6)  # what the seeds are for

# What is known of a word.
NUMBER, CAPITAL, FOREIGN, LINE = np.uint8(1), np.uint8(2), np.uint8(4), np.uint8(8)

_jit = numba.njit(cache=True, nogil=True)


class Tables(NamedTuple):
    """What the kernel looks up: see `characters.py` and `tokens.py`."""

    kind: npt.NDArray[np.uint8]
    lower: npt.NDArray[np.uint16]
    first: npt.NDArray[np.uint8]
    tokens: npt.NDArray[np.int16]
    single: npt.NDArray[np.int16]
    merges: npt.NDArray[np.uint64]
    planes: npt.NDArray[np.int32]  # (CELL, MEANING), what splits meaning space into cells
    offsets: npt.NDArray[np.int32]  # (CELL,)
    lanes: npt.NDArray[np.uint32]  # (2, MINHASHES), secret: what a lane adds and multiplies by
    seeds: npt.NDArray[np.uint64]  # secret, see extract.py


class Memory(NamedTuple):
    """What the kernel writes on: the table of chunks, and lists for one prompt."""

    known: npt.NDArray[np.uint64]  # (DIRECT + slots,), the hash of the chunk in each slot
    rows: npt.NDArray[np.int16]  # (DIRECT + slots, MEANING), its vector
    chunk: npt.NDArray[np.uint64]  # hashes of the prompt's chunks
    begin: npt.NDArray[np.int64]  # where they begin in the buffer, inverted if after a space
    end: npt.NDArray[np.int64]  # and where they end
    word: npt.NDArray[np.uint64]  # hashes of its words
    mask: npt.NDArray[np.uint64]  # the same, all numbers of one length alike
    trait: npt.NDArray[np.uint8]  # NUMBER, ...
    symbols: npt.NDArray[np.int64]  # (3, LONGEST + 2), for spelling
    folded: npt.NDArray[np.uint8]  # a word in lower case
    counts: npt.NDArray[np.int64]  # of SHAPE


@_jit
def _mix(x: Any) -> Any:
    x ^= x >> _U(32)
    x *= _C1
    x ^= x >> _U(29)
    x *= _C2
    return x ^ (x >> _U(32))


@_jit
def _load(buffer: Any, at: Any) -> Any:
    """Eight bytes as a number; the compiler makes one instruction of it."""
    x = _U(buffer[at])
    for k in range(1, 8):
        x |= _U(buffer[at + _U(k)]) << _U(8 * k)
    return x


@_jit
def _letters(x: Any) -> Any:
    """The highest bit of each byte of x that is an ASCII letter."""
    low = (x & ~_HIGH) | _CASE
    return (low + _U(0x1F1F1F1F1F1F1F1F)) & ~(low + _U(0x0505050505050505)) & ~x & _HIGH


@_jit
def _before(marks: Any) -> Any:
    """All bits of the bytes before the first one whose highest bit is set."""
    return ((marks & (~marks + _U(1))) >> _SEVEN) - _U(1)


@_jit
def _count(ones: Any) -> Any:
    """How many bytes of x are 1, if the others are 0."""
    return (ones * _ONES) >> _U(56)


@_jit
def _hash(buffer: Any, at: Any, end: Any, seed: Any) -> Any:
    """Hash bytes as the fast path of `_read` hashes an ASCII word."""
    h = seed
    while at + _EIGHT <= end:
        h = _mix(h ^ _load(buffer, at))
        at += _EIGHT
    if at < end:
        rest = (_U(1) << ((end - at) * _EIGHT)) - _U(1)
        h = _mix(h ^ (_load(buffer, at) & rest))
    return h


@_jit
def _character(buffer: Any, at: Any) -> tuple[Any, Any]:
    """The code point at a byte of valid UTF-8, and how many bytes it takes."""
    a = _U(buffer[at])
    if a < _U(0x80):
        return a, _U(1)
    b = _U(buffer[at + _U(1)]) & _U(0x3F)
    if a < _U(0xE0):
        return (a & _U(0x1F)) << _U(6) | b, _U(2)
    c = _U(buffer[at + _U(2)]) & _U(0x3F)
    if a < _U(0xF0):
        return (a & _U(0x0F)) << _U(12) | b << _U(6) | c, _U(3)
    d = _U(buffer[at + _U(3)]) & _U(0x3F)
    return (a & _SEVEN) << _U(18) | b << _U(12) | c << _U(6) | d, _U(4)


@_jit
def _kind(code: Any, tables: Any) -> Any:
    return tables.kind[code] if code < _U(0x10000) else np.uint8(SOLE)


@_jit
def _fold(buffer: Any, at: Any, end: Any, tables: Any, folded: Any) -> Any:
    """Write a word in lower case; returns its length in bytes."""
    n = _U(0)
    while at < end:
        code, size = _character(buffer, at)
        if code < _U(0x800):
            code = _U(tables.lower[code])
        if size == _U(1):
            folded[n] = code
        elif size == _U(2):
            folded[n] = _U(0xC0) | code >> _U(6)
            folded[n + _U(1)] = _U(0x80) | code & _U(0x3F)
        else:
            for k in range(size):
                folded[n + _U(k)] = buffer[at + _U(k)]
        n += size
        at += size
    return n


@_jit
def _merge(merges: Any, left: Any, right: Any) -> Any:
    """Rank << 16 | token of a pair, all bits set if it does not merge."""
    if left < 0 or right < 0:
        return np.int64(1 << 40)
    pair = _U(left) << _U(16) | _U(right)
    slot = (pair * _C1) >> _U(47)
    while merges[slot] != _U(0):
        if merges[slot] >> _U(32) == pair:
            return np.int64(merges[slot] & _U(0xFFFFFFFF))
        slot = (slot + _U(1)) & _U(len(merges) - 1)
    return np.int64(1 << 40)


@_jit
def insert(merges: Any, entries: Any) -> None:
    """Fill the hash table that `_merge` reads."""
    for entry in entries:
        slot = ((entry >> _U(32)) * _C1) >> _U(47)
        while merges[slot] != _U(0):
            slot = (slot + _U(1)) & _U(len(merges) - 1)
        merges[slot] = entry


@_jit
def _spell(
    buffer: Any, at: Any, end: Any, spaced: bool, tables: Any, symbols: Any, row: Any
) -> None:
    """The sum of the vectors of a chunk's tokens."""
    token, merged, following = symbols[0], symbols[1], symbols[2]
    n = 0
    if spaced:
        token[0] = tables.single[32]
        n = 1
    while at < end:
        code, size = _character(buffer, at)
        number = np.int64(tables.single[code]) if code < _U(0x10000) else np.int64(-1)
        if number >= 0:
            token[n] = number
            n += 1
        else:
            for k in range(size):
                token[n] = np.int64(buffer[at + _U(k)]) + 3
                n += 1
        at += size
    for i in range(n):
        following[i] = i + 1
    for i in range(n - 1):
        merged[i] = _merge(tables.merges, token[i], token[i + 1])
    while True:
        best, where, last, i = np.int64(1 << 40), -1, -1, 0
        before = -1
        while following[i] < n:
            if merged[i] < best:
                best, where, before = merged[i], i, last
            last = i
            i = following[i]
        if where < 0:
            break
        token[where] = best & 0xFFFF
        following[where] = following[following[where]]
        if following[where] < n:
            merged[where] = _merge(tables.merges, token[where], token[following[where]])
        if before >= 0:
            merged[before] = _merge(tables.merges, token[before], token[where])
    row[:] = 0
    i = 0
    while i < n:
        vector = tables.tokens[token[i]]
        for j in range(MEANING):
            row[j] += vector[j]
        i = following[i]


@_jit
def _word(buffer: Any, at: Any, raw: Any, low: Any) -> tuple[Any, Any, Any, Any]:
    """Read ASCII letters, eight at a time: where they end, the hashes of the word as it is and in
    lower case, and how many letters are in upper case."""
    begin, upper = at, _U(0)
    while at - begin < _U(LONGEST):
        x = _load(buffer, at)
        others = ~_letters(x) & _HIGH
        if others != _U(0):
            inside = _before(others)
            x &= inside
            upper += _count((~x & _CASE & inside) >> _U(5))
            return (
                at + _count(inside & _ONES),
                _mix(raw ^ x) if x else raw,
                _mix(low ^ (x | (_CASE & inside))) if x else low,
                upper,
            )
        raw, low = _mix(raw ^ x), _mix(low ^ (x | _CASE))
        upper += _count((~x & _CASE) >> _U(5))
        at += _EIGHT
    return at, raw, low, upper


@_jit
def _wide(buffer: Any, at: Any, stop: Any, tables: Any) -> tuple[Any, Any, Any]:
    """Read a word or another character that is not all ASCII: where it ends, its kind, and how
    many characters it has."""
    code, size = _character(buffer, at)
    kind = _kind(code, tables)
    end, count = at + size, 1
    while kind == LETTER and end < stop:
        code, size = _character(buffer, end)
        if _kind(code, tables) != LETTER or end + size - at > _U(LONGEST):
            break
        end += size
        count += 1
    return end, kind, count


@_jit
def _push(memory: Any, chunks: int, raw: Any, begin: Any, end: Any, spaced: bool) -> int:
    """Note a chunk that has to be looked up; a space before it is part of it."""
    memory.chunk[chunks] = raw | _U(1 << 63)
    memory.begin[chunks] = ~np.int64(begin) if spaced else np.int64(begin)
    memory.end[chunks] = end
    return chunks + 1


@_jit
def _blanks(memory: Any, chunks: int, run: int) -> int:
    while run > 0:
        memory.chunk[chunks] = _U(128 + min(run, SPACES))
        chunks += 1
        run -= SPACES
    return chunks


@_jit
def _read(buffer: Any, start: Any, stop: Any, tables: Any, memory: Any) -> tuple[int, int, Any]:
    """Take a prompt apart; returns its numbers of chunks and words and its hash."""
    seeds, counts = tables.seeds, memory.counts
    times = seeds[TIMES] | _U(1)
    counts[:] = 0
    chunks, words = 0, 0
    whole, gap = seeds[WHOLE], _U(0)
    fresh = LINE
    lead = 1  # spaces before p; the tokenizer puts one before the text
    p = start
    while p < stop:
        kind = tables.first[buffer[p]]
        if kind == BLANK:
            lead += 1
            p += _U(1)
            continue
        begin, trait = p, fresh
        run = lead if kind in (DIGIT, SPACE) else lead - 1
        if run > 0:
            chunks = _blanks(memory, chunks, run)
            counts[_SPACES] += run
        spaced = lead > 0
        raw, low = seeds[SPACED] if spaced else seeds[PLAIN], seeds[LOWER]
        counts[_SPACES] += lead
        lead = 0
        if kind == LETTER:
            p, raw, low, upper = _word(buffer, p, raw, low)
            if p < stop and buffer[p] >= 128 and _kind(_character(buffer, p)[0], tables) == LETTER:
                kind, raw = np.uint8(WIDE), seeds[SPACED] if spaced else seeds[PLAIN]
            else:
                chunks = _push(memory, chunks, raw, begin, p, spaced)
                counts[_LETTERS] += p - begin
                counts[_UPPER] += upper
                if buffer[begin] < 96:
                    trait |= CAPITAL
        elif kind == DIGIT:
            while p < stop and tables.first[buffer[p]] == DIGIT and p - begin < _U(LONGEST):
                memory.chunk[chunks] = _U(buffer[p])
                chunks += 1
                p += _U(1)
            low = _hash(buffer, begin, p, seeds[LOWER])
            counts[_DIGITS] += p - begin
            trait |= NUMBER
        elif kind == SPACE:
            memory.chunk[chunks] = _U(buffer[p])
            chunks += 1
            p += _U(1)
            counts[_SPACES] += 1
            fresh = LINE
            continue
        elif kind == MARK:
            while p < stop and tables.first[buffer[p]] == MARK and p - begin < _U(LONGEST):
                gap = gap * times + _U(buffer[p])
                p += _U(1)
            counts[_MARKS] += p - begin
            if not spaced and p - begin == _U(1):
                memory.chunk[chunks] = _U(buffer[begin])
                chunks += 1
            else:
                raw = _hash(buffer, begin, p, raw)
                chunks = _push(memory, chunks, raw, begin, p, spaced)
            continue
        if kind == WIDE:
            p, kind, count = _wide(buffer, begin, stop, tables)
            raw = _hash(buffer, begin, p, raw)
            chunks = _push(memory, chunks, raw, begin, p, spaced)
            if kind == MARK:
                gap = _mix(gap ^ raw)
                counts[_MARKS] += count
                continue
            if kind == SPACE:
                counts[_SPACES] += count
                continue
            size = _fold(buffer, begin, p, tables, memory.folded)
            low = _hash(memory.folded, _U(0), size, seeds[LOWER])
            counts[_OTHER] += count
            trait |= FOREIGN
        memory.word[words] = low
        memory.mask[words] = low if kind != DIGIT else _mix(seeds[LOWER] ^ (p - begin))
        memory.trait[words] = trait
        words += 1
        whole = (whole + gap) * times + low
        gap = _U(0)
        fresh = np.uint8(0)
    if lead > 0 and stop > start:
        chunks = _blanks(memory, chunks, lead)
        counts[_SPACES] += lead
    if stop > start:
        counts[_SPACES] -= 1
    counts[_WORDS] = words
    return chunks, words, _mix(whole + gap if words == 0 else whole)


@_jit
def _meaning(buffer: Any, chunks: int, tables: Any, memory: Any, total: Any) -> int:
    """Sum the vectors of a prompt's chunks; returns how many had to be spelled."""
    total[:] = 0
    spelled = 0
    last = _U(len(memory.known) - DIRECT - 1)
    for i in range(chunks):
        chunk = memory.chunk[i]
        slot = chunk
        if chunk >= _U(DIRECT):
            slot = _U(DIRECT) + ((chunk >> _U(8)) & last)
            if memory.known[slot] != chunk:
                begin, end = memory.begin[i], memory.end[i]
                spaced = begin < 0
                begin = ~begin if spaced else begin
                _spell(
                    buffer, _U(begin), _U(end), spaced, tables, memory.symbols, memory.rows[slot]
                )
                memory.known[slot] = chunk
                spelled += 1
        row = memory.rows[slot]
        for j in range(MEANING):
            total[j] += row[j]
    return spelled


@_jit
def _unit(total: Any, out: Any) -> None:
    """The direction of a vector, times 127."""
    squares = 0.0
    for j in range(len(total)):
        squares += np.float64(total[j]) * np.float64(total[j])
    scale = 127.0 / np.sqrt(squares) if squares > 0.0 else 0.0
    for j in range(len(total)):
        out[j] = np.int8(np.floor(np.float64(total[j]) * scale + 0.5))


@_jit
def _hashed(words: int, memory: Any, total: Any) -> None:
    """Count a prompt's words and pairs of neighbours in signed buckets."""
    total[:] = 0
    previous = _U(0)
    for i in range(words):
        word = memory.mask[i]
        total[word >> _U(57)] += 1 - 2 * np.int32((word >> _U(56)) & _U(1))
        if i > 0:
            pair = _mix(previous * _C1 + word)
            total[pair >> _U(57)] += 1 - 2 * np.int32((pair >> _U(56)) & _U(1))
        previous = word


@_jit
def _minhash(words: int, memory: Any, lanes: Any, out: Any) -> None:
    """In each lane the least of its hashes over the triples of neighbours."""
    out[:] = 0xFFFFFFFF
    for i in range(min(words - 1, 2) if words else 0, words):
        triple = memory.word[i]
        if i > 0:
            triple += memory.word[i - 1] * _C1
        if i > 1:
            triple += memory.word[i - 2] * _C2
        mixed = np.uint32(_mix(triple) >> _U(32))
        for j in range(MINHASHES):
            hashed = np.uint32((mixed ^ lanes[0, j]) * lanes[1, j])
            if hashed < out[j]:
                out[j] = hashed


@_jit
def _template(words: int, memory: Any) -> Any:
    """The first and the last words in lower case."""
    head, found = _U(0), 0
    for i in range(words):
        if memory.trait[i] & (NUMBER | CAPITAL) == 0:
            head = _mix(head * _C1 + memory.word[i])
            found += 1
            if found == 3:
                break
    tail, found = _U(0), 0
    for i in range(words - 1, -1, -1):
        if memory.trait[i] & (NUMBER | CAPITAL) == 0:
            tail = _mix(tail * _C1 + memory.word[i])
            found += 1
            if found == 3:
                break
    return _mix(head * _C2 + tail)


@_jit
def _cell(unit: Any, tables: Any) -> Any:
    cell = np.uint32(0)
    for i in range(CELL):
        side = tables.offsets[i]
        for j in range(MEANING):
            side += tables.planes[i, j] * np.int32(unit[j])
        cell |= np.uint32(side > 0) << np.uint32(i)
    return cell


@_jit
def extract(buffer: Any, starts: Any, ends: Any, tables: Any, memory: Any, features: Any) -> int:
    """Read n prompts into n rows of features; returns how many chunks had to be spelled."""
    spelled = 0
    meaning = np.empty(MEANING, np.int32)
    hashed = np.empty(WORDS, np.int32)
    for n in range(len(starts)):
        start, stop = _U(starts[n]), _U(ends[n])
        chunks, words, whole = _read(buffer, start, stop, tables, memory)
        spelled += _meaning(buffer, chunks, tables, memory, meaning)
        _unit(meaning, features.meaning[n])
        _hashed(words, memory, hashed)
        _unit(hashed, features.words[n])
        _minhash(words, memory, tables.lanes, features.minhash[n])
        features.prompt[n] = whole
        features.template[n] = _template(words, memory)
        features.cell[n] = _cell(features.meaning[n], tables)
        counts = memory.counts
        characters = np.float32(max(counts[:_WORDS].sum() - counts[_UPPER], 1))
        for j in range(_WORDS):
            features.shape[n, j] = np.float32(counts[j]) / characters
        features.shape[n, _WORDS] = np.float32(counts[_WORDS])
    return spelled
