"""The page of a key, and search: what each viewer sees."""

from __future__ import annotations

import logging

import pytest

from monitor.alerting.alerts import Alert
from monitor.batch import Batch
from monitor.config import Settings
from monitor.engine import Engine
from monitor.identity import from_settings
from monitor.store.base import Checkpoint
from monitor.store.memory import MemoryStore
from monitor.store.redis import RedisStore
from pipelines.console.traits import read_trait
from pipelines.console.view.database import Writer
from pipelines.console.view.keys import signed
from pipelines.inspect.key import MIN_KEYS
from tests.support.console import SECRET, OpenPages, opening
from tests.support.requests import START, elicitor, in_order, person
from tests.support.scan import stored

RAW, UNKNOWN = "sk-known-to-its-owner", "sk-known-to-nobody"
ACCOUNT, TEMPLATE = "a_" + 12 * "c0", 8 * "7e"


@pytest.fixture(scope="module")
def recorded() -> tuple[Checkpoint, Alert]:
    """A key that asks for reasoning, among ordinary ones, and its alert."""
    settings = Settings(identity_secret=SECRET)  # type: ignore[arg-type]
    identity = from_settings(settings)
    engine = Engine(settings, identity, MemoryStore())
    engine.assign("requests:0")
    persons = (person(f"sk-{i}", count=22, every=100) for i in range(MIN_KEYS + 1))
    values = in_order(elicitor(RAW), *persons)
    alerts = engine.observe(Batch("requests:0", range(len(values)), values)).alerts
    key = identity.key(RAW)
    return engine.snapshot(), next(each for each in alerts if each.subject.id == key)


@pytest.fixture
def key(settings: Settings, recorded: tuple[Checkpoint, Alert]) -> str:
    """The same key in Redis and in the view."""
    checkpoint, alert = recorded
    store = RedisStore(settings.redis_url, 86_400)
    store.claim("requests:0")
    store.commit(checkpoint)
    key = alert.subject.id
    with Writer(settings.console.view_file).transaction() as view:
        view.execute(
            "INSERT INTO keys (key, tenant, severity, system) VALUES (?, 'acme/', 3, ?)",
            (key, signed(1 << 63)),
        )
        view.execute(
            "INSERT INTO alerts (id, kind, severity, state, subject, subject_type, decision, "
            "score, summary, evidence, opened_at, detected_at, changed_at) VALUES (?, ?, 3, "
            "'resolved', ?, 'api_key', 'block', 1, '<script>', '{}', ?, ?, ?)",
            (alert.id, alert.kind, key, START, START, START),
        )
        view.execute(
            "INSERT INTO alert_messages VALUES (?, ?, 'open', 3, 'block', ?, '')",
            (alert.id, START, START),
        )
        view.execute(
            "INSERT INTO audit VALUES ('o_1', ?, 'decide', 'eve', '<script>x</script>', ?, ?, '', "
            "'', '')",
            (START, key, key),
        )
        view.execute("INSERT INTO templates VALUES (?, ?)", (TEMPLATE, key))
        view.executemany(
            "INSERT INTO keys (key, account, severity) VALUES (?, ?, ?)",
            [(f"k_{i:024x}", ACCOUNT, i % 4) for i in range(30)],
        )
    return key


def test_key_page_shows_findings_beside_ordinary_keys(open_pages: OpenPages, key: str) -> None:
    page = open_pages("viewer").get(f"/keys/{key}")
    assert page.status_code == 200
    assert "ask for the reasoning trace. Under 1 in a billion ordinary keys" in page.text
    assert 'class="usual"' in page.text
    assert "It would be only a warning" in page.text


def test_key_page_keeps_ended_alerts_and_escapes_reasons(open_pages: OpenPages, key: str) -> None:
    text = open_pages("viewer").get(f"/keys/{key}").text
    timeline = text[text.index('class="timeline"') :]
    assert "/alerts/a_" in timeline
    assert "<q>&lt;script&gt;x&lt;/script&gt;</q>" in timeline
    assert "<script>x" not in text


