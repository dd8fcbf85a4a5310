from monitor.alerting.decisions import ActiveDecision
from pipelines.gateways.memory import FRESH_SECONDS, DecisionMemory


def decision(action="block", key="k_1", ends=1_000.0):
    return ActiveDecision(key, action, "a_1", made_at=0.0, seconds=60.0, expires_at=ends)


def test_decision_is_confirmed_every_second_and_kept_until_it_ends():
    memory = DecisionMemory()
    memory.put("k_1", decision(), read_at=5.0)
    assert memory.is_fresh("k_1", 5.0)
    assert not memory.is_fresh("k_1", 5.0 + FRESH_SECONDS)
    assert memory.get("k_1", time=999.0) == decision()
    assert memory.get("k_1", time=1_000.0) is None


def test_decision_of_an_older_version_stays_until_the_store_ends_it():
    memory = DecisionMemory()
    memory.put("k_1", decision(ends=None), read_at=5.0)
    assert memory.get("k_1", time=1e9) is not None


def test_withdrawn_decision_is_forgotten():
    memory = DecisionMemory()
    memory.put("k_1", decision(), read_at=5.0)
    memory.put("k_1", None, read_at=6.0)
    assert memory.get("k_1", time=0.0) is None
    assert memory.is_fresh("k_1", 6.0)


def test_older_reading_does_not_replace_a_new_decision():
    memory = DecisionMemory()
    memory.add(decision(), now=6.0, time=0.0)
    memory.put("k_1", None, read_at=5.0)
    assert memory.get("k_1", time=0.0) == decision()


def test_weaker_decision_does_not_replace_a_stronger_one():
    memory = DecisionMemory()
    memory.put("k_1", decision("block"), read_at=5.0)
    memory.add(decision("throttle"), now=6.0, time=0.0)
    assert memory.get("k_1", time=0.0) == decision("block")


def test_flood_of_keys_neither_grows_memory_nor_displaces_decisions():
    memory = DecisionMemory(most_decisions=10, most_others=100)
    memory.put("k_1", decision(), read_at=0.0)
    for n in range(10_000):
        memory.put(f"junk {n}", None, read_at=1.0)
    assert len(memory) == 101
    assert memory.get("k_1", time=0.0) == decision()
    assert memory.is_fresh("junk 9999", 1.0)


def test_decisions_are_bounded():
    memory = DecisionMemory(most_decisions=10)
    for n in range(100):
        memory.put(f"k_{n}", decision(), read_at=0.0)
    assert len(memory) == 10
