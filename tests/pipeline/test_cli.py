"""The commands as a shell runs them: what they print, write and exit with."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaConsumer
from typer.main import get_command
from typer.testing import CliRunner

from monitor import config
from monitor.batch import Batch
from monitor.engine import Engine
from monitor.identity import from_settings
from monitor.records.baseline import load_reference
from monitor.store.redis import RedisStore
from pipelines.cli import main
from pipelines.demo.embedded import free_port
from tests.support import campaigns
from tests.support.apps import fresh
from tests.support.commands import Xm
from tests.support.requests import elicitor, in_order, person

SECRET = "known to this test only"
TRAFFIC = in_order(elicitor(), person("sk-person"))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    file = tmp_path / "recording.jsonl"
    file.write_bytes(b"\n".join(TRAFFIC))
    return file


def commands(group: Any, *above: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *above, name)
        else:
            yield *above, name


@pytest.mark.parametrize("command", [*commands(get_command(main.app))], ids=" ".join)
def test_the_help_of_every_command_has_an_example(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main.app, [*command, "--help"], terminal_width=200)
    assert f"xm {' '.join(command)}" in shown.output.rpartition("Example:")[2]


# Topics, and sending to them


def topics_of(kafka: str) -> dict[str, str]:
    name = fresh("cli")
    kinds = ("REQUESTS", "REJECTED", "FINGERPRINTS", "ALERTS")
    topics = {topic: f"{name}.{topic.lower()}" for topic in kinds}
    return {"XM_KAFKA": kafka, **{f"XM_TOPICS__{topic}": name for topic, name in topics.items()}}


def test_topics_are_made_once(kafka: str, xm: Xm) -> None:
    settings = topics_of(kafka)
    first, second = (xm("topics", "create", **settings) for _ in range(2))
    assert (first.status, first.out.count(": created\n")) == (0, 4)
    assert (second.status, second.out.count(": exists\n")) == (0, 4)


def test_a_file_is_sent_to_kafka_line_by_line(kafka: str, xm: Xm, recording: Path) -> None:
    settings = topics_of(kafka)
    xm("topics", "create", **settings)
    topic = settings["XM_TOPICS__REQUESTS"]
    sent = xm("produce", recording)
    assert sent.out == (
        f"{len(TRAFFIC)} messages in {topic}, 0 without a key, 0 rejected as too large.\n"
    )
    consumer = KafkaConsumer(
        topic, bootstrap_servers=kafka, auto_offset_reset="earliest", consumer_timeout_ms=5_000
    )
    found = [next(consumer).value for _ in TRAFFIC]
    consumer.close()
    assert sorted(found) == sorted(TRAFFIC)


# Replay


def test_replay_accuses_every_key_that_simulate_planted_and_no_ordinary_one(
    xm: Xm, tmp_path: Path
) -> None:
    traffic, alerts = tmp_path / "hour.jsonl.gz", tmp_path / "alerts.jsonl"
    xm("simulate", traffic, "--hours", 1, "--keys", 100)
    assert xm("replay", traffic, "--alerts", alerts, "--plain-keys").status == 0
    labels = json.loads((tmp_path / "hour.labels.json").read_text())
    found = [json.loads(line) for line in alerts.open()]
    accused = {
        key
        for subject in (alert["subject"] for alert in found if alert["severity"] != "info")
        for key in (subject["members"] or [subject["id"]])
    }
    assert accused == {key for key, label in labels.items() if label["campaign"]}


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress], ids=["plain", "gzip"])
def test_replay_reads_stdin(pack: Callable[[bytes], bytes]) -> None:
    command = [sys.executable, "-m", "pipelines.cli.main", "replay", "-"]
    ended = subprocess.run(
        command, input=pack(b"\n".join(TRAFFIC)), capture_output=True, timeout=60
    )
    assert ended.returncode == 0
    assert ended.stdout.decode().startswith(f"{len(TRAFFIC)} requests in ")


def test_replay_needs_no_more_memory_for_a_larger_file(tmp_path: Path) -> None:
    program = (
        "import atexit, resource, pipelines.cli.main\n"
        "usage = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "atexit.register(lambda: print(usage()))\n"
        "pipelines.cli.main.main()"
    )

    def kilobytes(times: int) -> int:
        file = tmp_path / f"{times}.gz"
        file.write_bytes(gzip.compress(b"\n".join(TRAFFIC) + b"\n") * times)
        command = [sys.executable, "-c", program, "replay", str(file)]
        ended = subprocess.run(command, capture_output=True, check=True, timeout=60)
        return int(ended.stdout.split()[-1])

    times, size = 3_000, len(b"\n".join(TRAFFIC)) / 1024
    assert kilobytes(times) - kilobytes(1) < 0.1 * times * size


def test_replay_explains_a_key(xm: Xm, recording: Path) -> None:
    ended = xm("replay", recording, "--plain-keys", "--explain", "sk-cot")
    assert ended.status == 0
    assert "100% of 24 prompts ask for the reasoning trace." in ended.out
    missing = xm("replay", recording, "--plain-keys", "--explain", "sk-none")
    assert (missing.status, missing.error.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "{file} has no request. Name a file with one JSON object per line."),
        (b"\n\n", "{file} has no request. Name a file with one JSON object per line."),
        (
            b'{"timestamp": 1, "api_key": "sk-1"}\n' * 2,
            "No request of {file} is valid: 2 rejected as missing_field (ts is missing or empty). "
            "Set XM_MAPPING to the format of the file: native, litellm, openai, otel-genai, "
            "or a table of fields.",
        ),
        (
            b"\x00\xff\n{}\n\x01\n",
            "No request of {file} is valid: 2 rejected as not_json (malformed JSON at character "
            "0), 1 rejected as missing_field (ts is missing or empty). Set XM_MAPPING to the "
            "format of the file: native, litellm, openai, otel-genai, or a table of fields.",
        ),
    ],
    ids=["empty", "blank", "field", "binary"],
)
def test_replay_without_a_valid_request_is_an_error(
    xm: Xm, tmp_path: Path, content: bytes, complaint: str
) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_bytes(content)
    ended = xm("replay", file, "--plain-keys")
    assert (ended.status, ended.out) == (2, "")
    assert ended.error == complaint.format(file=file) + "\n"


def test_replay_shows_the_detail_of_rejections(xm: Xm, recording: Path) -> None:
    with recording.open("ab") as file:
        file.write(b'\n{"api_key": "sk-1"}\n')
    ended = xm("replay", recording, "--plain-keys")
    assert ended.status == 0
    assert "  1 rejected as missing_field (ts is missing or empty)\n" in ended.out


def test_replay_checks_the_form_of_a_pseudonym_first(xm: Xm, recording: Path) -> None:
    ended = xm("replay", recording, "--explain", "sk-live-123", XM_IDENTITY_SECRET=SECRET)
    assert (ended.status, ended.out, ended.error.count("\n")) == (2, "", 1)
    assert "sk-live-123" not in ended.error
    assert "k_ and 24 hexadecimal digits" in ended.error


def test_replay_explains_a_pseudonym_only_under_its_secret(xm: Xm, recording: Path) -> None:
    ended = xm("replay", recording, "--explain", "k_" + 24 * "0")
    assert (ended.status, ended.out, ended.error.count("\n")) == (2, "", 1)
    assert "XM_IDENTITY_SECRET" in ended.error


# Evaluation


@pytest.fixture
def simulated(xm: Xm, tmp_path: Path) -> Path:
    xm("simulate", tmp_path / "hour.jsonl", "--hours", 1, "--keys", 60)
    return tmp_path


def test_evaluate_measures_and_draws(xm: Xm, simulated: Path) -> None:
    labels, out = simulated / "hour.labels.json", simulated / "pictures"
    ended = xm("evaluate", simulated / "hour.jsonl", "--labels", labels, "--out", out)
    assert ended.status == 0
    assert "recall 1.000, 0.0 false keys per day." in " ".join(ended.out.split())
    assert {file.suffix for file in out.iterdir()} == {".png", ".svg"}


def test_evaluate_speaks_to_programs(xm: Xm, simulated: Path) -> None:
    labels = simulated / "hour.labels.json"
    ended = xm("evaluate", simulated / "hour.jsonl", "--labels", labels, "--json")
    (*_, together) = json.loads(ended.out)["scores"]
    assert set(together["recall"]) == {"cot", "grader", "scraper", "all"}


# Calibration


@pytest.fixture
def ordinary(xm: Xm, tmp_path: Path) -> Path:
    xm("simulate", tmp_path / "day.jsonl.gz", "--keys", 60, "--no-attacks")
    return tmp_path / "day.jsonl.gz"


def test_calibrate_without_a_rate_makes_a_reference_alone(xm: Xm, ordinary: Path) -> None:
    out = ordinary.with_name("public.json")
    ended = xm("calibrate", ordinary, "--out", out)
    assert ended.out == f"Wrote 60 key-days to {out}. Use it with XM_REFERENCE={out}.\n"
    assert not out.with_suffix(".toml").exists()
    assert load_reference(out).peaks.any()


def test_what_calibrate_fitted_is_loaded_and_judges(xm: Xm, ordinary: Path) -> None:
    out, alerts = ordinary.with_name("public.json"), ordinary.with_name("alerts.jsonl")
    ended = xm("calibrate", ordinary, "--out", out, "--false-alerts-per-day", 1, "--keys", 30)
    fitted = out.with_suffix(".toml")
    assert ended.out.endswith(f"Use it with XM_CONFIG={fitted}.\n")
    assert f"--out {out} --false-alerts-per-day 1 --keys 30\n" in fitted.read_text()
    xm("replay", ordinary, "--alerts", alerts, "--plain-keys", XM_CONFIG=str(fitted))
    settings = config.load()
    assert settings.reference == out
    assert settings.detection != config.Detection()
    found = [json.loads(line) for line in alerts.open()]
    accused = {alert["subject"]["id"] for alert in found if alert["severity"] != "info"}
    assert len(accused) <= 1


def test_thresholds_from_an_hour_are_refused_in_one_sentence(xm: Xm, simulated: Path) -> None:
    recording, out = simulated / "hour.jsonl", simulated / "public.json"
    ended = xm("calibrate", recording, "--out", out, "--false-alerts-per-day", 1)
    assert (ended.status, ended.error.count("\n"), out.exists()) == (2, 1, False)
    assert "Join shorter recordings in time order" in ended.error


# The keys in Redis


def observe(url: str) -> str:
    """Have records of two keys in Redis; returns the pseudonym of the one that is accused."""
    settings = config.load(identity_secret=SECRET)
    store, identity = RedisStore(url, 100), from_settings(settings)
    engine = Engine(settings, identity, store)
    engine.assign("t:0")
    stream = in_order(elicitor(), person("sk-person", count=9))
    engine.observe(Batch("t:0", range(len(stream)), stream))
    store.commit(engine.snapshot())
    return identity.key("sk-cot")


@pytest.fixture
def observed(redis_url: str) -> str:
    return observe(redis_url)


def test_keys_are_listed_as_a_table(xm: Xm, redis_url: str, observed: str) -> None:
    ended = xm("keys", "--by", "elicitation", "--top", 1, "--memory", XM_REDIS_URL=redis_url)
    assert ended.status == 0
    assert observed in ended.out
    assert "2 keys, 49 requests, 0 tokens. Keys with open alerts: 1 " in ended.out
    assert "A million keys would take" in " ".join(ended.out.split())


def test_keys_are_listed_for_programs(xm: Xm, redis_url: str, observed: str) -> None:
    report = json.loads(xm("keys", "--json", XM_REDIS_URL=redis_url).out)
    assert [(key["key"] == observed, key["requests"]) for key in report["top"]] == [
        (True, 40),
        (False, 9),
    ]
    assert "elicitation" in report["top"][0]["alerts"]
    assert report["top"][0]["decision"] != "observe"
    assert "memory" not in report


def test_keys_in_a_redis_that_is_away_are_one_sentence(xm: Xm) -> None:
    ended = xm("keys", XM_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert (ended.status, ended.out) == (2, "")
    assert "is away" in ended.error
    assert ended.error.count("\n") == 1


# A key in Redis


def test_a_key_is_explained_as_a_page(xm: Xm, redis_url: str, observed: str) -> None:
    ended = xm("explain", observed, XM_REDIS_URL=redis_url)
    assert ended.status == 0
    assert ended.out.startswith(f"{observed}\nCritical: 100% of 40 prompts ask")
    assert "100% of 40 prompts ask for the reasoning trace." in ended.out
    assert "block until" in ended.out
    assert "the baseline of t:0" in " ".join(ended.out.split())


@pytest.mark.parametrize(
    ("workers", "claim"),
    [
        ([False], ", enforced."),
        ([True], ", not enforced: workers run in shadow mode (XM_DECISIONS__SHADOW)."),
        ([], ", unknown whether enforced: no running worker reports it"),
        ([True, False], ", unknown whether enforced"),
    ],
    ids=["enforce", "shadow", "none", "mixed"],
)
@pytest.mark.parametrize("own", ["true", "false"])
def test_explain_reports_enforcement_of_workers(
    xm: Xm, redis_url: str, observed: str, workers: list[bool], claim: str, own: str
) -> None:
    for shadow in workers:
        RedisStore(redis_url, 100).publish_shadow(shadow)
    ended = xm("explain", observed, XM_REDIS_URL=redis_url, XM_DECISIONS__SHADOW=own)
    assert claim in " ".join(ended.out.split())


def test_explain_gives_the_end_of_the_decision_in_redis(
    xm: Xm, redis_url: str, observed: str
) -> None:
    with redis.from_url(redis_url) as client:
        left = client.pttl(f"xm:d:{observed}") / 1000
    found = json.loads(xm("explain", observed, "--json", XM_REDIS_URL=redis_url).out)
    assert abs(found["until"] - time.time() - left) < 5


def test_explain_names_the_campaigns_of_a_key(xm: Xm, redis_url: str, observed: str) -> None:
    linked = campaigns.partition()
    linked.rounds.campaigns[0].named[observed] = 0.0
    campaigns.save(RedisStore(redis_url, 100), linked)
    ended = xm("explain", observed, XM_REDIS_URL=redis_url)
    assert "\nMember of a critical campaign of " in ended.out
    assert "`xm campaigns show c_fleet`" in " ".join(ended.out.split())


def test_a_key_on_a_cluster_is_explained(xm: Xm, cluster_url: str) -> None:
    key = observe(cluster_url)
    assert xm("explain", key, XM_REDIS_URL=cluster_url).out.startswith(f"{key}\nCritical: 100% of")


def test_a_key_is_explained_to_programs(xm: Xm, redis_url: str, observed: str) -> None:
    found = json.loads(xm("explain", observed, "--json", XM_REDIS_URL=redis_url).out)
    words = {word["kind"]: word for word in found["words"]}
    assert words["elicitation"]["severity"] == "critical"
    assert (found["decision"], found["public"]) == ("block", "t:0")


def test_explaining_a_key_disturbs_no_worker(xm: Xm, redis_url: str, observed: str) -> None:
    with redis.from_url(redis_url) as client:
        before = {key: client.dump(key) for key in client.keys("xm:[poc]:*")}
        xm("explain", observed, XM_REDIS_URL=redis_url)
        assert {key: client.dump(key) for key in client.keys("xm:[poc]:*")} == before


def test_a_raw_key_is_read_from_a_pipe(
    xm: Xm, redis_url: str, observed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("sk-cot\n"))
    secret = {"XM_REDIS_URL": redis_url, "XM_IDENTITY_SECRET": SECRET}
    assert xm("explain", "--raw", **secret).out.startswith(observed)


@pytest.mark.parametrize("arguments", [[], ["k_1", "--raw"]])
def test_explain_wants_one_key(xm: Xm, arguments: list[str]) -> None:
    ended = xm("explain", *arguments)
    assert (ended.status, ended.out, ended.error.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("key", ["k_1", "sk-live-123", "k_" + 24 * "g"])
def test_explain_does_not_repeat_what_may_be_an_api_key(xm: Xm, key: str) -> None:
    ended = xm("explain", key, XM_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert (ended.status, ended.out, ended.error.count("\n")) == (2, "", 1)
    assert key not in ended.error
    assert "k_ and 24 hexadecimal digits" in ended.error
    assert "--raw" in ended.error


def test_a_key_that_is_not_there_is_one_sentence_with_the_remedy(
    xm: Xm, redis_url: str, observed: str
) -> None:
    key = "k_" + 24 * "0"
    ended = xm("explain", key, XM_REDIS_URL=redis_url)
    assert (ended.status, ended.out) == (2, "")
    assert f"has no record of {key}. " in ended.error
    assert ended.error.endswith("enter the API key with --raw.\n")
    assert ended.error.count("\n") == 1


# What an operator can put right


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", [[], ["replay"], ["topics", "create"]], ids=" ".join)
def test_every_command_has_both_help_options(xm: Xm, command: list[str], option: str) -> None:
    ended = xm(*command, option)
    assert ended.status == 0
    assert "Usage: " in ended.out


def test_version_is_that_of_the_package(xm: Xm) -> None:
    assert xm("--version").out == f"extraction-monitor {version('extraction-monitor')}\n"


def test_unknown_variable_is_reported_once(xm: Xm) -> None:
    ended = xm("worker", XM_SHADOW="false")
    assert ended.error.count("XM_SHADOW is not a setting") == 1
    assert ended.error.count("\n") == 2


def test_wrong_setting_is_reported_before_slow_imports() -> None:
    program = (
        "import sys, pipelines.cli.main as main\n"
        "sys.argv = ['xm', *{!r}]\n"
        "try:\n    main.main()\n"
        "finally:\n    print('numba' in sys.modules)"
    )
    for arguments in (
        ["worker"],
        ["keys"],
        ["campaigns"],
        ["calibrate", "x", "--out", "y"],
        ["explain", "k_" + 24 * "0"],
        ["replay", "x.jsonl"],
    ):
        ended = subprocess.run(
            [sys.executable, "-c", program.format(arguments)],
            env={**os.environ, "XM_WEB_PORT": "0"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (ended.returncode, ended.stdout) == (2, "False\n")
        assert ended.stderr.startswith("Setting XM_WEB_PORT cannot be used: ")


def test_a_missing_file_is_one_sentence(xm: Xm) -> None:
    ended = xm("replay", "nowhere.jsonl")
    assert (ended.status, ended.out) == (2, "")
    assert ended.error.splitlines()[-1].startswith("Cannot read nowhere.jsonl: No such file")


def test_alerts_that_cannot_be_written_are_one_sentence(xm: Xm, recording: Path) -> None:
    ended = xm("replay", recording, "--alerts", "/nowhere/alerts.jsonl", "--plain-keys")
    assert (ended.status, ended.out) == (2, "")
    assert ended.error == (
        "Cannot write /nowhere/alerts.jsonl (No such file or directory). "
        "Name another file with --alerts.\n"
    )


def test_a_setting_that_does_not_exist_is_one_sentence(xm: Xm, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("redis = 'redis://127.0.0.1'\n")
    ended = xm("worker", XM_CONFIG=str(file))
    assert (ended.status, ended.out) == (2, "")
    assert ended.error.startswith(f"redis in {file} is not a setting.")
    assert ended.error.count("\n") == 1


def test_a_worker_without_a_secret_says_how_to_make_one(xm: Xm) -> None:
    ended = xm("worker")
    assert (ended.status, ended.out) == (2, "")
    assert ended.error.startswith("No identity secret: set XM_IDENTITY_SECRET, or ")
    assert ended.error.count("\n") == 1


def test_a_worker_whose_kafka_is_away_says_where_it_looked(xm: Xm) -> None:
    away = f"127.0.0.1:{free_port()}"
    ended = xm("worker", XM_KAFKA=away, **startable())
    assert (ended.status, ended.out) == (2, "")
    assert ended.error == f"Kafka at {away} does not answer: start it, or point XM_KAFKA at it.\n"


def test_a_worker_without_topics_says_how_to_make_them(kafka: str, xm: Xm) -> None:
    settings = topics_of(kafka)
    ended = xm("worker", **settings, **startable())
    assert (ended.status, ended.out) == (2, "")
    assert settings["XM_TOPICS__REQUESTS"] in ended.error
    assert ended.error.endswith("create it with `xm topics create`.\n")


def startable() -> dict[str, str]:
    return {"XM_IDENTITY_SECRET": SECRET, "XM_WEB_PORT": str(free_port())}
