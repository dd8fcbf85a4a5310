"""Fewer prompts of settled keys are read, until something about them changes."""

import copy
import itertools

import pytest

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.records.migrations import read
from monitor.records.reading.settled import CLEAN
from monitor.store.memory import MemoryStore
from tests.support.requests import jittered, request, task

IDENTITY = Identity(b"0123456789abcdef", plain=True)
KEY, EVERY, AGE = "sk-app", 120.0, 2400  # seconds, and requests before the tests: over three days
CLIENT = {
    "model": "atlas-3",
    "ip": "192.0.2.7",
    "user_agent": "shop/1.0",
    "system": "You sort reviews.",
}
ASKS = "Is this review of a coffee machine positive or negative? Answer with one word.\n\n{}"
PARTS = (
    ("The pump", "The grinder", "The water tank", "The milk frother", "The lid", "The display"),
    ("leaks", "works", "broke", "rattles", "shines", "jams", "feels sturdy", "stopped"),
    ("after a week", "every morning", "again", "without a sound", "since Monday", "at once"),
    ("and I want my money back.", "and I would buy it again.", "but the coffee is fine."),
)
REVIEWS = [" ".join(words) for words in itertools.product(*PARTS)]


def review(i, **more):
    """The i-th request of the application, from the start of its key on."""
    fields = {**CLIENT, "output_tokens": 2, "id": f"r{i}", **more}
    prompt = fields.pop("prompt", ASKS.format(f"{REVIEWS[i * 131 % len(REVIEWS)]} {i}"))
    return request(KEY, jittered(i) * EVERY, prompt, **fields)


class Run:
    """An engine on a store, and what it observed."""

    def __init__(self, store, share=0.25):
        self.store = copy.deepcopy(store)
        self.engine = Engine(Settings(read_share=share), IDENTITY, self.store)
        self.offset = self.engine.assign("t:0").offset
        self.outputs = []

    def observe(self, values, size=4_000):
        """Observe requests in batches; return how many of their prompts were not read."""
        before = self.unread
        values = list(values)
        for start in range(0, len(values), size):
            batch = values[start : start + size]
            offsets = range(self.offset, self.offset + len(batch))
            seen = self.engine.observe(Batch("t:0", offsets, batch))
            self.outputs += [*seen.alerts, *seen.decisions, *seen.fingerprints]
            self.offset += len(batch)
        return self.unread - before

    @property
    def unread(self):
        return self.engine.metrics.registry.get_sample_value("xm_unread_prompts_total")

    def save(self):
        written = self.engine.snapshot()
        self.store.commit(written)
        self.engine.commit(written)
        return self.store

    @property
    def record(self):
        return read(self.save().records[KEY])


@pytest.fixture(scope="module")
def store():
    """The store after some days of the application, all its prompts read."""
    run = Run(MemoryStore())
    assert run.observe(review(i) for i in range(AGE)) < AGE * 0.2
    return run.save()


@pytest.fixture
def run(store):
    return Run(store)


def test_settled_key_has_a_share_of_its_prompts_read(run):
    assert 250 < run.observe(review(AGE + i) for i in range(400)) < 350


def test_share_of_one_reads_all_prompts(store):
    assert Run(store, share=1.0).observe(review(AGE + i) for i in range(400)) == 0


def test_what_needs_no_prompt_is_counted_exactly(store):
    found = []
    for share in (0.25, 1.0):
        run = Run(store, share)
        run.observe(review(AGE + i) for i in range(300))
        found.append(run.record)
    less, full = found
    assert less["prompts"] < full["prompts"]
    for name in ("requests", "tokens", "long_requests", "rhythm", "task_prompts", "tasks", "parts"):
        assert (less[name] == full[name]).all(), name


def test_all_repeats_of_a_prompt_are_read_or_none(run):
    for start, text in zip(range(AGE, AGE + 100, 20), REVIEWS, strict=False):
        prompt = ASKS.format(text)
        unread = run.observe(review(i, prompt=prompt) for i in range(start, start + 20))
        assert unread in (0, 20)


CHANGES = {
    "model": {"model": "atlas-4"},
    "network": {"ip": "198.51.100.7"},
    "client": {"user_agent": "curl/8.5.0"},
    "system prompt": {"system": "You are a programmer."},
    "end user": {"end_user": "u1"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_change_makes_all_prompts_read(run, change):
    """The request with the change, and those after it in the same batch."""
    values = [review(AGE, **change), *(review(AGE + i) for i in range(1, CLEAN))]
    assert run.observe(values) == 0


def test_higher_rate_makes_all_prompts_read(run):
    burst = [
        request(KEY, (AGE + i / 100) * EVERY, ASKS.format(i), id=f"b{i}", **CLIENT)
        for i in range(60)
    ]
    assert run.observe(burst[:20]) > 0
    assert run.observe(burst[20:]) == 0


def test_other_work_at_the_same_rate_is_read_soon(run):
    assert run.observe(review(AGE + i, prompt=task(i)) for i in range(200)) < 20


def test_key_settles_again_after_ordinary_prompts(run):
    run.observe([review(AGE, end_user="")])
    run.observe(review(AGE + i, prompt=task(i)) for i in range(60))
    later = range(AGE + 60, AGE + 60 + 3 * CLEAN)
    assert run.observe(review(i) for i in later) > CLEAN


@pytest.mark.parametrize("size", [1, 7, 150])
def test_output_does_not_depend_on_batches(store, size):
    """Nor does it with prompts that end and resume the state within a batch."""
    values = [review(AGE + i, **({"prompt": task(i)} if i % 190 > 165 else {})) for i in range(500)]
    values += [review(AGE + 500 + i, end_user="u1") for i in range(3)]
    found = []
    for each in (len(values), size):
        run = Run(store)
        unread = run.observe(values, each)
        found.append((unread, run.outputs, run.record.tobytes()))
    assert found[0][0] > 100
    assert found[0] == found[1]
