"""The commands as a shell runs them: what they print, write and exit with."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer
from typer.main import get_command
from typer.testing import CliRunner

from monitor import config
from monitor.records.baseline import load_reference
from pipelines.cli import main
from pipelines.demo.embedded import free_port
from tests.support.apps import fresh
from tests.support.commands import Xm
from tests.support.requests import elicitor, in_order, person

SECRET = "known to this test only"
TRAFFIC = in_order(elicitor(), person("sk-person"))
COMMANDS: Any = get_command(main.app)
COMMANDS.load()


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


@pytest.mark.parametrize("command", [*commands(COMMANDS)], ids=" ".join)
def test_help_has_an_example(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main.app, [*command, "--help"], terminal_width=200)
    assert f"xm {' '.join(command)}" in shown.output.rpartition("Example:")[2]


@pytest.mark.parametrize("command", [*commands(COMMANDS)], ids=" ".join)
def test_help_fits_80_columns(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main.app, [*command, "--help"], env={"COLUMNS": "80"})
    assert max(map(len, shown.output.splitlines())) == 80
    assert "-…" not in shown.output  # an option that is cut off


# Topics, and sending to them


def topics_of(kafka: str) -> dict[str, str]:
    name = fresh("cli")
    kinds = (
        "REQUESTS", "REJECTED", "FINGERPRINTS", "ALERTS", "UNDELIVERED", "DECISIONS", "AUDIT",
        "CASES",
    )  # fmt: skip
    topics = {topic: f"{name}.{topic.lower()}" for topic in kinds}
    return {"XM_KAFKA": kafka, **{f"XM_TOPICS__{topic}": name for topic, name in topics.items()}}


def test_topics_are_created_once(kafka: str, xm: Xm) -> None:
    settings = topics_of(kafka)
    first, second = (xm("topics", "create", **settings) for _ in range(2))
    assert (first.status, first.out.count(": created\n")) == (0, 8)
    assert (second.status, second.out.count(": exists\n")) == (0, 8)


def test_produce_sends_each_line(kafka: str, xm: Xm, recording: Path) -> None:
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


def test_replay_flags_simulated_attackers_only(xm: Xm, tmp_path: Path) -> None:
    traffic, alerts = tmp_path / "hour.jsonl.gz", tmp_path / "alerts.jsonl"
    xm("simulate", traffic, "--hours", 1, "--keys", 100)
    assert xm("replay", traffic, "--alerts", alerts, "--plain-keys").status == 0
    labels = json.loads((tmp_path / "hour.labels.json").read_text())
    found = [json.loads(line) for line in alerts.open()]
    flagged = {
        key
        for subject in (alert["subject"] for alert in found if alert["severity"] != "info")
        for key in (subject["members"] or [subject["id"]])
    }
    assert flagged == {key for key, label in labels.items() if label["campaign"]}


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress], ids=["plain", "gzip"])
def test_replay_reads_stdin(pack: Callable[[bytes], bytes]) -> None:
    command = [sys.executable, "-m", "pipelines.cli.main", "replay", "-"]
    ended = subprocess.run(
        command, input=pack(b"\n".join(TRAFFIC)), capture_output=True, timeout=60
    )
    assert ended.returncode == 0
    assert ended.stdout.decode().startswith(f"{len(TRAFFIC)} requests in ")


def test_replay_gives_the_same_alerts_in_any_order(xm: Xm, tmp_path: Path) -> None:
    halves = TRAFFIC[::2], TRAFFIC[1::2]
    orders = {"oldest": [TRAFFIC], "newest": [TRAFFIC[::-1]], "shards": halves}
    alerts = {}
    for name, shards in orders.items():
        for number, lines in enumerate(shards):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{number}.jsonl").write_bytes(b"\n".join(lines))
        out = tmp_path / f"{name}.alerts"
        assert xm("replay", tmp_path / name, "--plain-keys", "--alerts", out).status == 0
        alerts[name] = out.read_bytes()
    assert alerts["oldest"]
    assert alerts["newest"] == alerts["shards"] == alerts["oldest"]


def test_inspect_exit_status_tells_whether_most_is_read(xm: Xm, recording: Path) -> None:
    assert xm("inspect", recording).status == 0
    garbage = recording.with_name("garbage")
    garbage.write_text("no request\n" * 9)
    assert xm("inspect", garbage).status == 1
    assert xm("inspect", recording.with_name("missing")).status == 2
    assert json.loads(xm("inspect", recording, "--json").out)["mapping"] == {"preset": "native"}


def test_replay_memory_is_independent_of_file_size(tmp_path: Path) -> None:
    program = (
        "import atexit, resource, pipelines.cli.main\n"
        "usage = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "atexit.register(lambda: print(usage()))\n"
        "pipelines.cli.main.main()"
    )

    def kilobytes(times: int) -> int:
        file = tmp_path / f"{times}.gz"
        in_order = b"".join((line + b"\n") * times for line in TRAFFIC)
        file.write_bytes(gzip.compress(in_order))
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
        (b"", "{file} has no request. Name a file of requests."),
        (b"\n\n", "{file} has no request. Name a file of requests."),
        (
            b'{"timestamp": 1, "api_key": "sk-1"}\n' * 2,
            "2 rejected as missing_field (ts is missing or empty at /ts: set ts = ",
        ),
        (
            b"\x02\xff\n{}\n\x01\n",
            "2 rejected as not_json (malformed JSON at character 0; {file}, line 1): check how the "
            "file is written, 1 rejected as missing_field (ts is missing or empty at /ts: ",
        ),
    ],
    ids=["empty", "blank", "field", "binary"],
)
def test_replay_without_valid_request_is_an_error(
    xm: Xm, tmp_path: Path, content: bytes, complaint: str
) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_bytes(content)
    ended = xm("replay", file, "--plain-keys")
    assert (ended.status, ended.out) == (1, "")
    assert complaint.format(file=file) in ended.error
    assert ("Set XM_MAPPING to the format" in ended.error) == (b"{" in content)


def test_replay_shows_detail_of_rejections(xm: Xm, recording: Path) -> None:
    with recording.open("ab") as file:
        file.write(b'\n{"api_key": "sk-1"}\n')
    ended = xm("replay", recording, "--plain-keys")
    assert ended.status == 0
    assert "  1 rejected as missing_field (ts is missing or empty at /ts: " in ended.out


def test_replay_checks_pseudonym_first(xm: Xm, recording: Path) -> None:
    ended = xm("replay", recording, "--explain", "sk-live-123", XM_IDENTITY_SECRET=SECRET)
    assert (ended.status, ended.out, ended.error.count("\n")) == (2, "", 1)
    assert "sk-live-123" not in ended.error
    assert "k_ and 24 hexadecimal digits" in ended.error


def test_replay_explains_pseudonym_only_with_secret(xm: Xm, recording: Path) -> None:
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


def test_evaluate_prints_json(xm: Xm, simulated: Path) -> None:
    labels = simulated / "hour.labels.json"
    ended = xm("evaluate", simulated / "hour.jsonl", "--labels", labels, "--json")
    (*_, together) = json.loads(ended.out)["scores"]
    assert set(together["recall"]) == {"cot", "grader", "scraper", "all"}


# Calibration


@pytest.fixture
def ordinary(xm: Xm, tmp_path: Path) -> Path:
    xm("simulate", tmp_path / "day.jsonl.gz", "--keys", 60, "--no-attacks")
    return tmp_path / "day.jsonl.gz"


def test_calibrate_without_rate_writes_baseline_only(xm: Xm, ordinary: Path) -> None:
    out = ordinary.with_name("public.json")
    ended = xm("calibrate", ordinary, "--out", out)
    assert ended.out == f"Wrote 60 key-days to {out}. Use it with XM_REFERENCE={out}.\n"
    assert not out.with_suffix(".toml").exists()
    assert load_reference(out).peaks.any()


def test_replay_uses_fitted_thresholds(xm: Xm, ordinary: Path) -> None:
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
    flagged = {alert["subject"]["id"] for alert in found if alert["severity"] != "info"}
    assert len(flagged) <= 1


def test_calibrate_rejects_thresholds_from_one_hour(xm: Xm, simulated: Path) -> None:
    recording, out = simulated / "hour.jsonl", simulated / "public.json"
    ended = xm("calibrate", recording, "--out", out, "--false-alerts-per-day", 1)
    assert (ended.status, ended.error.count("\n"), out.exists()) == (2, 1, False)
    assert "Put the files of one recording into a folder" in ended.error


def test_help_lists_commands_as_they_introduce_themselves() -> None:
    listed = {name: command.help for name, command in get_command(main.app).commands.items()}
    loaded = {
        name: command.help.partition("\n\n")[0] for name, command in COMMANDS.commands.items()
    }
    assert listed == {name: " ".join(text.split()) for name, text in loaded.items()}


def test_help_and_completion_import_no_settings() -> None:
    program = (
        "import atexit, sys, pipelines.cli.main as main\n"
        "atexit.register(lambda: print({'numba', 'faust', 'monitor.config.settings'} & "
        "set(sys.modules)))\n"
        "main.main()"
    )
    completion = {"_XM_COMPLETE": "complete_bash", "COMP_WORDS": "xm alerts ", "COMP_CWORD": "2"}
    for arguments, variables in ((["--help"], {}), (["keys", "--help"], {}), ([], completion)):
        ended = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.stdout.endswith("set()\n")


# Errors that an operator can fix


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


def test_replay_reports_missing_file(xm: Xm) -> None:
    ended = xm("replay", "nowhere.jsonl")
    assert (ended.status, ended.out) == (2, "")
    assert ended.error.splitlines()[-1].startswith("Cannot read nowhere.jsonl: No such file")


def test_replay_reports_unwritable_alerts_file(xm: Xm, recording: Path) -> None:
    ended = xm("replay", recording, "--alerts", "/nowhere/alerts.jsonl", "--plain-keys")
    assert (ended.status, ended.out) == (2, "")
    assert ended.error == (
        "Cannot write /nowhere/alerts.jsonl (No such file or directory). "
        "Name another file with --alerts.\n"
    )


def test_worker_reports_unknown_setting_in_file(xm: Xm, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("redis = 'redis://127.0.0.1'\n")
    ended = xm("worker", XM_CONFIG=str(file))
    assert (ended.status, ended.out) == (2, "")
    assert ended.error.startswith(f"redis in {file} is not a setting.")
    assert ended.error.count("\n") == 1


def test_worker_without_secret_names_remedy(xm: Xm) -> None:
    ended = xm("worker")
    assert (ended.status, ended.out) == (2, "")
    assert ended.error.startswith("No identity secret: set XM_IDENTITY_SECRET, or ")
    assert ended.error.count("\n") == 1


def test_unknown_role_is_reported_with_all_roles(xm: Xm) -> None:
    ended = xm("worker", "--role", "watch,judge", **startable())
    assert (ended.status, ended.out) == (2, "")
    assert ended.error == (
        "'judge' is not a role of a worker: choose among watch, link, deliver, decide.\n"
    )


def test_worker_without_kafka_names_address(xm: Xm) -> None:
    away = f"127.0.0.1:{free_port()}"
    ended = xm("worker", XM_KAFKA=away, **startable())
    assert (ended.status, ended.out) == (2, "")
    assert ended.error == f"Kafka at {away} does not answer: start it, or point XM_KAFKA at it.\n"


def test_worker_without_topics_names_command(kafka: str, xm: Xm) -> None:
    settings = topics_of(kafka)
    ended = xm("worker", **settings, **startable())
    assert (ended.status, ended.out) == (2, "")
    assert settings["XM_TOPICS__REQUESTS"] in ended.error
    assert ended.error.endswith("create it with `xm topics create`.\n")


def startable() -> dict[str, str]:
    return {"XM_IDENTITY_SECRET": SECRET, "XM_WEB_PORT": str(free_port())}
