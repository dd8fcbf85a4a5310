"""The demo's result and view."""

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
    return Scene(LABELS, IDENTITY, 60.0)


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
        summary=f"c_1: {len(members)} coordinated keys.",
        decision="block",
    )


def test_members_of_campaign_are_flagged(scene):
    scene.add(campaign("cot-0", "cot-1", "person-3"))
    assert set(scene.flagged) == {"cot-0", "cot-1", "person-3"}
    assert "cot-1: 2 of 6" in scene.result()
    assert "ordinary keys: 1 of 9" in scene.result()


def on_key(key, severity="warning", at=0.0):
    return Alert(
        id=f"a_{key}",
        kind="burst",
        state="open",
        severity=severity,
        score=1.0,
        subject=Subject("api_key", key),
        detected_at=at,
        window=(0.0, 0.0),
        evidence={},
        summary=f"{key}: asks for far more than any ordinary key does in an hour{' of a day' * 9}.",
        decision="throttle",
    )


@pytest.mark.parametrize(
    ("members", "found"),
    [
        ([f"cot-{i}" for i in range(6)], 1),
        (["cot-0", "cot-1"], 0),
        ([*LABELS], 0),
        ([f"person-{i}" for i in range(6)], 0),
    ],
    ids=["all members", "some members", "all keys", "ordinary keys"],
)
def test_campaign_is_found_by_a_matching_majority(scene, members, found):
    scene.add(campaign(*members))
    assert scene.result().endswith(f"campaigns found: {found} of 1.")


def test_view_gives_ground_truth_of_campaign(scene):
    scene.add(campaign("cot-0", "cot-1", "cot-2", "person-3"))
    (row,) = [line for line in lines(scene, 140, 50) if "c_1: 4 coordinated keys" in line]
    assert "3 of 6 cot-1, 1 of 9" in row


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 50)])
def test_view_fits_terminal_with_whole_ids_and_result(scene, width, height):
    scene.add(campaign("cot-0", "cot-1", "cot-2"))
    ids = [f"k_{i:024x}" for i in range(60)]
    for i, key in enumerate(ids):
        scene.add(on_key(key, at=60.0 * i))
    page = lines(scene, width, height)
    assert len(page) <= height
    assert max(map(len, page)) <= width
    text = "\n".join(page)
    assert "Flagged: cot-1: 3 of 6" in text
    assert "60 times as fast as the clock" in text
    assert "actual (ground truth)" in text
    assert any("warning open" in line and "throttle" in line for line in page)
    assert f"{ids[-1]}: asks" in text
    assert f"{ids[-3]}: asks" in text


def test_info_alert_does_not_flag_its_key(scene):
    scene.add(on_key("person-1", severity="info"))
    assert "ordinary keys: 0 of 9" in scene.result()
    assert "person-1" not in "\n".join(lines(scene, 140, 50))


def test_very_wide_view_counts_the_keys_of_every_class(scene):
    scene.add(campaign("cot-0", "cot-1", "person-3"))
    page = lines(scene, 200, 50)
    assert any(line.split()[-3:] == ["cot-1", "6", "2"] for line in page)
    assert any(line.split()[-4:] == ["ordinary", "(chat_user)", "9", "1"] for line in page)


def lines(scene, width, height):
    out = StringIO()
    Console(file=out, width=width).print(scene.view(width, height))
    return [line.rstrip() for line in out.getvalue().rstrip().splitlines()]
