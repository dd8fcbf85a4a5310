"""What each receiver sends, as a server gets it: bodies, TLS, mail."""

from __future__ import annotations

import contextlib
import email.policy
import ssl
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import jsonschema
import msgspec
import pytest
from aiohttp import web
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

from monitor.alerting.alerts import Alert, Subject
from monitor.config import Receivers, Settings
from pipelines.demo.embedded import free_port
from pipelines.notify import Delivery, routes, verify
from pipelines.notify.incidents.notice import Notice
from pipelines.notify.receivers.base import AwayError, RefusedError
from pipelines.notify.route import Route
from tests.support import receiver_schemas as schemas
from tests.support.receivers import SECRET, Desk, alert, delivered, metric
from tests.support.redis_servers import Authority

LONG = msgspec.structs.replace(
    alert("2"),
    subject=Subject("campaign", "c_2", [f"k_{n}" for n in range(500)]),
    evidence={f"number_{n}": 1 / 3 for n in range(60)},
    summary="<!channel> & *500* keys: " + 4_000 * "x",
)
STATES = [
    Notice(alert("1", severity="warning")),
    Notice(alert("1", "update"), "warning"),
    Notice(alert("1", "resolved"), "critical"),
    Notice(LONG),
]


def routed(**chosen: Any) -> Route:
    receivers = {
        "routes": {"it": chosen},
        "timeout_seconds": 5,
        "runbook_url": "https://wiki.example/respond",
        "wait_minutes": 0,
    }
    (route,) = routes(Settings(receivers=Receivers.model_validate(receivers)))
    return route


async def requests_of(type: str, **chosen: Any) -> list[tuple[str, str, Any]]:
    """Method, path and body of the requests that send STATES to a receiver."""
    async with Desk().open() as desk:
        receiver = routed(type=type, url=desk.url, **chosen).receiver
        for notice in STATES:
            await receiver.send([notice])
    return desk.accepted


def check(body: Any, schema: dict[str, Any]) -> None:
    checker = jsonschema.FormatChecker()
    jsonschema.validate(body, schema, format_checker=checker)


async def test_alertmanager_bodies_are_as_documented():
    for method, path, body in await requests_of("alertmanager"):
        assert (method, path) == ("POST", "/hook/api/v2/alerts")
        check(body, schemas.ALERTMANAGER)


async def test_pagerduty_bodies_are_as_documented():
    bodies = [body for _, _, body in await requests_of("pagerduty", secret=SECRET)]
    for body in bodies:
        check(body, schemas.PAGERDUTY)
    assert [(each["event_action"], each["dedup_key"]) for each in bodies] == [
        ("trigger", "k_1"),
        ("trigger", "k_1"),
        ("resolve", "k_1"),
        ("trigger", "c_2"),
    ]
    assert [each["payload"]["severity"] for each in bodies[:2]] == ["warning", "critical"]


async def test_opsgenie_requests_are_as_documented():
    calls = await requests_of("opsgenie", secret=SECRET)
    assert [(method, path) for method, path, _ in calls] == [
        ("POST", "/hook/v2/alerts"),
        ("POST", "/hook/v2/alerts"),
        ("PUT", "/hook/v2/alerts/k_1/priority?identifierType=alias"),
        ("POST", "/hook/v2/alerts/k_1/close?identifierType=alias"),
        ("POST", "/hook/v2/alerts"),
    ]
    first, _, raised, closed, long = [body for _, _, body in calls]
    for body in (first, long):
        check(body, schemas.OPSGENIE)
    check(raised, schemas.OPSGENIE_PRIORITY)
    check(closed, schemas.OPSGENIE_CLOSE)
    assert (first["alias"], first["priority"], raised["priority"]) == ("k_1", "P3", "P1")


async def test_slack_messages_are_as_documented():
    bodies = [body for _, _, body in await requests_of("slack")]
    for body in bodies:
        check(body, schemas.SLACK)
    assert "<!channel>" not in str(bodies)  # would notify everybody


async def test_teams_cards_are_as_documented():
    for _, _, body in await requests_of("teams"):
        check(body, schemas.TEAMS)
        assert len(msgspec.json.encode(body)) < 28_000


async def test_cloud_events_are_read_by_their_sdk():
    async with Desk().open() as desk:
        receiver = routed(type="cloudevents", url=desk.url, secret="token").receiver
        await receiver.send([STATES[0]])
    ((_, headers, body),) = desk.requests
    event = from_http_event(HTTPMessage(headers, body))
    assert headers["Authorization"] == "Bearer token"
    assert (event.get_type(), event.get_subject()) == ("extraction.alert.open", "k_1")
    assert event.get_id() == "a_1.open.1772040000.000"
    assert msgspec.convert(event.get_data(), Alert) == STATES[0].alert


async def test_webhook_signs_its_body():
    async with Desk().open() as desk:
        await routed(type="webhook", url=desk.url, secret=SECRET).receiver.send(STATES[:1])
    ((_, headers, body),) = desk.requests
    assert verify(SECRET.encode(), headers, body)


async def test_opsgenie_key_is_in_the_header():
    async with Desk().open() as desk:
        await routed(type="opsgenie", url=desk.url, secret="key").receiver.send(STATES[:1])
    ((_, headers, _),) = desk.requests
    assert headers["Authorization"] == "GenieKey key"


async def test_failures_hide_the_secret_url():
    url = f"http://127.0.0.1:{free_port()}/services/T0/B0/hush"
    with pytest.raises(AwayError) as error:
        await routed(type="slack", url=url).receiver.send(STATES[:1])
    assert "hush" not in str(error.value)


