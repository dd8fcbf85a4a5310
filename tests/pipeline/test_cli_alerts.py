"""The commands on alerts, as a shell runs them."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from monitor.alerting.alerts import Subject
from monitor.store.alert_book import AlertBook, Entry, Mark
from monitor.store.control import ControlStore
from pipelines.demo.embedded import free_port
from pipelines.notify.dead_letters import DeadLetter
from tests.support.apps import fresh
from tests.support.commands import Xm
from tests.support.receivers import alert

KEY = "k_30263b9df560394b856f332d"


def named(id: str, **changes: object) -> Entry:
    found = msgspec.structs.replace(alert(id), subject=Subject("api_key", KEY), **changes)
    return Entry(found, 0, time.time() - 60, time.time())


@pytest.fixture
def book(redis_url: str) -> AlertBook:
    """A book with an open critical alert, an open info alert and one that has ended."""
    book = AlertBook(redis_url)
    book.write(
        [
            named("1", summary=f"{KEY}: sends 31 times its usual rate, in 400 requests."),
            named("2", severity="info", kind="coverage"),
            named("3", state="resolved"),
        ]
    )
    book.mark({"a_1": [Mark("pager", "open", "critical", 1.0)]}, time.time())
    book.mark({"a_1": [Mark("chat", "open", "critical", 1.0, accepted=False)]}, time.time())
    return book


@contextmanager
def receiver(status: int = 200) -> Iterator[tuple[str, list[bytes]]]:
    """An HTTP server in a thread: its URL, and the bodies that it gets."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", bodies
    finally:
        server.shutdown()
        server.server_close()


def desk(url: str, name: str = "DESK") -> dict[str, str]:
    """Settings of a Slack receiver."""
    route = f"XM_RECEIVERS__ROUTES__{name}__"
    return {f"{route}TYPE": "slack", f"{route}URL": url}


def test_list_shows_open_alerts_the_most_severe_first(xm: Xm, redis_url: str, book: AlertBook):
    ended = xm("alerts", "list", COLUMNS="80", XM_REDIS_URL=redis_url)
    lines = ended.out.splitlines()
    assert [line.split()[:3] for line in lines if line.startswith("a_")] == [
        ["a_1", "critical", "open"],
        ["a_2", "info", "open"],
    ]
    assert "decision throttle; sent to pager; not accepted by chat" in ended.out


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--all"], ["a_1", "a_2", "a_3"]),
        (["--severity", "warning"], ["a_1"]),
        (["--kind", "coverage"], ["a_2"]),
        (["--subject", "k_other"], []),
    ],
)
def test_list_has_conditions(
    xm: Xm, redis_url: str, book: AlertBook, options: list[str], ids: list[str]
):
    found = json.loads(xm("alerts", "list", "--json", *options, XM_REDIS_URL=redis_url).out)
    assert [each["alert"]["id"] for each in found] == ids


def test_list_without_alerts_says_so(xm: Xm, redis_url: str):
    assert xm("alerts", "list", XM_REDIS_URL=redis_url).out == "No alerts.\n"


def test_list_rejects_an_unknown_severity(xm: Xm, redis_url: str):
    ended = xm("alerts", "list", "--severity", "high", XM_REDIS_URL=redis_url)
    assert (ended.status, "choose info, warning or critical" in ended.error) == (2, True)


def test_show_prints_evidence_and_deliveries(xm: Xm, redis_url: str, book: AlertBook):
    out = xm("alerts", "show", "a_1", XM_REDIS_URL=redis_url).out
    assert "requests                        400" in out
    assert "pager             open      critical  accepted" in out
    assert "chat              open      critical  not accepted" in out
    assert f"See why: xm explain {KEY}" in out


@pytest.mark.parametrize(
    ("id", "message"), [("a_", "3 alerts have ids"), ("a_9", "There is no alert a_9")]
)
def test_show_needs_a_unique_alert(xm: Xm, redis_url: str, book: AlertBook, id: str, message: str):
    ended = xm("alerts", "show", id, XM_REDIS_URL=redis_url)
    assert ended.status == 2
    assert message in ended.error


