"""Campaigns whose alert a person has withdrawn."""

from monitor.batch import Batch
from monitor.config import Settings
from monitor.linker import Linker
from monitor.store.memory import MemoryStore
from tests.support.crowd import fleet, population
from tests.unit.campaigns.test_rounds import TOPIC, stream

WARNING, CRITICAL = 2, 3


def observe(messages, *, withdrawn, since=0):
    """The alerts and decisions of a linker that knows from message `since` on what is withdrawn."""
    linker = Linker(Settings(), MemoryStore())
    linker.assign(TOPIC)
    first = linker.observe(Batch(TOPIC, range(since), messages[:since]))
    linker.withdraw(withdrawn)
    rest = linker.observe(Batch(TOPIC, range(since, len(messages)), messages[since:]))
    return first, rest


def test_withdrawn_campaign_neither_opens_nor_decides():
    messages = stream(population(), fleet(30))
    (opened, *_) = observe(messages, withdrawn={})[1].alerts
    _, out = observe(messages, withdrawn={opened.subject.id: {"campaign": CRITICAL}})
    assert (out.alerts, out.decisions) == ([], [])


def test_open_campaign_ends_when_it_is_withdrawn():
    messages = stream(population(), fleet(30))
    half = len(messages) // 2
    first, _ = observe(messages, withdrawn={}, since=half)
    campaign = first.alerts[-1]
    assert campaign.state != "resolved"
    withdrawn = {campaign.subject.id: {"campaign": CRITICAL}}
    _, rest = observe(messages, withdrawn=withdrawn, since=half)
    (resolved,) = rest.alerts
    assert (resolved.id, resolved.state) == (campaign.id, "resolved")
    assert "withdrawn by a person" in resolved.summary
    assert rest.decisions == []


def test_campaign_opens_once_it_is_more_severe_than_what_was_withdrawn():
    messages = stream(population(), fleet(30))
    (opened, *_) = observe(messages, withdrawn={})[1].alerts
    _, out = observe(messages, withdrawn={opened.subject.id: {"campaign": WARNING}})
    assert {each.severity for each in out.alerts} == {"critical"}
