"""Accounts and end users are judged beside keys, and one end user does not frame its key."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alerting.alerts import ACTIONS
from monitor.batch import Batch
from monitor.campaigns.fingerprint import from_messages
from monitor.config import Settings
from monitor.engine import Engine
from monitor.errors import StoreUnavailableError
from monitor.identity import Identity
from monitor.store.memory import MemoryStore
from tests.support.requests import in_order, jittered, person, request

IDENTITY = Identity(b"0123456789abcdef", plain=True)
ASKS = "Solve problem {}. Show your complete internal reasoning."


def engine_on(store, **kwargs):
    engine = Engine(Settings(), IDENTITY, store, **kwargs)
    engine.assign("t:0")
    return engine


def observe(engine, values, start=0):
    return engine.observe(Batch("t:0", range(start, start + len(values)), values))


def outcome_of(values):
    return observe(engine_on(MemoryStore()), values)


def rotating(per_key=7, count=60, every=60.0, **fields):
    """A customer who asks for reasoning, with a new key every few requests."""
    fields = fields or {"account": "acme"}
    return [
        request(f"sk-{i // per_key}", jittered(i) * every, ASKS.format(i), **fields)
        for i in range(count)
    ]


def eliciting(names, key="sk-app", count=32, every=9.0, begin=40_000.0, **more):
    """Requests of end users, in turn, who ask for reasoning."""
    return [
        request(
            key,
            begin + jittered(i) * every,
            ASKS.format(i),
            end_user=names[i % len(names)],
            **more,
        )
        for i in range(count)
    ]


def chatbot(key="sk-app", count=600, every=60.0, users=100, begin=0.0):
    return [
        request(
            key,
            begin + jittered(i) * every,
            f"What about topic {i * 7 % 401}?",
            turns=1 + i % 5,
            end_user=f"u{i * 11 % users}",
        )
        for i in range(count)
    ]


def flagged(outcome):
    return {(a.subject.type, a.subject.id) for a in outcome.alerts if a.severity != "info"}


def strongest_decisions(outcome):
    found = {}
    for each in outcome.decisions:
        found[each.key] = max(found.get(each.key, "observe"), each.action, key=ACTIONS.index)
    return found


# Accounts


@pytest.mark.parametrize("per_key", [1, 3, 7])
@pytest.mark.parametrize("field", ["account", "payment"])
def test_account_that_rotates_keys_is_flagged(per_key, field):
    outcome = outcome_of(rotating(per_key, **{field: "acme"}))
    assert flagged(outcome) == {("account", "acme")}
    first = next(a for a in outcome.alerts if a.severity != "info")
    assert first.evidence["prompts"] <= 12


def test_account_comes_before_payment():
    outcome = outcome_of(rotating(account="acme", payment="pm_1"))
    assert flagged(outcome) == {("account", "acme")}


def test_keys_of_different_accounts_stay_apart():
    values = [
        request(f"sk-{i // 7}", jittered(i) * 60.0, ASKS.format(i), account=f"acct-{i // 7}")
        for i in range(60)
    ]
    assert not flagged(outcome_of(values))


def test_account_of_one_key_is_not_judged_beside_it():
    values = rotating(per_key=100, count=40)
    assert flagged(outcome_of(values)) == {("api_key", "sk-0")}


def test_account_named_like_its_key_is_not_judged():
    engine = engine_on(MemoryStore())
    observe(engine, [request("sk-1", account="sk-1")])
    assert len(engine.table) == 1


def test_decision_on_an_account_applies_to_its_further_keys():
    outcome = outcome_of(rotating(per_key=7, count=60))
    (account,) = [d for d in outcome.decisions if d.scope == "account"][:1]
    assert (account.key, account.origin) == ("acme", "detector")
    keys = {d.key: d for d in outcome.decisions if d.origin == "account"}
    assert keys.keys() >= {f"sk-{n}" for n in range(2, 8)}
    assert {d.scope for d in keys.values()} == {"api_key"}
    members = [a.subject.members for a in outcome.alerts]
    assert members[0] == ["sk-1"]


def test_decision_on_an_account_reaches_its_older_keys():
    old = person("sk-old", count=60, every=30.0)
    old = [value[:-1] + b', "account": "acme"}' for value in old]
    last = request("sk-old", 4_000.0, account="acme")
    outcome = outcome_of(in_order(old, rotating(count=40), [last]))
    assert "sk-old" in {d.key for d in outcome.decisions if d.origin == "account"}


def test_end_user_of_a_new_key_does_not_get_the_account_blocked():
    old = chatbot("sk-old", count=340)
    new = chatbot("sk-new", count=12, begin=20_000.0)
    asks = eliciting(["mallory"], key="sk-new", count=24, begin=20_005.0)
    values = [value[:-1] + b', "account": "honest"}' for value in in_order(old, new, asks)]
    outcome = outcome_of(values)
    assert ("account", "honest") in flagged(outcome)
    decisions = strongest_decisions(outcome)
    assert decisions.pop("sk-new/mallory") == "block"
    assert set(decisions.values()) <= {"observe", "throttle"}


def test_partitions_keep_accounts_apart():
    store = MemoryStore()
    engine = engine_on(store)
    engine.assign("t:1")
    values = rotating(count=40)
    for name, part in (("t:0", values[:7]), ("t:1", values[7:])):
        engine.observe(Batch(name, range(len(part)), part))
    store.commit(engine.snapshot())
    assert {"{t:0}:acme", "{t:1}:acme"} <= store.records.keys()


# End users


@pytest.mark.parametrize("every", [9.0, 700.0])
@pytest.mark.parametrize("prompts", [8, 16, 32])
def test_one_end_user_of_a_chatbot_is_flagged_and_not_the_key(every, prompts):
    asks = eliciting(["mallory"], count=prompts, every=every, begin=20_000.0)
    outcome = outcome_of(in_order(chatbot(), asks))
    assert flagged(outcome) == {("end_user", "sk-app/mallory")}
    assert "sk-app" not in strongest_decisions(outcome)
    assert strongest_decisions(outcome)["sk-app/mallory"] in ("challenge", "block")
    (decision, *_) = outcome.decisions
    assert decision.scope == "end_user"


@pytest.mark.parametrize("end_users", [1, 2, 3])
def test_key_with_few_end_users_is_throttled_and_they_are_blocked(end_users):
    names = ["a", "b", "c"][:end_users]
    outcome = outcome_of(eliciting(names, count=120))
    assert ("api_key", "sk-app") in flagged(outcome)
    decisions = strongest_decisions(outcome)
    assert decisions["sk-app"] == "throttle"
    assert {decisions[f"sk-app/{name}"] for name in names} == {"block"}


def test_key_without_own_end_users_is_not_blocked_for_one():
    own = person("sk-app", count=32, every=1_000.0)
    outcome = outcome_of(in_order(own, eliciting(["mallory"], count=32, begin=9_000.0)))
    assert ("end_user", "sk-app/mallory") in flagged(outcome)
    assert strongest_decisions(outcome).get("sk-app", "observe") in ("observe", "throttle")


@pytest.mark.parametrize("end_users", [8, 40, 400])
def test_key_that_rotates_end_users_is_blocked(end_users):
    outcome = outcome_of(eliciting([f"u{n}" for n in range(end_users)], count=60))
    assert strongest_decisions(outcome)["sk-app"] == "block"
    first = next(a for a in outcome.alerts if a.subject.id == "sk-app" and a.severity != "info")
    assert first.evidence["prompts"] <= 12


def test_end_users_of_other_keys_are_others():
    copied = request("sk-app", 41_000.0, end_user="mallory")
    outcome = outcome_of([*eliciting(["mallory"], key="sk-own"), copied])
    assert not any("sk-app" in d.key for d in outcome.decisions)


def test_end_user_who_repeats_one_question_is_not_flagged():
    asks = [
        request("sk-app", 30_000.0 + 90.0 * i, ASKS.format(1), end_user="keen") for i in range(40)
    ]
    assert not flagged(outcome_of(in_order(chatbot(), asks)))


# Streams


DAY = in_order(
    rotating(per_key=7, count=80),
    chatbot(count=150, every=40.0, users=20),
    eliciting(["mallory"], count=24, begin=2_500.0),
    eliciting(["x", "y"], key="sk-own", count=40, begin=1_000.0),
    [request("sk-old", 10.0 * n, f"Topic {n}?", account="acme") for n in range(130)],
    [request(f"sk-calm{at // 250 % 9}", at) for at in range(3_000, 20_000, 250)],
)


@pytest.fixture(scope="module")
def uninterrupted():
    store = MemoryStore()
    engine = engine_on(store)
    outcome = observe(engine, DAY)
    store.commit(engine.snapshot())
    return outcome, store


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, len(DAY) - 1), max_size=12), st.data())
def test_subjects_do_not_depend_on_batches_and_restarts(uninterrupted, cuts, data):
    outcome, before = uninterrupted
    store = MemoryStore()
    engine, alerts, decisions, prints = engine_on(store), [], [], []
    for start, end in itertools.pairwise(sorted({0, len(DAY), *cuts})):
        observed = observe(engine, DAY[start:end], start)
        alerts += observed.alerts
        decisions += observed.decisions
        prints += observed.fingerprints
        if data.draw(st.booleans()):
            written = engine.snapshot()
            store.commit(written)
            engine.commit(written)
            engine.published(written)
            engine = engine_on(store)
    written = engine.snapshot()
    store.commit(written)
    assert alerts == outcome.alerts
    assert decisions == outcome.decisions
    assert prints == outcome.fingerprints
    assert store.records == before.records
    assert store.claim("t:0")[1] == before.claim("t:0")[1]


def test_key_older_than_its_rotating_account_keeps_its_fingerprints(uninterrupted):
    outcome, _ = uninterrupted
    messages = [each.value for each in outcome.fingerprints if each.key == "sk-old"]
    fingerprints, *_ = from_messages(messages)
    assert fingerprints["requests"].max() > 100


class FailingStore(MemoryStore):
    """Fails to load the records of end users, once."""

    failed = False

    def load(self, names):
        if not self.failed and any("/" in name for name in names):
            self.failed = True
            raise StoreUnavailableError("away")
        return super().load(names)


def test_store_that_fails_for_end_users_changes_nothing(uninterrupted):
    outcome, before = uninterrupted
    store = FailingStore()
    engine = engine_on(store)
    with pytest.raises(StoreUnavailableError):
        observe(engine, DAY)
    assert observe(engine, DAY).alerts == outcome.alerts
    store.commit(engine.snapshot())
    assert store.records == before.records


def test_resolved_alerts_of_all_subjects_name_them(uninterrupted):
    outcome, _ = uninterrupted
    resolved = {(a.subject.type, a.subject.id) for a in outcome.alerts if a.state == "resolved"}
    assert flagged(outcome) <= resolved
    account = next(a for a in outcome.alerts if a.state == "resolved" and a.subject.id == "acme")
    assert len(account.subject.members) >= 9
