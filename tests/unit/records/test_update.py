"""The kernel against a plain reading of what it says it keeps."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.prompts.extractor import Features
from monitor.prompts.kernel import MEANING
from monitor.prompts.projection import CONTENT, LISTS, SCALE, SHARES
from monitor.prompts.style import STYLE
from monitor.records.admission import BUDGET, READ, REPEATED, admit
from monitor.records.baseline import VOTE_AGE, VOTE_REQUESTS
from monitor.records.baseline_mean import PROMPTS_PER_DAY, Sums
from monitor.records.inputs import ACCOUNT_KEYS, KEY, Entries, Requests, Today
from monitor.records.profile import BINS, LEVELS, LONG, MIDDLE, PER_LEVEL, RECORD, SHORT, Profile
from monitor.records.update import FIRST_EVALUATION, FOLLOW_UP, MAX_NATS, update
from monitor.requests.marks import HAS_PROMPT, INTENT
from monitor.requests.parts import LAST_TURN, Parts
from monitor.requests.turns import USER
from monitor.sketches import hyperloglog

START = 1_772_409_600.0
TRAITS = np.array([0.0, 2.0, 5.0, 4.0, 4.0, 1.0])  # weights of the harvest level
DAY = int(START // 86_400)


def prompts(numbers):
    """Features of prompts; equal numbers stand for equal prompts."""
    drawn = [np.random.default_rng(number) for number in numbers]
    n = len(drawn)

    def unit(d):
        vectors = np.array([rng.normal(size=d) + 0.3 for rng in drawn]).reshape(n, d)
        return np.rint(127 * vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    def drawn_normal(d, scale):
        return np.array([rng.normal(scale=scale, size=d) for rng in drawn]).reshape(n, d)

    def bits(kind, *shape):
        return np.array([rng.integers(1, 2**32, shape or None) for rng in drawn], kind)

    return Features(
        meaning=unit(MEANING).astype(np.int8),
        prompt=bits(np.uint64),
        template=bits(np.uint64),
        cell=bits(np.uint64),
        opening=unit(MEANING).astype(np.int8),
        closing=unit(MEANING).astype(np.int8),
        style=np.ones((n, len(STYLE)), np.float32),
        concepts=np.zeros(n, np.uint64),
        family=np.zeros(n, np.uint8),
        content=drawn_normal(CONTENT, SCALE).astype(np.int8),
        lists=drawn_normal(len(LISTS) * len(SHARES), 1).astype(np.float32),
        unreadable=np.zeros(n, np.bool_),
        triggered=np.zeros(n, np.bool_),
    )


def prompt_parts(present, hashes):
    """A part of 100 bytes for each prompt."""
    n, first = len(hashes), np.arange(len(hashes))
    return Parts(
        np.zeros(100, np.uint8),
        np.tile([0, 100], (n, 1)),
        np.full(n, USER | LAST_TURN, np.uint8),
        hashes,
        np.stack([first, first + present], axis=1),
    )


class Table:
    """A few records, and the kernel's arguments around them."""

    def __init__(self, rows=1, *, trusted=False):
        self.trusted = trusted
        self.records = np.zeros(rows, RECORD)
        self.today = np.zeros((LEVELS, BINS))
        self.ceiling = np.full(LEVELS, 30.0)
        self.model = 1
        self.sums = Sums.empty()

    def observe(
        self,
        seconds,
        *,
        tokens=0.0,
        ids=None,
        marks=HAS_PROMPT,
        rows=None,
        day=DAY,
        numbers=None,
        origins=(0, 0),
        metadata=(0, 0, 0, 0),
        model=0,
        style=1.0,
        account=-1,
        tasks=np.nan,
        unframed=0.0,
    ):
        n = len(seconds)
        evaluations, at, admitted = (
            np.zeros(n, RECORD),
            np.zeros(n, np.int64),
            np.zeros(n, np.uint8),
        )
        rows = np.zeros(n, np.int64) if rows is None else np.array(rows, np.int64)
        requests = Requests(
            ts=START + np.array(seconds, np.float64),
            sent=START + np.array(seconds, np.float64),
            tokens=np.full(n, tokens, np.float64),
            ids=np.array(ids if ids is not None else [0] * n, np.uint32),
            marks=np.broadcast_to(np.array(marks, np.uint16), n).copy(),
            models=np.full(n, model, np.uint32),
            origins=np.broadcast_to(np.array(origins, np.uint32), (n, 2)).copy(),
            metadata=np.broadcast_to(np.array(metadata, np.uint64), (n, 4)).copy(),
            tasks=np.broadcast_to(np.array(tasks, np.float32), n).copy(),
            unframed=np.full(n, unframed, np.float32),
            chosen=np.ones(n, np.bool_),
            extracted=np.ones(n, np.bool_),
        )
        fixed = day, self.today, self.ceiling, self.model, TRAITS
        today = Today(*fixed, *self.sums, self.trusted)
        features = prompts(range(n) if numbers is None else numbers)
        features.style[:] = style
        parts = prompt_parts(requests.marks & HAS_PROMPT != 0, features.prompt)
        judged = np.zeros(n, np.bool_)
        admit(
            *(self.records, rows, requests.ts, np.zeros((n, 2)), requests.ids),
            *(parts, requests.marks, np.empty(n), admitted, judged),
        )
        counted = np.flatnonzero(admitted != REPEATED)
        users, roles = np.full(n, -1, np.int64), np.full(len(counted), KEY, np.uint8)
        accounts = np.full(n, account, np.int64)
        nobody = np.zeros(n, np.uint32), np.zeros(n, bool)
        entries = Entries(rows[counted], counted, roles, rows, accounts, users, *nobody, admitted)
        count, _ = update(
            self.records, entries, requests, features, today, 0, len(counted), evaluations, at
        )
        return evaluations[:count], counted[at[:count]], admitted

    @property
    def profile(self):
        return Profile(self.records)


