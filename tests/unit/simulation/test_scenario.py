from __future__ import annotations

import gzip
import json
import statistics
import tracemalloc
from collections import Counter, defaultdict, deque
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from monitor.errors import InputError
from monitor.requests.decoder import Decoder
from pipelines.simulation.scenario import Scenario, Simulation, messages, save_traffic
from pipelines.simulation.users import Event, grammar
from pipelines.traffic.files import LineFile
from pipelines.traffic.labels import load_labels

MORNING = Scenario().start + 9 * 3600
HOUR = Scenario(start=MORNING, hours=1)


def prompt(event: Event) -> str:
    text = event.get("prompt") or event["messages"][-1]["content"]
    assert isinstance(text, str)
    return text


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation(HOUR)


@pytest.fixture(scope="module")
def hour(simulation: Simulation) -> list[Event]:
    return list(simulation.events())


@pytest.fixture(scope="module")
def day() -> list[Event]:
    """A day of ordinary traffic."""
    return list(Simulation(Scenario(hours=24, keys=150, attacks=False)).events())


@pytest.fixture(scope="module")
def by_kind(simulation: Simulation, hour: list[Event]) -> dict[str, dict[str, list[Event]]]:
    """Requests by kind of user and key."""
    found: dict[str, dict[str, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in hour:
        found[simulation.labels[event["api_key"]].kind][event["api_key"]].append(event)
    return found


def test_requests_are_in_time_order_and_in_the_hour(hour: list[Event]) -> None:
    times = [event["ts"] for event in hour]
    assert times == sorted(times)
    assert times[0] >= MORNING
    assert MORNING + 3_590 < times[-1] < MORNING + 3_600


def test_seed_determines_the_requests(
    hour: list[Event],
) -> None:
    assert list(Simulation(HOUR).events()) == hour
    other = Simulation(Scenario(seed=2, start=MORNING, hours=1))
    assert not {event["api_key"] for event in other.events()} & {e["api_key"] for e in hour}


def test_decoder_reads_every_request(hour: list[Event]) -> None:
    values = [message.value for batch in messages(hour) for message in batch]
    decoded = Decoder().decode(values, MORNING + 3_600)
    assert len(decoded.events) == len(hour)
    assert all(event.prompt for event in decoded.events)


def test_every_key_has_a_label(simulation: Simulation) -> None:
    campaigns = Counter(label.campaign for label in simulation.labels.values())
    assert campaigns == {None: 400, "scraper-1": 1, "cot-1": 12, "grader-1": 6}


def test_attacks_do_not_change_ordinary_requests(simulation: Simulation, hour: list[Event]) -> None:
    ordinary = Simulation(Scenario(start=MORNING, hours=1, attacks=False))
    honest = [e for e in hour if simulation.labels[e["api_key"]].campaign is None]
    assert list(ordinary.events()) == honest


def test_endless_traffic_uses_bounded_memory() -> None:
    events = Simulation(Scenario(keys=60)).events()
    deque(islice(events, 8_000), maxlen=0)
    tracemalloc.start()
    try:
        deque(islice(events, 8_000), maxlen=0)
        held, _ = tracemalloc.get_traced_memory()
        deque(islice(events, 16_000), maxlen=0)
        assert tracemalloc.get_traced_memory()[0] < held + 300_000
    finally:
        tracemalloc.stop()


def test_scraper_sends_three_requests_per_second_after_a_delay(
    by_kind: dict[str, dict[str, list[Event]]],
) -> None:
    (events,) = by_kind["scraper"].values()
    assert events[0]["ts"] == MORNING + HOUR.attack_delay
    assert len(events) / (3_600 - HOUR.attack_delay) == pytest.approx(3, rel=0.1)
    assert len({prompt(event) for event in events}) > 0.85 * len(events)


@pytest.mark.parametrize(("kind", "low", "high"), [("cot", 30, 60), ("grader", 40, 72)])
def test_fleet_keys_are_slow(
    by_kind: dict[str, dict[str, list[Event]]], kind: str, low: int, high: int
) -> None:
    counts = [len(events) for events in by_kind[kind].values()]
    assert low <= min(counts) <= max(counts) <= high


def test_fleet_shares_a_network_and_three_payments(
    by_kind: dict[str, dict[str, list[Event]]],
) -> None:
    events = [event for events in by_kind["cot"].values() for event in events]
    assert len({event["ip"].rpartition(".")[0] for event in events}) == 1
    assert len({event["payment"] for event in events}) == 3


def test_some_ordinary_keys_are_faster_than_any_fleet_key(
    by_kind: dict[str, dict[str, list[Event]]],
) -> None:
    batch = max(by_kind["template_app"].values(), key=len)
    assert 350 <= len(batch) <= 500
    assert len(batch) / (batch[-1]["ts"] - batch[0]["ts"]) == pytest.approx(1.2, rel=0.15)
    bot = max(by_kind["chatbot"].values(), key=len)
    assert len(bot) > 700
    assert len({event["end_user"] for event in bot}) > 200


def test_people_send_few_requests_mostly_in_conversations(
    by_kind: dict[str, dict[str, list[Event]]],
) -> None:
    for kind in ("chat_user", "coder"):
        assert statistics.median(map(len, by_kind[kind].values())) < 20
        events = [event for events in by_kind[kind].values() for event in events]
        assert sum("messages" in event for event in events) > 0.6 * len(events)


def test_chatbots_are_busier_by_day(day: list[Event]) -> None:
    hours: dict[str, Counter[int]] = defaultdict(Counter)
    for event in day:
        if "end_user" in event:
            hours[event["api_key"]][int(event["ts"] / 3600) % 24] += 1
    for counts in hours.values():
        assert max(counts.values()) > 4 * min(counts[hour] for hour in range(24))


def test_ordinary_prompts_ask_for_steps_and_grades_too(day: list[Event]) -> None:
    texts = [prompt(event).lower() for event in day]
    assert sum("step by step" in text for text in texts) > 20
    assert sum("rate my essay" in text for text in texts) > 2


def test_prompts_are_distinct_and_vary_in_length(hour: list[Event]) -> None:
    texts = [prompt(event) for event in hour]
    assert len(set(texts)) > 0.75 * len(texts)
    lengths = sorted(map(len, texts))
    assert lengths[len(lengths) // 10] > 30
    assert lengths[-1] > 2_000


def test_grammar_fills_every_slot() -> None:
    rules = grammar().rules
    texts = [grammar().generate(rule, Random(n)) for rule in rules for n in range(100)]
    assert not [text for text in texts if "«" in text or "»" in text]


@pytest.mark.parametrize("name", ["hour.jsonl", "hour.jsonl.gz"])
def test_save_writes_requests_and_labels(
    tmp_path: Path, name: str, hour: list[Event], simulation: Simulation
) -> None:
    count, labels = save_traffic(HOUR, tmp_path / name)
    with LineFile(tmp_path / name) as file:
        assert [json.loads(line) for lines in file.batches() for line in lines] == hour
    assert count == len(hour)
    assert labels == tmp_path / "hour.labels.json"
    saved = load_labels(labels)
    assert set(saved) == {event["api_key"] for event in hour}
    assert all(saved[key] == simulation.labels[key] for key in saved)
    compressed = (tmp_path / name).read_bytes()[:2] == gzip.compress(b"")[:2]
    assert compressed == name.endswith(".gz")


def test_endless_traffic_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Set the number of hours"):
        save_traffic(Scenario(), tmp_path / "endless.jsonl")


def test_save_error_names_the_fix(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Cannot write .*No such file or directory\. Name a file"):
        save_traffic(HOUR, tmp_path / "nowhere" / "day.jsonl")
