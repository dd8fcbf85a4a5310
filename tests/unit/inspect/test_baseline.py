from io import StringIO

from msgspec.structs import replace
from rich.console import Console

from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.records.baseline_mean import PROMPTS_PER_DAY
from monitor.store.memory import MemoryStore
from pipelines.inspect.baseline import baseline_report
from pipelines.show.calibration import show_baseline as show
from tests.support.requests import request

DAY, KEYS = 86_400.0, 64


def store_after(days):
    """A store after some whole days, and a part of the next one, on two partitions."""
    store = MemoryStore()
    engine = Engine(Settings(), Identity(b"0123456789abcdef"), store)
    for partition in ("t:0", "t:1"):
        engine.assign(partition)
        values = [
            request(f"{partition}-{key}", day * DAY + i * 1e3 + key, f"What about topic {i}?")
            for day in range(days + 1)
            for i in range(PROMPTS_PER_DAY)
            for key in range(KEYS)
        ]
        engine.observe(Batch(partition, range(len(values)), values))
    store.commit(engine.snapshot())
    return store


def shown(report):
    out = StringIO()
    show(report, Console(file=out, width=80))
    return out.getvalue()


def test_empty_store_shows_the_reference_alone():
    report = baseline_report(MemoryStore(), Settings())
    assert report.key_days == report.reference_key_days
    assert (report.moved, report.partitions) == (0.0, [])


def test_first_day_is_reported_as_not_over():
    report = baseline_report(store_after(0), Settings())
    assert report.key_days == report.reference_key_days
    assert [(part.partition, part.day, part.key_days) for part in report.partitions] == [
        ("t:0", "", 0.0),
        ("t:1", "", 0.0),
    ]
    assert "first day not over" in shown(report)


def test_each_partition_reports_what_it_learned():
    report = baseline_report(store_after(2), Settings())
    assert [part.partition for part in report.partitions] == ["t:0", "t:1"]
    assert [part.day for part in report.partitions] == ["2026-03-03", "2026-03-03"]
    learned = report.key_days - report.reference_key_days
    assert 2 * KEYS < learned < 2 * 2 * KEYS
    assert report.moved > 0
    assert "t:1" in shown(report)


def test_table_fits_80_columns():
    report = baseline_report(store_after(0), Settings())
    long = [
        replace(part, partition=f"llm.requests:{i}") for i, part in enumerate(report.partitions)
    ]
    text = shown(replace(report, partitions=long))
    assert "llm.requests:1 " in text
    assert "first day not over" in text
    assert "…" not in text