times = st.lists(st.floats(0, 90_000).map(lambda s: round(s, 3)), min_size=1, max_size=80)


@settings(deadline=None)
@given(times.map(sorted))
def test_every_window_counts_the_requests_of_its_panes(seconds):
    table = Table()
    table.observe(seconds, tokens=10.0)
    counts = Profile(table.records).counts[0]
    now = START + seconds[-1]
    for i, (width, panes) in enumerate(
        [(SHORT.width, 4), SHORT, MIDDLE, LONG],
    ):
        oldest = int(now // width) - panes + 1
        expected = sum(int((START + s) // width) >= oldest for s in seconds)
        assert round(counts[i]) == expected
        assert abs(counts[4 + i] - 10 * expected) <= 1e-3 * (1 + 10 * expected)


@settings(deadline=None)
@given(times, st.integers(0, 80))
def test_two_batches_give_the_bytes_of_one(seconds, cut):
    together, apart = Table(), Table()
    together.observe(seconds)
    apart.observe(seconds[:cut], numbers=range(len(seconds[:cut])))
    apart.observe(seconds[cut:], numbers=range(len(seconds))[cut:])
    assert together.records.tobytes() == apart.records.tobytes()
    assert (together.today == apart.today).all()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 9_000)), min_size=1, max_size=60))
def test_keys_do_not_affect_each_other(requests):
    mixed, alone = Table(3), Table(3)
    mixed.observe([s for _, s in requests], rows=[row for row, _ in requests])
    for row in range(3):
        own = [i for i, (r, _) in enumerate(requests) if r == row]
        alone.observe([requests[i][1] for i in own], rows=[row] * len(own), numbers=own)
    assert mixed.records.tobytes() == alone.records.tobytes()


@settings(deadline=None)
@given(times)
def test_each_key_counts_once_per_level(seconds):
    table = Table()
    table.observe(sorted(seconds))
    old = max(seconds) - min(seconds) >= VOTE_AGE
    assert (table.today.sum(axis=1) == (len(seconds) >= VOTE_REQUESTS and old)).all()


def test_new_keys_do_not_count_in_the_baseline():
    table = Table(500)
    for row in range(500):
        table.observe(range(7), rows=[row] * 7, numbers=range(7))
    assert not table.today.any()
    assert not table.sums.prompts.any()


