"""What partners share helps to link keys, and alone accuses nobody."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from monitor.batch import Batch
from monitor.campaigns.fingerprint import IDENTIFIERS
from monitor.campaigns.imported import MOST_NATS, Import, Imports, imports_of
from monitor.campaigns.population import Population
from monitor.campaigns.rounds import ROUND
from monitor.config import Settings
from monitor.linker import Linker
from monitor.sharing.indicator import Found, Indicator
from monitor.store.memory import MemoryStore
from tests.support.crowd import MIDNIGHT, fleet, population
from tests.unit.campaigns.test_rounds import TOPIC, members, stream

DAY = 86_400.0
VALUE = "ab" * 16
INDICATOR = Indicator(
    *("indicator--1", "network", VALUE, "3f9a12bc", "identity--p", 80, "green", "C7"),
    valid_from=MIDNIGHT,
    valid_until=MIDNIGHT + DAY,
    source_name="Partner",
)


ONE = Import(
    *("indicator--0", "network", VALUE, "identity--p", "Partner", "C7", 1.5),
    *(MIDNIGHT, MIDNIGHT + 2 * DAY),
)


def import_of(own: int = 0, **fields: object) -> Import:
    """An import of a network by default, with all the weight that it may have."""
    return msgspec.structs.replace(ONE, id=f"indicator--{own}", own=own, **fields)


def population_of(*crowds):
    found = Population(100_000)
    for crowd in crowds:
        found.update(crowd.fingerprints(), crowd.names)
    return found


def evidence(imports, *crowds, members=20):
    """The evidence of imports on the keys of some crowds, of which the first keys are members."""
    keys = population_of(*crowds)
    member = np.zeros(len(keys))
    member[:members] = 1.0
    held = Imports.of(imports, keys, MIDNIGHT + 3600)
    return held.evidence(member, np.ones(len(keys), bool))


def linked(imports, *crowds):
    linker = Linker(Settings(), MemoryStore())
    linker.assign(TOPIC)
    linker.use_imports(imports)
    messages = stream(*crowds)
    return linker, linker.observe(Batch(TOPIC, range(len(messages)), messages))


def test_indicator_of_members_is_evidence_up_to_its_bound():
    nats = evidence([import_of(8)], fleet(20, shared={"network": 8}), population(600))
    assert (nats[:20] == 1.5).all()
    assert not nats[20:].any()


def test_sources_add_up_to_a_bound_and_one_source_counts_once():
    fleet_ = fleet(20, shared={"network": 8, "system": 9})
    twice = [import_of(8), import_of(9, kind="system", campaign="C8")]
    assert evidence(twice, fleet_, population(600)).max() == 1.5
    sources = [import_of(8, source=f"identity--{i}") for i in range(5)]
    assert evidence(sources, fleet_, population(600)).max() == MOST_NATS


def test_common_indicator_is_worth_nothing():
    crowd = population(600, shared={"network": 8})
    nats = evidence([import_of(8)], fleet(20, shared={"network": 8}), crowd)
    assert not nats.any()


def test_common_indicator_does_not_spoil_rare_ones_of_its_list():
    campus = population(300, seed=11, shared={"network": 7})
    imports = [import_of(7), import_of(8)]
    nats = evidence(imports, fleet(20, shared={"network": 8}), population(300), campus)
    assert (nats[:20] == 1.5).all()
    assert not nats[20:].any()


def test_indicator_that_only_one_member_has_is_no_evidence():
    assert not evidence([import_of(8)], fleet(1, shared={"network": 8}), population(600)).any()


def test_import_counts_only_while_it_is_valid():
    keys = population_of(fleet(20, shared={"network": 8}))
    one = import_of(8)
    assert Imports.of([one], keys, one.valid_from)
    assert not Imports.of([one], keys, one.valid_until)
    assert not Imports.of([one], keys, one.valid_from - 1.0)


def test_template_is_evidence_on_the_keys_that_have_it():
    crowd = fleet(20)
    template = import_of(kind="template", keys=crowd.names[:15])
    nats = evidence([template], crowd, population(600))
    assert (nats[:15] == 1.5).all()
    assert not nats[15:].any()


def test_imports_follow_from_confidence_weight_and_what_is_here():
    indicators = [
        INDICATOR,
        msgspec.structs.replace(INDICATOR, id="indicator--2", value="cd" * 16),
        msgspec.structs.replace(INDICATOR, id="indicator--3", source="identity--q", weight=0.5),
    ]
    found = imports_of(indicators, [Found("network", VALUE, 8)])
    assert [(each.id, each.nats, each.own) for each in found] == [
        ("indicator--1", pytest.approx(1.2), 8),
        ("indicator--3", pytest.approx(0.6), 8),
    ]


def test_work_is_bounded_whatever_partners_send():
    many = [
        msgspec.structs.replace(INDICATOR, id=f"indicator--{i}", source=f"identity--{i % 2}")
        for i in range(1000)
    ]
    assert len(imports_of(many, [Found("network", VALUE, 8)])) == 400
    templates = [
        msgspec.structs.replace(each, kind="template", value=f"{i:032x}", campaign="C" * 10_000)
        for i, each in enumerate(many)
    ]
    found = [Found("template", each.value, 0, ["k"] * 500) for each in templates]
    imports = imports_of(templates, found)
    assert sum(len(each.keys) for each in imports) == 10_000
    assert len(imports[0].campaign) == 100


def test_template_that_many_keys_have_is_not_imported():
    template = msgspec.structs.replace(INDICATOR, kind="template")
    assert not imports_of([template], [Found("template", VALUE, 0, ["k_1"], many=True)])


def test_imports_name_nobody_without_own_evidence():
    """A partner who lists the networks and the system prompt of honest keys frames none."""
    honest = population(600)
    victims = population(40, seed=31, shared={"network": 7, "system": 8})
    imports = [import_of(7), import_of(8, kind="system")]
    imports += [import_of(kind="template", keys=victims.names, source="identity--q")]
    _, out = linked(imports, honest, victims)
    assert not out.alerts


def test_imports_draw_no_honest_key_into_a_campaign():
    """The list holds networks of a real fleet, of honest keys, and of a campus."""
    attackers = fleet(30, shared={"network": 8})
    victims = population(12, seed=31, start=2.0, spread=1.0, shared={"network": 7})
    campus = population(200, seed=32, shared={"network": 6})
    imports = [
        import_of(own, source=source)
        for own in (6, 7, 8)
        for source in ("identity--p", "identity--q", "identity--r")
    ]
    _, out = linked(imports, population(400), victims, campus, attackers)
    (found,) = members(out)
    assert found == set(attackers.names)


def test_campaign_lists_the_imports_that_its_members_have():
    attackers = fleet(30, shared={"network": 8})
    linker, out = linked([import_of(8), import_of(6)], population(400), attackers)
    (campaign,) = [c for c in linker.partitions[TOPIC].rounds.campaigns if c.named]
    (seen,) = campaign.imported
    assert (seen.id, seen.source_name, seen.campaign) == ("indicator--8", "Partner", "C7")
    assert seen.members == len(campaign.named) > 20
    assert 1.0 < seen.nats <= 1.5
    assert MIDNIGHT <= seen.first_seen < seen.last_seen
    assert 1.0 < max(alert.evidence["imported_nats"] for alert in out.alerts) <= 1.5


def test_open_campaign_lists_what_is_imported_from_the_next_round_on():
    linker = Linker(Settings(), MemoryStore())
    partition = linker.assign(TOPIC)
    messages = stream(population(400), fleet(30, shared={"network": 8}))
    offset = 0
    while not (opened := [c for c in partition.rounds.campaigns if c.opened]):
        linker.observe(Batch(TOPIC, range(offset, offset + 1), messages[offset : offset + 1]))
        offset += 1
    assert not opened[0].imported
    linker.use_imports([import_of(8)])
    watermark = partition.watermark
    while partition.watermark < watermark + ROUND:
        linker.observe(Batch(TOPIC, range(offset, offset + 1), messages[offset : offset + 1]))
        offset += 1
    assert [each.id for each in opened[0].imported] == ["indicator--8"]


def test_imports_help_to_find_a_fleet_that_hides():
    """Seven of eight prompts are ordinary; a partner lists the networks of two in three keys."""
    hidden = fleet(30, mix=0.88, spread=1.0)
    networks = hidden.fingerprints()["ids"][:20, IDENTIFIERS.index("network")].tolist()
    assert not linked([], population(600), hidden)[1].alerts
    _, out = linked([import_of(each) for each in networks], population(600), hidden)
    (found,) = members(out)
    assert len(found & set(hidden.names)) > 20
    assert found <= set(hidden.names)


def test_linker_keeps_its_imports_in_the_state():
    store, crowds = MemoryStore(), (population(300), fleet(30, shared={"network": 8}))
    linker = Linker(Settings(), store)
    linker.assign(TOPIC)
    linker.use_imports([import_of(8)])
    messages = stream(*crowds)
    linker.observe(Batch(TOPIC, range(len(messages)), messages))
    store.commit(linker.snapshot())
    restarted = Linker(Settings(), store).assign(TOPIC)
    assert restarted.rounds.imports == [import_of(8)]


def test_two_runs_with_the_same_imports_are_the_same():
    crowds = population(300), fleet(30, shared={"network": 8})
    one, other = (linked([import_of(8)], *crowds)[1] for _ in range(2))
    assert one.alerts == other.alerts
