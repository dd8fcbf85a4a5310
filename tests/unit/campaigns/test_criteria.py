"""The table of criteria is what the verdict, the views and the documentation use."""

from pathlib import Path

import pytest

from monitor.campaigns import criteria
from monitor.campaigns.criteria import CRITERIA, MAX_NATS, SHIPPED, UNKNOWN, load
from monitor.config import Settings
from monitor.errors import ConfigError
from monitor.linker import Linker
from monitor.store.memory import MemoryStore

PAGE = Path("deploy/docs/campaigns.md")
WEIGHTS = load()
FLEET = {each.evidence: each.high if each.rising else each.low for each in CRITERIA}
CROWD = {each.evidence: each.low if each.rising else each.high for each in CRITERIA}


def log_odds(evidence):
    return criteria.log_odds(criteria.apply(evidence, WEIGHTS), WEIGHTS)


def table_of_criteria():
    """The table in deploy/docs/campaigns.md."""
    lines = [
        "| Evidence | Value | For a campaign | Nats | If it speaks for one | If against |",
        "|---|---|---|---|---|---|",
    ]
    for each in CRITERIA:
        given = WEIGHTS.criteria[each.id]
        comparison = "≥" if each.rising else "≤"
        bound = f"{comparison} {each.value(given.neutral):.2g} {each.unit}".rstrip()
        most, least = given.weight * (1.0 - given.neutral), given.weight * given.neutral
        lines.append(
            f"| `{each.evidence}` | {each.measures} | {bound} | -{least:.1f} to +{most:.1f} "
            f"| {each.met} | {each.not_met} |"
        )
    return "\n".join(lines) + "\n"


def test_ids_and_evidence_names_are_unique():
    ids, names = {each.id for each in CRITERIA}, {each.evidence for each in CRITERIA}
    assert len(ids) == len(names) == len(CRITERIA)


def test_shipped_weights_cover_the_criteria():
    assert set(WEIGHTS.criteria) == {each.id for each in CRITERIA}


def test_group_with_all_traits_is_a_campaign():
    assert log_odds(FLEET) > 0.0 > log_odds(CROWD)


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda each: each.id)
def test_no_criterion_decides_alone(criterion):
    name = criterion.evidence
    assert log_odds({**FLEET, name: CROWD[name]}) > 0.0
    assert log_odds({**CROWD, name: FLEET[name]}) < 0.0


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda each: each.id)
def test_nats_are_monotone_and_bounded(criterion):
    values = [criterion.value(place) for place in (-0.5, 0.0, 0.2, 0.5, 0.8, 1.0, 1.5)]
    nats = [criteria.apply({criterion.evidence: value}, WEIGHTS)[0].nats for value in values]
    assert nats == sorted(nats)
    assert max(map(abs, nats)) <= MAX_NATS + 0.01


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda each: each.id)
def test_place_and_value_are_inverse(criterion):
    assert criterion.place(criterion.value(0.3)) == pytest.approx(0.3)


def test_unknown_trait_says_nothing():
    (result,) = criteria.apply({"uneven": UNKNOWN}, WEIGHTS)
    assert (result.nats, result.known) == (0.0, False)
    assert result.meaning == "there is too little to tell"


def test_reason_names_the_strongest_criteria():
    results = criteria.apply(FLEET, WEIGHTS)
    strongest = max(results, key=lambda each: each.nats)
    assert criteria.reason(results, campaign=True).startswith(strongest.criterion.met)
    against = criteria.reason(criteria.apply(CROWD, WEIGHTS), campaign=False)
    assert not any(each.met in against for each in CRITERIA)


def test_page_has_the_table_of_criteria():
    page = PAGE.read_text(encoding="utf-8")
    table = page.partition("<!-- criteria -->\n")[2].partition("<!-- /criteria -->")[0]
    assert table.strip() == table_of_criteria().strip()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"XM_CAMPAIGNS__WEIGHTS\) cannot be read"),
        (b"not JSON", "does not hold weights of criteria.*Unset it"),
        (b'{"prior": 0, "criteria": {"births": {"weight": 1}}}', "does not hold weights"),
        (SHIPPED.read_bytes().replace(b'"births"', b'"birth"'), "check birth, births"),
    ],
    ids=["missing", "no JSON", "incomplete", "misspelt"],
)
def test_unusable_weights_end_the_start_with_what_to_do(tmp_path, content, message):
    file = tmp_path / "weights.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        Linker(Settings(campaigns={"weights": file}), MemoryStore())
