"""Admission: which requests are new, and which of their text is read.

A repeat is a request with the id, the time and the content of another one of the key, as when a
message is sent twice. It counts once. Any other request counts, whatever its id: a client may
choose the id. The number of reused ids is kept. Only where two records describe one call, as a span
and a log event do, does the second one with the same id not count; its new text is still read.

A client writes the whole conversation. So what is judged is what is new: the parts that the key
has not sent lately, wherever they stand. A record remembers the hashes of PARTS parts. A part that
comes again stays longer than others (CLOCK; F. J. Corbató, A Paging Experiment with the Multics
System, 1968), so a constant system prompt stays known. Whoever displaces it with other parts only
has it judged again. If nothing is new, the last turn is judged. Answers of the model are not
judged, unless the conversation is made up and has hardly any other new text.

Tokens are counted if they are new to the model: the output, and of the input what the new parts
explain. An agent that sends its whole conversation at each step sends little. Without any text, the
input is counted in full.

A request continues a conversation if the client's turn before the last one was the last one of an
earlier request. A turn that comes again and again is no sign of it.

Work per key is bounded: of the prompts of five minutes the first BUDGET are read, and of those
beyond them the n-th with probability BUDGET / n, decided by a hash of the request. A sample of a
few hundred prompts shows as much as ten thousand.

Below, `r` is one RECORD, updated in place, and `begin` and `end` are the range of a request's parts
in the columns `kinds` and `hashes` of `Parts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.kernels.bits import mix
from monitor.kernels.buffers import Prompts
from monitor.kernels.jit import jit
from monitor.prompts.cleaning.judged_text import judged_texts
from monitor.records.profile import IDS, MIDDLE, PARTS, RECORD, Records
from monitor.requests.columns import BYTES_PER_TOKEN, FRAME_BYTES, Columns
from monitor.requests.marks import (
    CONVERSATION,
    FIRST_TURN,
    FOLLOW_UP,
    HAS_PROMPT,
    JOINS,
    TINY_TURN,
)
from monitor.requests.parts import KIND, LAST_TURN
from monitor.requests.turns import ASSISTANT, SYSTEM

BUDGET = 64  # prompts per key in five minutes
_PANE_SECONDS = MIDDLE.width

# A request is ignored, counted without its prompt, or counted with its prompt. Of a joined one only
# the tokens and the prompt count.
REPEATED, JOINED, UNREAD, READ = 0, 1, 2, 3

TINY = 64  # bytes of a turn that says nothing by itself, such as "Yes, go on."
_SHORT_SYSTEM = 128  # bytes of a system prompt that holds no question
_LARGE = 256  # bytes of a text beside which a tiny turn is a sign
_MOST = 65_535  # reused ids that a record can count
_HISTORY = 4  # new parts before the last turn that one request adds to the memory
_FAST = PARTS // 2  # requests in five minutes from which on the memory is too short for turns

# Entry of the ring of ids: 16 bits of the id, 13 bits of time and content, and three flags. Another
# eight bits of time and content are in `id_checks`. A record of a call with a second id makes an
# entry for this one, too.
_ID, _CHECK, _IS_SECOND, _HAS_TOKENS, _IS_JOINED = 16, 0xFFF8, 4, 2, 1
_NEW, _REUSED, _REPEAT, _SECOND = 0, 1, 2, 3  # what an id says of a request


class Admitted(NamedTuple):
    """What is admitted of n requests.

    Attributes:
        admitted: `(n,) uint8`, see `admission.py`.
        marks: `(n,) uint16`, bits of `requests/marks.py`.
        tokens: `(n,) float64`, new to the model.
        judged: `(p,) bool`, which parts of the requests are judged.
        prompts: the judged texts.
        reused: requests whose id another request of the key had.
    """

    admitted: npt.NDArray[np.uint8]
    marks: npt.NDArray[np.uint16]
    tokens: npt.NDArray[np.float64]
    judged: npt.NDArray[np.bool_]
    prompts: Prompts
    reused: int


def admit_columns(records: Records, rows: npt.NDArray[np.int64], columns: Columns) -> Admitted:
    """Admit n requests, see `admit`; the columns stay as they are."""
    parts, marks, counts = columns.parts, columns.marks.copy(), columns.tokens.copy()
    admitted, judged = np.empty(len(rows), np.uint8), np.empty(len(parts.kinds), np.bool_)
    ids, tokens = columns.short_hashes("id"), np.empty(len(rows))
    reused = admit(records, rows, columns.ts, counts, ids, parts, marks, tokens, admitted, judged)
    prompts = judged_texts(parts.data, parts.places, parts.hashes, parts.ranges, judged)
    return Admitted(admitted, marks, tokens, judged, prompts, reused)


def admission_fields(records: Records) -> npt.NDArray[np.void]:
    """The fields of n records that admission and the frames update, as one view, `(n,)`."""
    fields: Mapping[str, Any] = RECORD.fields or {}
    begin, end = fields["ids"][1], fields["short_head"][1]
    return records.getfield(f"V{end - begin}", begin)


@jit
def time_bits(ts: float) -> Any:
    """A time in epoch seconds as uint64 microseconds, to be hashed."""
    return np.uint64(np.int64(ts * 1e6))


@jit
def admit(
    records: Any,
    rows: Any,
    ts: Any,
    counts: Any,
    ids: Any,
    parts: Any,
    marks: Any,
    tokens: Any,
    admitted: Any,
    judged: Any,
) -> int:
    """Decide which of n requests are new and which of their parts are judged.

    Args:
        records: `(capacity,) RECORD`, the table; only ids, parts and budget are updated, in place.
        rows: `(n,) int64`, the record of each request.
        ts: `(n,) float64`, epoch seconds.
        counts: `(n, 2) float64`, input and output tokens; set to 0 where another record of the
            same call had them.
        ids: `(n,) uint32`, hashes of the request ids, 0 without one. With JOINS, the lower 16 bits
            are of the second id of the call, 0 without one.
        parts: the requests' `Parts`.
        marks: `(n,) uint16`, bits of `requests/marks.py`; updated in place.
        tokens: `(n,) float64`, receives the tokens that are new to the model.
        admitted: `(n,) uint8`, receives REPEATED, UNREAD, READ or JOINED.
        judged: `(p,) bool`, receives whether each part is judged.

    Returns:
        Number of requests whose id another request of the key had.
    """
    slots = np.empty(len(judged), np.int16)
    judged[:] = False
    reused = 0
    for e in range(len(rows)):
        r = records[rows[e]]
        begin, end = parts.ranges[e, 0], parts.ranges[e, 1]
        found = _NEW
        if ids[e] != 0:
            check = mix(time_bits(ts[e]) ^ _content(parts.hashes, begin, end))
            found = _look_up_id(r, ids[e], check, marks[e] & JOINS != 0, counts[e])
        if found == _REPEAT:
            admitted[e], tokens[e] = REPEATED, 0.0
            continue
        if found == _REUSED:
            reused += 1
            r["reused_ids"] = min(r["reused_ids"] + 1, _MOST)
        joined = found == _SECOND
        pane = int(ts[e] // _PANE_SECONDS)
        if pane > r["budget_pane"]:
            r["budget_pane"] = pane
            r["budget_used"] = 0
        if not joined:
            r["budget_used"] += 1
        used = r["budget_used"]
        admitted[e] = JOINED if joined else READ
        if used > BUDGET:
            coin = mix(time_bits(ts[e]) ^ (np.uint64(used) << np.uint64(32)) ^ np.uint64(ids[e]))
            if float(coin >> np.uint64(11)) * 2.0**-53 * used >= BUDGET:
                admitted[e] = REPEATED if joined else UNREAD
        marks[e] = _recognise(r, parts, begin, end, marks[e], slots)
        tokens[e] = _new_tokens(counts[e], parts, begin, end, slots, joined)
        if admitted[e] in (JOINED, READ):
            marks[e] = _choose(r, parts, begin, end, marks[e], slots, judged, joined)
    return reused


@jit
def _content(hashes: Any, begin: int, end: int) -> Any:
    """A hash of a request's parts, uint64."""
    content = np.uint64(0)
    for p in range(begin, end):
        content = mix(content ^ hashes[p])
    return content