def test_new_keys_count_where_all_traffic_is_ordinary():
    table = Table(5, trusted=True)
    for row in range(5):
        table.observe(range(7), rows=[row] * 7, numbers=range(7))
    assert (table.today.sum(axis=1) == 5).all()
    assert table.sums.prompts.sum() > 0


def test_late_request_counts_where_its_pane_exists():
    table = Table()
    table.observe([1_000.0, 1_000.0 - 500.0])
    counts = Profile(table.records).counts[0]
    assert [round(c) for c in counts[:4]] == [1, 1, 2, 2]


def test_repeated_id_changes_nothing():
    once, twice = Table(), Table()
    once.observe([1.0], ids=[7])
    _, _, admitted = twice.observe([1.0, 1.0], ids=[7, 7], numbers=[0, 0])
    assert admitted.tolist() == [READ, REPEATED]
    assert once.records.tobytes() == twice.records.tobytes()


def test_first_evaluation_is_after_eight_requests():
    table = Table()
    evaluations, at, _ = table.observe(range(FIRST_EVALUATION))
    assert len(table.observe([])[0]) == 0
    assert at.tolist() == [FIRST_EVALUATION - 1]
    assert evaluations["requests"].tolist() == [FIRST_EVALUATION]


def test_fast_key_is_evaluated_less_often():
    evaluations, _, _ = Table().observe(np.arange(3_000) / 10)
    assert len(evaluations) < 120


def test_intent_level_rises_with_matches_and_falls_without():
    table = Table()
    table.observe(range(10), marks=HAS_PROMPT + INTENT)
    risen = table.records[0]["level"][8]
    table.observe(range(10, 20), marks=HAS_PROMPT)
    assert 0 < table.records[0]["level"][8] < risen
    assert table.records[0]["level"][9] == 0


def test_intent_level_stops_at_its_cap():
    table = Table()
    table.observe(range(200), marks=HAS_PROMPT + INTENT)
    assert table.records[0]["level"][8] == MAX_NATS / 2


def test_requests_without_a_prompt_are_no_prompts():
    table = Table()
    table.observe(range(20), marks=0)
    assert table.records[0]["prompts"] == 0


def test_new_day_starts_with_new_peaks():
    table = Table()
    table.observe([0.0] * 50)
    table.today[:] = 0
    table.observe([86_400.0], day=DAY + 1)
    assert table.records[0]["day_peak"][0] == PER_LEVEL  # log2(1 + 1)
    assert (table.today.sum(axis=1) == 1).all()


def test_own_past_is_the_mean_of_hourly_peaks():
    table = Table()
    for hour in range(10):
        table.observe([hour * 3600 + i * 60 for i in range(31)])
    record = table.records[0]
    assert record["own_hours"] == 9
    assert abs(record["own_mean"][2] - 5.0) < 0.3  # log2(1 + 31)


def test_own_past_stays_below_the_ceiling():
    table = Table()
    table.ceiling[:] = 3.0
    for hour in range(3):
        table.observe([hour * 3600 + i for i in range(200)])
    assert table.records[0]["own_mean"].max() <= 3.0


def test_sketches_count_prompts_and_metadata():
    table = Table()
    table.observe(range(40), numbers=[*range(30), *range(10)], metadata=(5, 6, 7, 0), model=9)
    key = table.profile
    assert round(key.distinct("prompts")[0]) in range(24, 37)
    assert [round(key.distinct(kind)[0]) for kind in ("addresses", "end_users", "systems")] == [
        1,
        1,
        0,
    ]
    assert key["sketch_prompts"][0] == 40
    assert 0.05 < key.meaning.self_similarity[0] < 0.2
    assert 0 < key.novelty[0] < 1
    assert key["model_names"][0].tolist() == [9, 0, 0, 0]
    assert key["rhythm"][0].sum() == 40


def test_prompt_of_punctuation_alone_is_not_in_the_sketches():
    table = Table()
    table.observe(range(20), style=0.0)
    assert table.records[0]["prompts"] == 20
    assert table.records[0]["sketch_prompts"] == 0