def test_commands_without_redis_say_so(xm: Xm):
    ended = xm("alerts", "list", XM_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert ended.status == 2
    assert "Redis at 127.0.0.1" in ended.error


def test_silence_is_listed_ended_and_audited(xm: Xm, redis_url: str, book: AlertBook):
    by = ("--who", "ana", "--why", "load test")
    added = xm("alerts", "silence", KEY, "--for", "8h", *by, XM_REDIS_URL=redis_url)
    (silence,) = book.silences(time.time())
    assert added.out.startswith(f"{silence.id}  until ")
    assert silence.id in xm("alerts", "silence", XM_REDIS_URL=redis_url).out
    assert "; silenced" in xm("alerts", "list", XM_REDIS_URL=redis_url).out
    xm("alerts", "silence", "--end", silence.id[:6], *by, XM_REDIS_URL=redis_url)
    assert xm("alerts", "silence", XM_REDIS_URL=redis_url).out == "No silences.\n"
    audit = list(ControlStore(redis_url).audit())
    assert [(each.what, each.subject, each.who, each.why) for each in audit] == [
        ("silence", KEY, "ana", "load test")
    ] * 2
    assert [each.before is None for each in audit] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sk-live-123", "--why", "x"], "not an id as in alerts"),
        ([KEY], "The reason must be"),
        (["--for", "2h", "--why", "x"], "Name what to silence"),
        (["--kind", "brust", "--why", "x"], "There is no kind brust"),
        ([KEY, "--for", "soon", "--why", "x"], "is not a duration"),
        (["--end", "s_1", "--why", "x"], "There is no silence s_1"),
    ],
)
def test_unusable_silence_is_rejected(xm: Xm, redis_url: str, arguments: list[str], message: str):
    ended = xm("alerts", "silence", *arguments, XM_REDIS_URL=redis_url)
    assert ended.status == 2
    assert message in ended.error
    assert "sk-live" not in ended.error
    assert AlertBook(redis_url).silences(time.time()) == []


def test_withdrawal_is_kept_and_can_be_undone(xm: Xm, redis_url: str, book: AlertBook):
    store = ControlStore(redis_url)
    done = xm("alerts", "withdraw", "a_1", "--why", "our own CI", XM_REDIS_URL=redis_url)
    withdrawn = store.read().withdrawn["a_1"]
    assert (withdrawn.subject, withdrawn.kind, withdrawn.severity) == (KEY, "burst", "critical")
    assert done.out.startswith(f"a_1 (burst of {KEY}) is withdrawn: audit entry o_")
    assert "; withdrawn" in xm("alerts", "list", XM_REDIS_URL=redis_url).out
    xm("alerts", "withdraw", "a_1", "--undo", "--why", "a mistake", XM_REDIS_URL=redis_url)
    assert store.read().withdrawn == {}


def test_test_alert_opens_and_resolves_at_each_receiver(xm: Xm):
    with receiver() as (url, bodies), receiver(404) as (wrong, _):
        ended = xm("alerts", "test", **desk(url), **desk(wrong, "CHAT"))
        assert ended.status == 1
        assert "desk              accepted in " in ended.out
        assert "chat              failed: answers 404" in ended.out
        assert xm("alerts", "test", "desk").status == 0
    titles = [msgspec.json.decode(body)["text"] for body in bodies]
    assert titles == [f"[info] test k_{24 * '0'} {what}" for what in ("opened", "resolved")] * 2


def test_test_of_an_unknown_receiver_names_the_known(xm: Xm):
    ended = xm("alerts", "test", "pager", **desk("http://127.0.0.1/"))
    assert (ended.status, "There is no receiver pager: choose from desk" in ended.error) == (
        2,
        True,
    )


def test_test_without_receivers_says_what_to_set(xm: Xm):
    ended = xm("alerts", "test")
    assert ended.status == 2
    assert "No receiver is configured" in ended.error


async def publish(kafka: str, topic: str, letters: list[DeadLetter]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for letter in letters:
            await producer.send_and_wait(topic, msgspec.json.encode(letter))


def test_redeliver_sends_undelivered_alerts_once(xm: Xm, kafka: str, redis_url: str):
    names = ("REQUESTS", "REJECTED", "ALERTS", "FINGERPRINTS", "UNDELIVERED", "DECISIONS", "AUDIT")
    settings = {f"XM_TOPICS__{name}": fresh(name.lower()) for name in names}
    settings |= {"XM_KAFKA": kafka, "XM_REDIS_URL": redis_url, "XM_TOPICS__PARTITIONS": "1"}
    assert xm("topics", "create", **settings).status == 0
    letters = [
        DeadLetter(name, "answers 404", 1.0, alert("1", state))
        for name in ("desk", "gone")
        for state in ("open", "resolved")
    ]
    asyncio.run(publish(kafka, settings["XM_TOPICS__UNDELIVERED"], letters))
    with receiver(500) as (url, _):
        ended = xm("alerts", "redeliver", "--receiver", "desk", **settings, **desk(url))
        assert ended.status == 1
        assert "not available: answers 500" in ended.out
    with receiver() as (url, bodies):
        for expected in ("2 delivered now, 0 before", "0 delivered now, 2 before"):
            ended = xm("alerts", "redeliver", **settings, **desk(url))
            assert ended.status == 0
            assert f"4 undelivered alerts: {expected}, 2 not accepted." in ended.out
        assert len(bodies) == 2