def test_key_page_shows_history_without_record(open_pages: OpenPages, settings: Settings) -> None:
    pages, key = open_pages("viewer"), "k_" + 24 * "0"
    assert pages.get(f"/keys/{key}").status_code == 404
    pages.console.control.decide(key, "block", 60, "ada", "INC-1")
    assert "Redis has no record of it to evaluate" in pages.get(f"/keys/{key}").text


def test_account_page_lists_its_keys_by_severity(open_pages: OpenPages, key: str) -> None:
    pages = open_pages("viewer")
    first, second = (pages.get(f"/keys/{ACCOUNT}", page=page).text for page in "12")
    assert first.index(f"/keys/k_{3:024x}") < first.index(f"/keys/k_{2:024x}")
    assert f"/keys/k_{28:024x}" in second
    assert f"/keys/k_{28:024x}" not in first


def test_search_finds_raw_key_and_keeps_it_nowhere(
    open_pages: OpenPages, key: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pages = open_pages("viewer")
    answers = [
        pages.submit("/search", query=text, kind=kind)
        for text in (RAW, UNKNOWN)
        for kind in ("any", "key", "account", "payment", "network")
    ]
    assert [each.headers.get("location") for each in answers] == [f"/keys/{key}"] * 2 + [None] * 8
    seen = [f"{each.status_code} {each.headers} {each.text}".encode() for each in answers]
    seen += [
        caplog.text.encode(),
        pages.get("/search", query=RAW).content,
        repr(pages.session).encode(),
    ]
    seen += [value for _, value in stored(settings.redis_url)]
    file = settings.console.view_file
    seen += [each.read_bytes() for each in file.parent.glob(f"{file.name}*")]
    assert not any(raw.encode() in each for each in seen for raw in (RAW, UNKNOWN))


def test_search_goes_to_the_only_result(open_pages: OpenPages, key: str) -> None:
    pages = open_pages("viewer")
    (alert,) = pages.console.view.rows("SELECT id FROM alerts")
    searched = {
        key: f"/keys/{key}",
        key[:9].upper(): f"/keys/{key}",
        alert["id"][:12]: f"/alerts/{alert['id']}",
        "8000000000000000": "/traits/s_8000000000000000",
        TEMPLATE: f"/traits/{TEMPLATE}",
        ACCOUNT: f"/keys/{ACCOUNT}",
    }
    for text, path in searched.items():
        assert pages.submit("/search", query=text).headers["location"] == path


def test_other_tenants_do_not_find_a_key(open_pages: OpenPages, key: str) -> None:
    (alert,) = open_pages("viewer").console.view.rows("SELECT id FROM alerts")
    for tenant, found in (("acme/", True), ("beta/", False)):
        pages = open_pages("admin", tenants=(tenant,))
        assert (pages.get(f"/keys/{key}").status_code == 200) is found
        for text in (key, key[:9], RAW, alert["id"], "s_8000000000000000"):
            assert (pages.submit("/search", query=text).status_code == 303) is found, text
        assert (key in pages.get("/traits/s_8000000000000000").text) is found


def test_trait_is_read_by_its_whole_hash() -> None:
    trait = read_trait("n_00000000000000ff")
    assert trait is not None
    assert (trait.name, trait.path) == ("n_00000000000000ff", "/traits/n_00000000000000ff")
    assert read_trait("n_ff") is None


def test_key_page_without_redis_shows_history(
    open_pages: OpenPages, key: str, settings: Settings
) -> None:
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"})
    with opening(away) as open_away:
        pages = open_away("viewer")
        page, search = pages.get(f"/keys/{key}"), pages.submit("/search", query=RAW)
    assert (page.status_code, search.status_code) == (200, 503)
    assert "Redis does not answer" in page.text
    assert "Redis does not answer" in search.text
    assert "/alerts/a_" in page.text
