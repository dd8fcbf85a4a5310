"""What the demo says of campaigns, and whether they are right."""

from io import StringIO

import pytest
from rich.console import Console

from monitor.alerting.alerts import Alert, Subject
from monitor.identity import Identity
from pipelines.demo.scene import Scene
from pipelines.traffic.labels import Label

IDENTITY = Identity(b"known to this test only", plain=True)
LABELS = {f"cot-{i}": Label("cot", "cot-1") for i in range(6)}
LABELS |= {f"person-{i}": Label("chat_user") for i in range(9)} | {"one": Label("scraper", "s-1")}


@pytest.fixture
def scene():
    return Scene(LABELS, IDENTITY)


def campaign(*members, severity="critical", state="open"):
    subject = Subject("campaign", "c_1", list(members))
    return Alert(
        id="a_1",
        kind="campaign",
        state=state,
        severity=severity,
        score=1.0,
        subject=subject,
        detected_at=0.0,
        window=(0.0, 0.0),
        evidence={},
        summary=f"c_1: {len(members)} keys act as one.",
        decision="block",
    )


def test_the_members_of_a_campaign_are_accused(scene):
    scene.tell(campaign("cot-0", "cot-1", "person-3"))
    assert set(scene.accused) == {"cot-0", "cot-1", "person-3"}
    assert "cot-1: 2 of 6" in scene.caught()
    assert "ordinary keys: 1 of 9" in scene.caught()


@pytest.mark.parametrize(
    ("members", "found"),
    [
        ([f"cot-{i}" for i in range(6)], 1),
        (["cot-0", "cot-1"], 0),
        ([*LABELS], 0),
        ([f"person-{i}" for i in range(6)], 0),
    ],
    ids=["all of it", "a part", "everybody", "others"],
)
def test_a_campaign_is_found_if_an_alert_names_most_of_it_and_mostly_it(scene, members, found):
    scene.tell(campaign(*members))
    assert scene.caught().endswith(f"campaigns found: {found} of 1.")


def test_the_view_says_of_a_campaign_who_its_members_are(scene):
    scene.tell(campaign("cot-0", "cot-1", "cot-2", "person-3"))
    out = StringIO()
    Console(file=out, width=140).print(scene.view())
    (row,) = [line for line in out.getvalue().splitlines() if "c_1: 4 keys" in line]
    assert "3 of 6 cot-1, 1 of 9" in row
