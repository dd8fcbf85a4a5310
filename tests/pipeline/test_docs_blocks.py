"""Every shell block of the documentation runs, in the order of its page."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from shutil import copyfile
from typing import NamedTuple

import pytest

from pipelines.demo import embedded
from pipelines.demo.embedded import free_port
from tests.support.doc_blocks import PAGES, ROOT, Shell, blocks_of
from tests.support.fork_server import ForkServer
from tests.support.monitored import SALT, Monitored, copy_samples, sample_files
from tests.support.programs import Worker, compile_kernels

# Pages that are about a monitor which has seen traffic. Others begin with an empty Redis.
WITH_TRAFFIC = {
    "appeals.md",
    "campaigns.md",
    "cases.md",
    "detection.md",
    "gateways.md",
    "reports.md",
    "respond.md",
    "security.md",
    "sharing.md",
    "tracing.md",
}
ELSEWHERE = {"first-hour.md"}  # test_first_hour.py runs it
RUN = [
    page
    for page in PAGES
    if page.name not in ELSEWHERE and any(block.reason is None for block in blocks_of(page))
]
MOST_NOT_RUN = 0.55  # of all blocks
SHORTER = {"--hours 24": "--hours 1", "--hours 6": "--hours 1", "--speed 60": "--speed 3600"}


Values = dict[str, str | Callable[[str], str]]


class Place(NamedTuple):
    """What all pages share."""

    folder: Path
    kafka: str
    store: str
    databases: Iterator[int]
    xm: Path

    @property
    def samples(self) -> Path:
        return self.folder / "samples"

    def database(self) -> str:
        """The URL of a Redis database of its own."""
        return f"{self.store.removesuffix('/0')}/{next(self.databases)}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("docs")
    sample_files(folder / "samples")
    compile_kernels()
    with embedded.broker() as kafka, embedded.store() as store, ForkServer(folder) as server:
        server.write_client(folder / "xm")
        yield Place(folder, kafka, store, count(), folder / "xm")


@pytest.fixture(scope="module")
def monitored(place: Place) -> Iterator[Monitored]:
    traffic = place.samples / "live.jsonl"
    with Monitored(
        place.folder / "monitored", place.kafka, place.database(), traffic, place.xm
    ) as monitored:
        yield monitored


def on_nothing(page: Path, place: Place, folder: Path) -> Shell:
    """A shell with a broker and a store that are empty."""
    worker = Worker(folder / "settings", place.kafka, place.database())
    environment = dict(worker.environment)
    del environment["XM_IDENTITY_SECRET"]
    environment["XM_IDENTITY_SECRET_FILE"] = str(folder / "secrets/xm")
    ports = {name: str(free_port()) for name in ("XM_SERVE__PORT", "XM_FORWARD__PORT")}
    values: Values = {"k_30263b9df560394b856f332d": first_key}
    shell = shell_in(page, folder, place, worker, environment | ports, "sk-1", values)
    shell.run("xm topics create")
    return shell


def first_key(shown: str) -> str:
    """The first key that a page's commands have shown."""
    return re.findall(r"k_[0-9a-f]{24}", shown)[0]


def on_traffic(page: Path, place: Place, folder: Path, monitored: Monitored) -> Shell:
    """A shell with a monitor that has seen traffic."""
    worker = monitored.worker
    environment = worker.environment | {"XM_SERVE__PORT": str(free_port())}
    values: Values = {
        "127.0.0.1:6067/v1/decision": f"{worker.address}/v1/decision",
        "10.0.0.5": "127.0.0.1",
        "sk-…": monitored.key,
        "k_30263b9df560394b856f332d": monitored.pseudonym,
        "a_5f1e0c7744ab0a0e6c2d19b3": monitored.account,
        "a_fbcd2144": monitored.alert,
        "c_75b8": monitored.campaign,
        "c_1b15": monitored.campaign,
        "c_5f1e0d2c9b8a": monitored.other_campaign,
        "case_75b8": monitored.case,
        "case_5b1c": monitored.case,
        "case_5f1e0d2c9b8a7766": monitored.case,
        "s_0d1f": lambda shown: re.findall(r"s_[0-9a-f]{8,}", shown)[-1],
        "R-7Q3M-K9ZD-20XF": lambda shown: re.findall(r"R-\w{4}-\w{4}-\w{4}", shown)[-1],
        "m_5e2a": lambda shown: re.findall(r"m_[0-9a-f]{4,}", shown)[-1],
    }
    shell = shell_in(page, folder, place, worker, environment, monitored.key, values)
    copyfile(worker.folder / "case.public.json", shell.folder / "public-keys.json")
    return shell


def shell_in(
    page: Path,
    folder: Path,
    place: Place,
    worker: Worker,
    environment: dict[str, str],
    typed: str,
    values: Values,
) -> Shell:
    places = {
        "kafka:9092": worker.environment["XM_KAFKA"],
        "redis://redis:6379/0": worker.environment["XM_REDIS_URL"],
        "127.0.0.1:6066": f"127.0.0.1:{environment['XM_WEB_PORT']}",
        "XM_SERVE__PORT=6067": f"XM_SERVE__PORT={environment['XM_SERVE__PORT']}",
        "127.0.0.1:6067": f"127.0.0.1:{environment['XM_SERVE__PORT']}",
        "/run/secrets": str(folder / "secrets"),
        "/etc/extraction-monitor": str(folder / "etc"),
        "/var/log": str(folder / "log"),
        "/var/lib": str(folder / "lib"),
    }
    for name in ("secrets", "etc", "log", "lib"):
        (folder / name).mkdir()
    secret = environment.get("XM_IDENTITY_SECRET", secrets.token_hex(32))
    (folder / "secrets/xm").write_text(secret)
    (folder / "secrets/sharing-salt").write_text(SALT)
    shell = Shell(
        page, folder, place.xm, environment, typed=typed, values={**SHORTER, **places, **values}
    )
    copy_samples(place.samples, shell.folder)
    return shell


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_shell_blocks_run(
    page: Path, tmp_path: Path, place: Place, request: pytest.FixtureRequest
) -> None:
    if page.name in WITH_TRAFFIC:
        shell = on_traffic(page, place, tmp_path, request.getfixturevalue("monitored"))
    else:
        shell = on_nothing(page, place, tmp_path)
    try:
        for block in blocks_of(page):
            if block.reason is None:
                shell.run(block.text)
    finally:
        failed = shell.stop()
    assert failed == []


def test_most_shell_blocks_run() -> None:
    blocks = [block for page in PAGES for block in blocks_of(page)]
    skipped = [block for block in blocks if block.reason is not None]
    print(f"{len(blocks) - len(skipped)} of {len(blocks)} shell blocks run")
    assert len(skipped) <= MOST_NOT_RUN * len(blocks)


def test_a_failing_command_fails_its_block(tmp_path: Path, place: Place) -> None:
    shell = on_nothing(PAGES[0], place, tmp_path)
    shell.run("export NAME=kept\nxm --version")
    assert shell.run("echo $NAME") == "kept\n"
    with pytest.raises(AssertionError, match="no-such-file"):
        shell.run("xm replay no-such-file\necho not reached")
