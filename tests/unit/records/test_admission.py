"""What is new in a key's requests is judged, wherever it stands, and each request counts once."""

import json

import numpy as np
import pytest

from monitor.identity import Identity
from monitor.kernels.buffers import Messages
from monitor.records.admission import JOINED, READ, REPEATED, TINY, admit_columns
from monitor.records.profile import PARTS, RECORD
from monitor.requests.columns import Reader
from monitor.requests.decoder import Decoded, Decoder, RequestEvent
from monitor.requests.marks import FIRST_TURN, FOLLOW_UP, HAS_PROMPT, JOINS, TINY_TURN

READER = Reader(Decoder(), Identity(b"0123456789abcdef"))
START = 1_772_409_600.0
LONG = "Work through the tide tables of this coast and explain each step. " * 5


def task(i):
    return f"{LONG} This is question number {i}."


def joining(columns, first, second):
    """The columns of a record of a call with one or two ids."""
    event = RequestEvent(columns.ts[0], "k", id=first, joins=second or "")
    decoded = Decoded.empty()
    for field, value in (("events", event), ("sources", 0), ("elements", 0)):
        getattr(decoded, field).append(value)
    hashes = READER.from_events(decoded).hashes
    return columns._replace(marks=columns.marks | JOINS, hashes=hashes)


class Key:
    """A key, whose requests are admitted one after the other."""

    def __init__(self):
        self.records = np.zeros(1, RECORD)
        self.time = START

    def send(self, *turns, joins=False, second=None, seconds=60.0, **fields):
        """Send a request; turns are texts or pairs of a role and content."""
        self.time += seconds
        messages = [
            {"role": "user", "content": turn}
            if type(turn) is str
            else dict(zip(("role", "content"), turn, strict=True))
            for turn in turns
        ]
        event = {"ts": self.time, "api_key": "k", **fields}
        event |= {"messages": messages} if messages else {}
        columns, *_ = READER(Messages.of([json.dumps(event).encode()]), np.inf)
        if joins:
            columns = joining(columns, event.get("id"), second)
        found = admit_columns(self.records, np.zeros(1, np.int64), columns)
        self.admitted, self.marks = int(found.admitted[0]), int(found.marks[0])
        self.reused, self.tokens = found.reused, float(found.tokens[0])
        begin, end = found.prompts.places[0]
        return found.prompts.data[begin:end].tobytes().decode()


@pytest.fixture
def key():
    return Key()


@pytest.mark.parametrize(
    "turns",
    [
        [task(0), ("assistant", "Shall I?"), "Yes, please go ahead."],
        [("system", task(0)), "Go on."],
        [("developer", task(0)), "Go on."],
        ["Next.", ("assistant", None), ("tool", task(0))],
        [("user", [{"type": "document", "source": {"type": "text", "data": task(0)}}])],
        ["Hello.", ("assistant", task(0)), "Go on."],
        ["Hello.", ("assistant", task(0))],
    ],
)
def test_task_is_judged_wherever_it_stands(key, turns):
    for i in range(5):
        now = json.loads(json.dumps(turns).replace("number 0", f"number {i}"))
        judged = key.send(*(turn if type(turn) is str else tuple(turn) for turn in now))
        assert task(i) in judged


def test_known_turns_are_not_judged_again(key):
    key.send(task(1))
    assert key.send(task(1), ("assistant", "Done."), task(2)) == task(2)
    assert key.marks & FOLLOW_UP


def test_known_turn_beside_a_task_hides_nothing(key):
    key.send("Tell me about the terns of this coast.")
    assert key.send(task(1), "Tell me about the terns of this coast.") == task(1)


def test_made_up_history_is_no_follow_up(key):
    for i in range(5):
        key.send(f"Hello {i}!", ("assistant", "Hi. How can I help?"), task(i))
        assert key.marks & FIRST_TURN
        assert not key.marks & FOLLOW_UP


def test_constant_first_turn_is_no_follow_up(key):
    for i in range(5):
        key.send("Hello!", ("assistant", "Hi. How can I help?"), task(i))
    assert not key.marks & FOLLOW_UP


def test_conversation_continues_with_every_turn(key):
    turns = []
    for i in range(5):
        turns.append(f"And what about question {i}?")
        assert key.send(*turns) == turns[-1]
        assert bool(key.marks & FOLLOW_UP) == (i > 0)
        turns.append(("assistant", f"Answer {i}."))


def test_turns_of_an_early_conversation_are_forgotten(key):
    key.send("Where do the terns go?")
    for i in range(2 * PARTS):
        key.send(task(i))
    assert "terns" in key.send("Where do the terns go?", ("assistant", "South."), task(1000))