def test_follow_ups_are_a_share_of_recent_requests():
    table = Table()
    table.observe(range(500))
    table.observe(range(500, 564), marks=HAS_PROMPT + FOLLOW_UP)
    assert abs(table.records[0]["follow_ups"] - 0.5) < 0.01


def test_prompts_beyond_the_budget_are_sampled():
    table = Table()
    _, _, admitted = table.observe(np.arange(5_000) / 20)
    assert (admitted[:BUDGET] == READ).all()
    assert BUDGET * 4 < (admitted == READ).sum() < BUDGET * 7
    assert table.records[0]["requests"] == 5_000
    assert table.records[0]["sketch_prompts"] == (admitted == READ).sum()


def test_budget_renews_after_five_minutes():
    _, _, admitted = Table().observe([*np.arange(1_000) / 10, *(300 + np.arange(BUDGET))])
    assert (admitted[-BUDGET:] == READ).all()


def test_key_adds_few_prompts_a_day_to_the_baseline_mean():
    table = Table()
    table.observe(range(0, 6_000, 60))
    assert table.sums.prompts.sum() == PROMPTS_PER_DAY
    table.observe([86_400.0], day=DAY + 1)
    assert table.sums.prompts.sum() == PROMPTS_PER_DAY + 1


def test_flagged_key_adds_nothing_to_the_baseline_mean():
    table = Table()
    table.records["flagged"] = 1
    table.observe(range(10))
    assert not table.sums.prompts.any()


def test_distinct_counts_stay_within_their_error():
    table = Table()
    for start in range(0, 3_000, 50):
        seconds = range(start * 10, (start + 50) * 10, 10)
        table.observe(seconds, numbers=range(start, start + 50))
    assert abs(table.profile.distinct("prompts")[0] / 3_000 - 1) < 3 * hyperloglog.ERROR


def test_record_keeps_content_and_list_scores():
    table = Table()
    table.observe(np.arange(40) * 10)
    key, features = table.profile, prompts(range(40))
    place = features.content.astype(float) / SCALE
    pairs = (np.square(place.sum(axis=0)).sum() - CONTENT * 40) / (40 * 39)
    assert abs(key.content(1).self_similarity[0] - pairs) < 0.1
    total = features.lists.sum(axis=0) / np.sqrt(40)
    assert np.abs(key.lists[0].ravel() - total).max() < 0.2


def test_departure_of_ordinary_keys_is_standard_normal():
    keys = 60
    table = Table(keys)
    rows = np.repeat(np.arange(keys), 50)
    table.observe(np.tile(np.arange(50) * 10.0, keys), rows=rows)
    for half_life in (0, 1):
        departure = table.profile.departure(half_life)
        assert abs(departure.mean()) < 0.6
        assert 0.6 < departure.std() < 1.4
    assert np.abs(table.profile.lists.std(axis=0) - 1).max() < 0.5


def test_new_content_model_restarts_the_sketches():
    table, fresh = Table(), Table()
    table.observe(np.arange(30) * 10)
    table.model = fresh.model = 2
    table.observe(300 + np.arange(30) * 10, numbers=range(30, 60))
    fresh.observe(300 + np.arange(30) * 10, numbers=range(30, 60))
    assert table.records[0]["sketch_prompts"] == 30
    for field in ("lists", "novelty", "content_model"):
        assert (table.records[field] == fresh.records[field]).all()
    assert np.abs(table.records["content"] - fresh.records["content"]).max() <= 1


def test_key_without_prompts_has_neutral_values():
    key = Table().profile
    assert key.departure(0)[0] == key.content(0).self_similarity[0] == 0
    assert not key.lists.any()


def test_account_that_changes_keys_stands_for_them():
    table = Table(2)
    table.records["user_counts"][1, ACCOUNT_KEYS] = 10
    for before, due in ((145, False), (60, True), (900, True)):
        table.records[0] = np.zeros((), RECORD)
        table.records["requests"][1] = before
        evaluated, _, _ = table.observe(range(0, 900, 100), account=1)
        assert (evaluated["published"] == evaluated["requests"]).any() == due