@jit
def _look_up_id(r: Any, hashed: Any, check: Any, joins: bool, counts: Any) -> int:
    """What the id of a request says of it: _NEW, _REUSED, _REPEAT or _SECOND of one call.

    Args:
        hashed: uint32, hash of the id, not 0.
        check: uint64, hash of time and content.
        joins: whether two records may describe one call.
        counts: `(2,) float64`, input and output tokens; set to 0 for the second record of a call
            whose first one had tokens.
    """
    ids = r["ids"]
    name: Any = max(np.int64(hashed) >> _ID, 1)
    second: Any = np.int64(hashed) & 0xFFFF if joins else 0
    bits, more = np.int64(check >> np.uint64(32)) & _CHECK, np.uint8(check & np.uint64(0xFF))
    has_tokens = _HAS_TOKENS if counts.sum() > 0.0 else 0
    found = _NEW
    for i in range(IDS):
        entry = np.int64(ids[i])
        same = entry >> _ID == name
        if not same and (second == 0 or entry >> _ID != second or entry & _IS_SECOND):
            continue
        if same and entry & _CHECK == bits and r["id_checks"][i] == more:
            return _REPEAT
        if joins and not entry & _IS_JOINED:
            ids[i] = entry | has_tokens | _IS_JOINED
            if entry & _HAS_TOKENS:
                counts[:] = 0.0
            return _SECOND
        if same:
            found = _REUSED
    ids[r["id_count"]] = name << _ID | bits | has_tokens
    r["id_checks"][r["id_count"]] = more
    r["id_count"] = (r["id_count"] + 1) % IDS
    if second:
        ids[r["id_count"]] = second << _ID | bits | has_tokens | _IS_SECOND
        r["id_checks"][r["id_count"]] = more
        r["id_count"] = (r["id_count"] + 1) % IDS
    return found