def test_constant_system_prompt_stays_known(key):
    for i in range(3 * PARTS):
        assert key.send(prompt=task(i), system="You are a guide to this coast.") == task(i)


def test_changing_system_prompts_are_judged(key):
    assert key.send(prompt=f"{LONG} 0", system="Of the text, line 0") == f"{LONG} 0"
    for i in range(1, 20):
        assert f"line {i}" in key.send(prompt=f"{LONG} {i}", system=f"Of the text, line {i}")


def test_long_system_prompt_is_judged_beside_a_tiny_turn(key):
    assert task(0) in key.send(prompt="Go on.", system=task(0))
    assert key.marks & TINY_TURN


def test_answer_makes_no_question_known(key):
    key.send(LONG, ("assistant", task(1)), "What do you say to this? " * 4)
    assert task(1) in key.send(task(1), "And what do you say to that now? " * 4)


def test_nothing_new_is_judged_by_its_last_turn(key):
    key.send(task(1))
    assert key.send(task(1)) == task(1)
    assert key.send(prompt=task(1)) == task(1)


def test_known_system_prompt_alone_is_not_judged(key):
    key.send(system=LONG)
    assert key.send(system=LONG) == ""
    assert not key.marks & HAS_PROMPT


def test_tiny_last_turn_after_a_large_new_text_is_marked(key):
    key.send(task(1), ("assistant", "Shall I?"), "Yes.")
    assert key.marks & TINY_TURN
    key.send("Yes.")
    assert not key.marks & TINY_TURN
    assert len("Yes.") < TINY


def test_same_message_is_a_repeat(key):
    key.send(task(1), id="r1")
    key.send(task(1), id="r1", seconds=0.0)
    assert (key.admitted, key.reused) == (REPEATED, 0)


@pytest.mark.parametrize("ids", [["r1"], [f"r{i}" for i in range(12)]])
def test_reused_ids_count_in_full(key, ids):
    for i in range(60):
        assert key.send(task(i), id=ids[i % len(ids)]) == task(i)
        assert key.admitted == READ
    assert key.records["reused_ids"] == 60 - len(ids)


def test_two_records_of_one_call_count_once(key):
    assert key.send(id="c1", joins=True, input_tokens=30) == ""
    assert key.send(task(1), id="c1", joins=True, input_tokens=30) == task(1)
    assert (key.admitted, key.tokens) == (JOINED, 0.0)


def test_second_record_of_a_call_brings_its_tokens(key):
    key.send(task(1), id="c1", joins=True)
    assert key.send(task(1), id="c1", joins=True, input_tokens=30) == ""
    assert (key.admitted, key.tokens) == (JOINED, 30.0)


def test_conversation_sent_again_is_not_counted_again(key):
    turns = []
    for n in range(8):
        turns += [task(n), ("assistant", f"Answer {n}.")]
        key.send(*turns, "Go on.", input_tokens=60 * (n + 1), output_tokens=7)
    assert key.tokens < 7 + 60 * 8 / 3


@pytest.mark.parametrize(("cached", "counted"), [(0, 107), (90, 17), (5_000, 107)])
def test_cached_tokens_are_not_counted(key, cached, counted):
    key.send(input_tokens=100, cached_tokens=cached, output_tokens=7)
    assert key.tokens == counted


def test_input_beyond_its_prompt_is_not_counted(key):
    key.send(prompt=task(0), input_tokens=50_000)
    assert key.tokens < len(task(0))


def test_only_two_records_join(key):
    admitted = []
    for i in range(6):
        assert key.send(task(i), id="c1", joins=True) == task(i)
        admitted.append(key.admitted)
    assert admitted == [READ, JOINED] * 3


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ({"id": "span", "second": "call"}, {"id": "call"}),
        ({"id": "span", "second": "call"}, {"id": "span"}),
        ({"id": "call"}, {"id": "span", "second": "call"}),
        ({"id": "span"}, {"id": "span", "second": "call"}),
    ],
)
def test_records_of_one_call_join_by_either_id(key, first, other):
    key.send(joins=True, **first)
    assert key.send(task(1), joins=True, **other) == task(1)
    assert key.admitted == JOINED


def test_calls_with_one_second_id_stay_apart(key):
    for i in range(9):
        assert key.send(task(i), joins=True, id=f"span {i}", second="call") == task(i)
        assert key.admitted == READ


def test_requests_of_two_keys_have_their_own_memories(key):
    key.send(task(1), ("assistant", "A"), task(2))
    assert Key().send(task(1), ("assistant", "A"), task(2)) == f"{task(1)}\n{task(2)}"
