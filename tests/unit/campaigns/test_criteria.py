"""The table of criteria is what the verdict, the views and the documentation use."""

from pathlib import Path

import pytest

from monitor.campaigns import criteria
from monitor.campaigns.criteria import ALERTS, COORDINATION, REQUIRED, ROUTES, UNKNOWN

PAGE = Path("deploy/docs/campaigns.md")
ALL = [criterion for route in ROUTES for criterion in route.criteria]
COORDINATED = {
    "deviation": 2.0,
    "probability": 1e-9,
    "accused_share": 0.0,
    "shards": 5.0,
    "common": 0.5,
    "largest_payment_share": 0.1,
    "uneven": 0.05,
    "pace_spread": 0.1,
    "prompts_a_template": 1.5,
    "surprise": 3.0,
    "members": 12.0,
}


def failing(criterion):
    """Coordinated keys, except that they fail one criterion."""
    worse = -1.0 if criterion.comparison == "≥" else 1.0
    return {**COORDINATED, criterion.evidence: criterion.bound + worse}


def table_of_criteria():
    """The table in deploy/docs/campaigns.md."""
    lines = [
        "| | Evidence | Bound | Value | If met | If not met |",
        "|---|---|---|---|---|---|",
    ]
    for route in ROUTES:
        title = route.title
        for each in route.criteria:
            bound = f"{each.comparison} {each.bound:.3g} {each.unit}".rstrip()
            if each.below_members is not None:
                bound += f" (only below {each.below_members} members)"
            lines.append(
                f"| {title} | `{each.evidence}` | {bound} | {each.measures} | {each.met} "
                f"| {each.not_met} |"
            )
            title = ""
    return "\n".join(lines) + "\n"


def test_ids_and_evidence_names_are_unique():
    assert len({each.id for each in ALL}) == len({each.evidence for each in ALL}) == len(ALL)


def test_coordinated_keys_are_a_campaign():
    results = criteria.apply(COORDINATED)
    assert criteria.is_campaign(results)
    assert criteria.reason(results) == COORDINATION.reason


@pytest.mark.parametrize("criterion", [*REQUIRED.criteria, *COORDINATION.criteria], ids=str)
def test_each_criterion_is_necessary(criterion):
    results = criteria.apply(failing(criterion))
    assert not criteria.is_campaign(results)
    assert criterion.not_met in criteria.reason(results)
    assert not any(route.reason in criteria.reason(results) for route in ROUTES)


@pytest.mark.parametrize("criterion", COORDINATION.criteria, ids=str)
def test_own_alerts_replace_coordination(criterion):
    results = criteria.apply({**failing(criterion), "accused_share": 0.5})
    assert criteria.is_campaign(results)
    assert criteria.reason(results) == ALERTS.reason


def test_own_alerts_do_not_replace_what_is_required():
    evidence = {**COORDINATED, "accused_share": 1.0, "deviation": 0.1}
    results = criteria.apply(evidence)
    assert not criteria.is_campaign(results)
    assert criteria.reason(results) == "their prompts are close to the baseline"


def test_bound_of_the_payment_share_is_exclusive():
    results = criteria.apply({**COORDINATED, "largest_payment_share": 0.8})
    assert not criteria.is_campaign(results)


def test_one_task_applies_below_forty_members():
    for members, campaign in ((39.0, False), (40.0, True)):
        evidence = {**COORDINATED, "common": 0.0, "members": members}
        assert criteria.is_campaign(criteria.apply(evidence)) is campaign


def test_unknown_steadiness_is_not_called_sessions():
    results = criteria.apply({**COORDINATED, "uneven": UNKNOWN})
    assert "too few complete hours" in criteria.reason(results)
    assert "sessions" not in criteria.reason(results)


def test_documentation_has_the_table():
    page = PAGE.read_text()
    table = page.partition("<!-- criteria -->\n")[2].partition("<!-- /criteria -->")[0]
    assert table.strip() == table_of_criteria().strip()