@jit
def _short(hashed: Any, kind: int) -> int:
    """The 15 bits of a part's hash that a record keeps, never 0. Those of an answer differ from
    those of the client's own text, so an answer makes no question known."""
    if kind == ASSISTANT:
        hashed = mix(hashed)
    return int(max(int(hashed >> np.uint64(49)), 1))


@jit
def _find(memory: Any, short: int) -> int:
    """The index of a part in the memory of a record, -1 if it is not there."""
    found = -1
    for i in range(PARTS):
        if np.int64(memory[i]) >> 1 == short:
            found = i
    return found


@jit
def _recognise(r: Any, parts: Any, begin: int, end: int, mark: int, slots: Any) -> int:
    """Find a request's parts in the memory of its record, and add the new ones.

    Args:
        mark: bits of `requests/marks.py`.
        slots: `(p,) int16`, receives the index of each part in the memory, -1 for a new one.

    Returns:
        The marks, with FOLLOW_UP or FIRST_TURN if the request has messages.
    """
    memory, kinds, hashes = r["parts"], parts.kinds, parts.hashes
    earlier, recurs, clients = -1, False, 0
    for p in range(begin, end):
        kind = kinds[p] & KIND
        slot = _find(memory, _short(hashes[p], kind))
        slots[p] = slot
        if kind not in (SYSTEM, ASSISTANT):
            clients += 1
            if not kinds[p] & LAST_TURN:
                earlier, recurs = p, slot >= 0 and memory[slot] & 1 == 1
    added = 0
    for p in range(begin, end):
        if slots[p] >= 0:
            memory[slots[p]] |= 1
        elif kinds[p] & LAST_TURN or added < _HISTORY:
            added += not kinds[p] & LAST_TURN
            if kinds[p] & KIND == SYSTEM:
                r["systems"] = min(r["systems"] + 1, 255)
            _add(r, _short(hashes[p], kinds[p] & KIND), not kinds[p] & LAST_TURN)
    if not mark & CONVERSATION or clients == 0:
        return mark
    if earlier >= 0 and slots[earlier] >= 0 and not recurs:
        return mark | FOLLOW_UP
    if earlier >= 0 and r["budget_used"] > _FAST:  # an earlier turn may be forgotten
        return mark
    return mark | FIRST_TURN


