"""A monitor that has seen simulated traffic, and the files that the documentation speaks of."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import zstandard

from monitor.identity import from_settings
from monitor.store.alert_book import AlertBook
from pipelines.cases.access import case_store
from pipelines.simulation.scenario import Scenario, Simulation, save_traffic
from pipelines.traffic.labels import load_labels
from tests.support.doc_blocks import wait_for
from tests.support.programs import Worker

SALT = "5a" * 32
SECRET = "known to the documentation's tests only"
_KEYS = 60


class _Pager(BaseHTTPRequestHandler):
    """A receiver that accepts every alert."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Monitored:
    """A worker with all roles that enforces decisions, after traffic with attacks.

    Entering waits until the fleet of the traffic is a campaign with a case.

    Args:
        xm: the command.
        chosen: more environment variables of the worker.

    Attributes:
        worker: its settings are those of every command.
        key: an API key of the fleet.
        pseudonym, account: of this key.
        alert: an open alert on this key.
        campaign, case: the fleet's.
        other_campaign: one without a case.
    """

    def __init__(
        self, folder: Path, kafka: str, store: str, traffic: Path, xm: Path, **chosen: str
    ) -> None:
        self._traffic, self._xm = traffic, xm
        self._pager = ThreadingHTTPServer(("127.0.0.1", 0), _Pager)
        salt_file = traffic.with_name("salt")
        salt_file.write_text(SALT)
        self.worker = Worker(
            folder,
            kafka,
            store,
            **{
                "XM_IDENTITY_SECRET": SECRET,
                "XM_DECISIONS__SHADOW": "false",
                "XM_CASES__KEY_FILE": str(folder / "case.pem"),
                "XM_SHARING__SALT_FILE": str(salt_file),
                "XM_SHARING__NAME": "Example Inc",
                "XM_RECEIVERS__ROUTES__PAGER__TYPE": "webhook",
                "XM_RECEIVERS__ROUTES__PAGER__SECRET": "whsec_" + "c2VjcmV0" * 5,
                "XM_RECEIVERS__ROUTES__PAGER__URL": f"http://127.0.0.1:{self._pager.server_port}/",
                **chosen,
            },
        )

    def __enter__(self) -> Monitored:
        Thread(target=self._pager.serve_forever, daemon=True).start()
        self._run("case", "key", "new")
        self.worker.start()
        try:
            self._run("produce", str(self._traffic))
            wait_for(self._find)
        except BaseException:
            self.worker.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.stop()
        self._pager.shutdown()

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            [self._xm, *arguments], env=self.worker.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    def _find(self) -> bool:
        settings = self.worker.settings
        identity = from_settings(settings)
        labels = load_labels(self._traffic.with_suffix(".labels.json"))
        names = {identity.key(key): key for key in labels}
        fleet = {key for key, name in names.items() if labels[name].kind == "cot"}
        entries = [each for each in AlertBook(settings.redis_url).entries() if each.is_open]
        subjects = [each.alert.subject for each in entries]
        campaigns = [each for each in subjects if each.type == "campaign"]
        found = [each for each in campaigns if fleet & set(each.members)]
        others = [each.id for each in campaigns if not fleet & set(each.members)]
        cases = {row.subject: row.id for row in case_store(settings, sign=False).rows()}
        alerts = {each.alert.subject.id: each.alert.id for each in entries}
        members = sorted(fleet & set(found[0].members) & alerts.keys()) if found else []
        if not members or not others or found[0].id not in cases:
            return False
        self.campaign, self.case = found[0].id, cases[found[0].id]
        self.other_campaign = others[0]
        self.pseudonym, self.key = members[0], names[members[0]]
        self.alert = alerts[self.pseudonym]
        self.account = identity.account(self._account_of(self.key))
        return True

    def _account_of(self, key: str) -> str:
        with self._traffic.open() as lines:
            events = map(json.loads, lines)
            return next(str(each["account"]) for each in events if each["api_key"] == key)


def sample_files(folder: Path) -> Path:
    """Write the files that a reader of the documentation has; the folder."""
    folder.mkdir()
    save_live_traffic(folder / "live.jsonl")
    for name in ("day.jsonl", "day.jsonl.gz"):
        save_traffic(Scenario(hours=1.0, keys=_KEYS), folder / name)
    for seed, name in enumerate(("monday", "tuesday", "wednesday")):
        ordinary = Scenario(seed=seed, hours=24.0, keys=12, attacks=False)
        save_traffic(ordinary, folder / f"{name}.jsonl.gz")
    lines = [msgspec.json.encode(_litellm(each)) for each in _first_events(5_000)]
    log = b"".join(line + b"\n" for line in lines)
    (folder / "yesterday.log.zst").write_bytes(zstandard.compress(log))
    (folder / "yesterday.jsonl.gz").write_bytes(gzip.compress(log))
    keys = load_labels(folder / "live.labels.json")
    outputs = b"".join(
        msgspec.json.encode({"prompt": "Why is the sky blue?", "output": f"For example, light {n}"})
        + b"\n"
        for n in range(20)
    )
    for name in ("outputs.jsonl", "ours.jsonl"):
        (folder / name).write_bytes(outputs)
    (folder / "partner.json").write_text('{"type": "bundle", "id": "bundle--0", "objects": []}')
    (folder / "keys.txt").write_text("".join(f"{key}\n" for key in keys))
    return folder


def save_live_traffic(file: Path) -> None:
    """Write the hour until now, with attacks."""
    save_traffic(Scenario(hours=1.0, keys=_KEYS, start=time.time() - 3_600.0), file)


def copy_samples(samples: Path, folder: Path) -> None:
    """Link the files into the folder of a page."""
    for file in samples.iterdir():
        shutil.copyfile(file, folder / file.name)


def _first_events(count: int) -> list[dict[str, Any]]:
    return list(islice(Simulation(Scenario(keys=_KEYS)).events(), count))


def _litellm(event: dict[str, Any]) -> dict[str, Any]:
    """An event as LiteLLM's standard logging payload."""
    return {
        "id": event["id"],
        "call_type": "acompletion",
        "startTime": event["ts"],
        "endTime": event["ts"] + 1.0,
        "model": event["model"],
        "messages": event.get("messages") or [{"role": "user", "content": event["prompt"]}],
        "prompt_tokens": event.get("input_tokens"),
        "completion_tokens": event.get("output_tokens"),
        "metadata": {"user_api_key_hash": event["api_key"]},
        "status": "success",
    }
