import time

import pytest

from monitor.alerting.decisions import ActiveDecision
from monitor.alerting.enforcement import Allowance, Control, Switch
from pipelines.decide.copy import DecisionCopy, held_by
from pipelines.decide.metrics import LookupMetrics
from pipelines.decide.tally import Tally


def decision(key, action="block", **more):
    end = time.time() + 60.0
    return ActiveDecision(key, action, "a_1", 1.0, 60.0, expires_at=end, **more)


async def counted(*decisions, shadow=False, **control):
    """All non-zero samples of enforcement, by name and label."""
    copy, metrics = DecisionCopy(shadow=shadow), LookupMetrics()
    copy.load(held_by(decisions), Control(**control), "0-0")
    await Tally(copy, metrics, shadow=shadow).count()
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for metric in (metrics.enforced, metrics.held_back, metrics.switches)
        for family in metric.collect()
        for sample in family.samples
        if sample.value
    }


async def test_enforced_decisions_are_counted_by_action():
    found = await counted(decision("k_1"), decision("k_2"), decision("k_3", "throttle"))
    assert found == {"xm_enforced_decisions block": 2, "xm_enforced_decisions throttle": 1}


@pytest.mark.parametrize("name", ["kill", "shadow"])
async def test_switch_is_reported_with_what_it_holds_back(name):
    switches = {name: Switch(True, "ann", "INC-7", 1.0)}
    found = await counted(decision("k_1"), decision("k_2"), switches=switches)
    assert found == {f"xm_switch {name}": 1, f"xm_held_back_decisions {name}": 2}


async def test_shadow_mode_by_setting_is_reported():
    assert (await counted(shadow=True)) == {"xm_switch shadow": 1}


async def test_allowed_and_capped_decisions_are_held_back():
    allowance = Allowance("k_1", "sales", "ann", "pilot", 1.0, time.time() + 60.0)
    found = await counted(decision("k_1"), decision("k_2", capped=True), allowed={"k_1": allowance})
    assert found == {
        "xm_enforced_decisions throttle": 1,
        "xm_held_back_decisions allowed": 1,
        "xm_held_back_decisions capped": 1,
    }


async def test_lifted_caps_are_reported():
    switches = {"caps": Switch(False, "ann", "INC-7", 1.0)}
    found = await counted(decision("k_1", capped=True), switches=switches)
    assert found == {"xm_switch caps_lifted": 1, "xm_enforced_decisions block": 1}