@jit
def _new_tokens(counts: Any, parts: Any, begin: int, end: int, slots: Any, joined: bool) -> float:
    """The tokens of a request that are new to the model.

    Args:
        counts: `(2,) float64`, input and output tokens.
        slots: as `_recognise` returns them.
        joined: whether another record of the same call made its last turn known.
    """
    size, new = 0, 0
    for p in range(begin, end):
        part = parts.places[p, 1] - parts.places[p, 0]
        size += part
        if slots[p] < 0 or (joined and parts.kinds[p] & LAST_TURN):
            new += part
    explained = (new + FRAME_BYTES) / BYTES_PER_TOKEN
    return float(counts[1] + (min(counts[0], explained) if size else counts[0]))


@jit
def _add(r: Any, short: int, recurs: bool) -> None:
    """Add a part to the memory, in the place of one that has not come again lately.

    Args:
        recurs: whether to keep it as one that comes again: it is from before the last turn.
    """
    memory = r["parts"]
    if _find(memory, short) >= 0:  # twice in one request
        return
    hand = np.int64(r["part_hand"])
    while memory[hand] & 1:
        memory[hand] &= 0xFFFE
        hand = (hand + 1) % PARTS
    memory[hand] = short << 1 | recurs
    r["part_hand"] = (hand + 1) % PARTS


@jit
def _choose(
    r: Any,
    parts: Any,
    begin: int,
    end: int,
    mark: int,
    slots: Any,
    judged: Any,
    joined: bool,
) -> int:
    """Choose the parts of a request that are judged.

    A new system prompt is judged if it is long, or not the first one of the key: a constant one is
    part of no question.

    Args:
        mark, slots: as `_recognise` returns them.
        judged: `(p,) bool`, the result.
        joined: whether another record of the same call is counted; then only new parts are judged.

    Returns:
        The marks, with TINY_TURN if it is one, and HAS_PROMPT if a part is judged.
    """
    kinds, places = parts.kinds, parts.places
    client, last_size, answers, system, last = 0, 0, 0, 0, begin
    for p in range(begin, end):
        size = places[p, 1] - places[p, 0]
        if kinds[p] & KIND != ASSISTANT:
            last = p
        if kinds[p] & LAST_TURN:
            last_size += size
        if slots[p] < 0 and kinds[p] & KIND != ASSISTANT:
            client += size
            system += size if kinds[p] & KIND == SYSTEM else 0
            judged[p] = True
        elif slots[p] < 0:
            answers += size
    before = client + answers
    for p in range(begin, end):
        if judged[p] and kinds[p] & LAST_TURN:
            before -= places[p, 1] - places[p, 0]
    made_up = client <= TINY and not mark & FOLLOW_UP
    found = client > 0
    short = 0 < system < client and system <= max(client - system, _SHORT_SYSTEM)
    if short and r["systems"] <= 1:
        for p in range(begin, end):
            judged[p] = judged[p] and kinds[p] & KIND != SYSTEM
    for p in range(begin, end):
        if kinds[p] & KIND == ASSISTANT and slots[p] < 0 and (made_up or p > last):
            judged[p] = found = True
    if not found and not joined:
        for p in range(begin, end):
            if kinds[p] & LAST_TURN and kinds[p] & KIND != SYSTEM:
                judged[p] = found = True
    mark &= ~(HAS_PROMPT | TINY_TURN)
    if 0 < last_size <= TINY and before >= _LARGE:
        mark |= TINY_TURN
    return mark | HAS_PROMPT if found else mark