async def test_answers_are_printable_and_hide_the_secret_path():
    async def repeat(_: Any) -> web.Response:
        return web.Response(status=404, text="no \x1b[31m/services/T0/hush\n here")

    desk = Desk()
    desk.answer = repeat
    async with desk.open():
        url = f"http://127.0.0.1:{desk.port}/services/T0/hush"
        with pytest.raises(RefusedError, match=r"answers 404 no \?\[31m… here"):
            await routed(type="slack", url=url).receiver.send(STATES[:1])


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def server_tls(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("localhost"))
    return context


async def test_receiver_trusts_the_named_ca_only(authority: Authority, server_tls: ssl.SSLContext):
    desk = Desk()
    url = f"https://localhost:{desk.port}/hook"
    async with desk.open(ssl_context=server_tls):
        await routed(type="slack", url=url, ca_file=authority.certificate).receiver.send(STATES[:1])
        with pytest.raises(AwayError, match="certificate verify failed"):
            await routed(type="slack", url=url).receiver.send(STATES[:1])
    assert len(desk.accepted) == 1


# Mail


class Mailbox:
    """Keeps what a mail server accepts; `answers` are given first."""

    def __init__(self) -> None:
        self.accepted: list[Any] = []
        self.answers: list[str] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.answers:
            return self.answers.pop(0)
        self.accepted.append(envelope)
        return "250 OK"


@contextlib.contextmanager
def mail_server(mailbox: Mailbox, **options: Any) -> Iterator[int]:
    """A real SMTP server, and its port."""
    port = free_port()
    controller = Controller(mailbox, hostname="localhost", port=port, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def mail(scheme: str, port: int, **chosen: Any) -> Route:
    address = {"sender": "Monitor <monitor@example.com>", "to": ["a@example.com", "b@example.com"]}
    return routed(type="email", url=f"{scheme}://localhost:{port}", **address, **chosen)


def read(envelope: Any) -> EmailMessage:
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


async def test_mail_is_one_thread_per_subject():
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        for notice in STATES[:3]:
            await mail("smtp", port).receiver.send([notice])
    messages = [read(envelope) for envelope in mailbox.accepted]
    assert [each["Subject"] for each in messages] == [
        "[warning] burst k_1 opened",
        "[critical] burst k_1 more severe",
        "[critical] burst k_1 resolved",
    ]
    assert {each["References"] for each in messages} == {"<k_1@example.com>"}
    assert len({each["Message-ID"] for each in messages}) == 3
    body = messages[0].get_content()
    assert "Key k_1 sends 31 times its usual rate." in body
    assert "Runbook: https://wiki.example/respond" in body
    assert mailbox.accepted[0].rcpt_tos == ["a@example.com", "b@example.com"]


async def test_mail_is_retried_after_a_temporary_answer():
    mailbox = Mailbox()
    mailbox.answers = ["451 greylisted", "421 busy"]
    with mail_server(mailbox) as port:
        async with Delivery([mail("smtp", port)]) as delivery:
            await delivered(delivery, alert("1"))
    assert len(mailbox.accepted) == 1


async def test_mail_that_is_refused_is_not_repeated():
    mailbox = Mailbox()
    mailbox.answers = ["554 no spam here"]
    with mail_server(mailbox) as port:
        async with Delivery([mail("smtp", port)]) as delivery:
            await delivered(delivery, alert("1"))
    assert mailbox.accepted == []
    assert metric(delivery, "xm_deliveries_total", receiver="it", outcome="refused") == 1


def log_in(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    known = (data.login, data.password) == (b"monitor", b"hush")
    return AuthResult(success=known, handled=False)


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
async def test_mail_logs_in_over_tls(scheme: str, authority: Authority, server_tls: ssl.SSLContext):
    mailbox = Mailbox()
    tls = {"ssl_context" if scheme == "smtps" else "tls_context": server_tls}
    options = {"authenticator": log_in, "auth_required": True, **tls}
    if scheme == "smtps":
        options["auth_require_tls"] = False  # aiosmtpd does not count TLS from the start
    login = {"user": "monitor", "ca_file": authority.certificate}
    with mail_server(mailbox, **options) as port:
        await mail(scheme, port, secret="hush", **login).receiver.send(STATES[:1])
        with pytest.raises(RefusedError, match="535"):
            await mail(scheme, port, secret="wrong", **login).receiver.send(STATES[:1])
        with pytest.raises(AwayError, match="certificate verify failed"):
            await mail(scheme, port, secret="hush", user="monitor").receiver.send(STATES[:1])
    assert len(mailbox.accepted) == 1


async def test_mail_is_not_sent_in_the_clear_if_tls_is_asked_for(authority: Authority):
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        route = mail("smtp+starttls", port, ca_file=authority.certificate)
        with pytest.raises(RefusedError, match="STARTTLS"):
            await route.receiver.send(STATES[:1])
    assert mailbox.accepted == []


async def test_mail_server_that_is_down_is_away():
    with pytest.raises(AwayError):
        await mail("smtp", free_port()).receiver.send(STATES[:1])


async def test_mail_server_that_hangs_up_after_accepting_gets_one_mail():
    class Rude(SMTP):
        async def smtp_QUIT(self, arg: str) -> None:  # noqa: N802
            self.transport.abort()

    class RudeController(Controller):
        def factory(self) -> SMTP:
            return Rude(self.handler, **self.SMTP_kwargs)

    mailbox, port = Mailbox(), free_port()
    controller = RudeController(mailbox, hostname="localhost", port=port)
    controller.start()
    try:
        async with Delivery([mail("smtp", port)]) as delivery:
            await delivered(delivery, alert("1"))
    finally:
        controller.stop()
    assert len(mailbox.accepted) == 1
