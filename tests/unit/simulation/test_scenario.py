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
from pipelines.simulation.scenario import Scenario, Simulation, messages, write
from pipelines.simulation.users import Event, grammar
from pipelines.traffic.files import LineFile

MORNING = Scenario().start + 9 * 3600
HOUR = Scenario(start=MORNING, hours=1)


def prompt(event: Event) -> str:
    said = event.get("prompt") or event["messages"][-1]["content"]
    assert isinstance(said, str)
    return said


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation(HOUR)


@pytest.fixture(scope="module")
def hour(simulation: Simulation) -> list[Event]:
    return list(simulation.events())


@pytest.fixture(scope="module")
def day() -> list[Event]:
    """Of ordinary traffic."""
    return list(Simulation(Scenario(hours=24, keys=150, attacks=False)).events())


@pytest.fixture(scope="module")
def by_kind(simulation: Simulation, hour: list[Event]) -> dict[str, dict[str, list[Event]]]:
    """Kind, then key, then its requests."""
    found: dict[str, dict[str, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in hour:
        found[simulation.labels[event["api_key"]].kind][event["api_key"]].append(event)
    return found


def test_requests_come_in_time_order_within_the_time_asked_for(hour: list[Event]) -> None:
    times = [event["ts"] for event in hour]
    assert times == sorted(times)
    assert times[0] >= MORNING
    assert MORNING + 3_590 < times[-1] < MORNING + 3_600


def test_the_same_scenario_gives_the_same_requests_and_another_seed_others(
    hour: list[Event],
) -> None:
    assert list(Simulation(HOUR).events()) == hour
    other = Simulation(Scenario(seed=2, start=MORNING, hours=1))
    assert not {event["api_key"] for event in other.events()} & {e["api_key"] for e in hour}


def test_the_worker_decodes_every_request(hour: list[Event]) -> None:
    values = [message.value for batch in messages(hour) for message in batch]
    decoded = Decoder().decode(values, MORNING + 3_600)
    assert len(decoded.events) == len(hour)
    assert all(event.prompt for event in decoded.events)


def test_every_key_has_a_label_and_the_campaigns_their_keys(simulation: Simulation) -> None:
    campaigns = Counter(label.campaign for label in simulation.labels.values())
    assert campaigns == {None: 400, "scraper-1": 1, "cot-1": 12, "grader-1": 6}


def test_without_attacks_the_ordinary_requests_are_the_same(
    simulation: Simulation, hour: list[Event]
) -> None:
    ordinary = Simulation(Scenario(start=MORNING, hours=1, attacks=False))
    honest = [e for e in hour if simulation.labels[e["api_key"]].campaign is None]
    assert list(ordinary.events()) == honest


def test_endless_traffic_takes_no_memory_as_it_goes_on() -> None:
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


def test_the_scraper_sends_three_requests_a_second_after_a_quiet_time(
    by_kind: dict[str, dict[str, list[Event]]],
) -> None:
    (events,) = by_kind["scraper"].values()
    assert events[0]["ts"] == MORNING + HOUR.quiet
    assert len(events) / (3_600 - HOUR.quiet) == pytest.approx(3, rel=0.1)
    assert len({prompt(event) for event in events}) > 0.85 * len(events)


@pytest.mark.parametrize(("kind", "low", "high"), [("cot", 30, 60), ("grader", 40, 72)])
def test_a_fleet_key_is_slow_but_loud_enough_within_an_hour(
    by_kind: dict[str, dict[str, list[Event]]], kind: str, low: int, high: int
) -> None:
    counts = [len(events) for events in by_kind[kind].values()]
    assert low <= min(counts) <= max(counts) <= high


def test_a_fleet_shares_a_network_and_a_few_payments(
    by_kind: dict[str, dict[str, list[Event]]],
) -> None:
    events = [event for events in by_kind["cot"].values() for event in events]
    assert len({event["ip"].rpartition(".")[0] for event in events}) == 1
    assert len({event["payment"] for event in events}) == 3


def test_a_batch_of_documents_and_a_busy_chatbot_outdo_every_fleet_key(
    by_kind: dict[str, dict[str, list[Event]]],
) -> None:
    batch = max(by_kind["template_app"].values(), key=len)
    assert 350 <= len(batch) <= 500
    assert len(batch) / (batch[-1]["ts"] - batch[0]["ts"]) == pytest.approx(1.2, rel=0.15)
    bot = max(by_kind["chatbot"].values(), key=len)
    assert len(bot) > 700
    assert len({event["end_user"] for event in bot}) > 200


def test_people_send_few_requests_in_conversations(
    by_kind: dict[str, dict[str, list[Event]]],
) -> None:
    for kind in ("chat_user", "coder"):
        assert statistics.median(map(len, by_kind[kind].values())) < 20
        events = [event for events in by_kind[kind].values() for event in events]
        assert sum("messages" in event for event in events) > 0.6 * len(events)


def test_chatbots_are_busier_by_day_than_by_night(day: list[Event]) -> None:
    hours: dict[str, Counter[int]] = defaultdict(Counter)
    for event in day:
        if "end_user" in event:
            hours[event["api_key"]][int(event["ts"] / 3600) % 24] += 1
    for counts in hours.values():
        assert max(counts.values()) > 4 * min(counts[hour] for hour in range(24))


def test_ordinary_people_ask_innocently_for_steps_and_grades(day: list[Event]) -> None:
    said = [prompt(event).lower() for event in day]
    assert sum("step by step" in text for text in said) > 20
    assert sum("rate my essay" in text for text in said) > 2


def test_prompts_are_distinct_and_of_all_lengths(hour: list[Event]) -> None:
    texts = [prompt(event) for event in hour]
    assert len(set(texts)) > 0.75 * len(texts)
    lengths = sorted(map(len, texts))
    assert lengths[len(lengths) // 10] > 30
    assert lengths[-1] > 2_000


def test_no_rule_of_the_grammar_leaves_a_slot_open() -> None:
    words = grammar()
    said = [words.say(rule, Random(n)) for rule in words.rules for n in range(100)]
    assert not [text for text in said if "«" in text or "»" in text]


@pytest.mark.parametrize("name", ["hour.jsonl", "hour.jsonl.gz"])
def test_a_file_holds_the_requests_and_the_labels_lie_beside_it(
    tmp_path: Path, name: str, hour: list[Event], simulation: Simulation
) -> None:
    count, labels = write(HOUR, tmp_path / name)
    with LineFile(tmp_path / name) as file:
        assert [json.loads(line) for lines in file.batches() for line in lines] == hour
    assert count == len(hour)
    assert labels == tmp_path / "hour.labels.json"
    told = json.loads(labels.read_text())
    assert set(told) == {event["api_key"] for event in hour}
    assert all(told[key]["class"] == simulation.labels[key].kind for key in told)
    packed = (tmp_path / name).read_bytes()[:2] == gzip.compress(b"")[:2]
    assert packed == name.endswith(".gz")


def test_endless_traffic_is_not_written_to_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="say how many hours"):
        write(Scenario(), tmp_path / "endless.jsonl")


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be written \(No such file or directory\): name"):
        write(HOUR, tmp_path / "nowhere" / "day.jsonl")
