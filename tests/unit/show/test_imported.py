from io import StringIO

from rich.console import Console

from monitor.campaigns.imported import ImportSeen
from pipelines.inspect.campaign import campaign_detail
from pipelines.inspect.campaigns import find_campaign
from pipelines.show.campaign import show
from tests.support.campaigns import partition


def seen(id: str, kind: str, nats: float, **fields: str) -> ImportSeen:
    names = {"source_name": "Partner", "campaign": "C7"} | fields
    return ImportSeen(
        id, kind, "ab" * 16, "identity--p", **names, members=9, first_seen=1.0, last_seen=2.0,
        nats=nats,
    )  # fmt: skip


def printed(*imported: ImportSeen) -> str:
    known, campaign = find_campaign([partition()], "c_fleet")
    campaign.imported = list(imported)
    file = StringIO()
    show(campaign_detail(known, campaign), Console(file=file, width=80))
    return file.getvalue()


def test_campaign_shows_what_partners_say_of_its_members():
    page = printed(seen("i1", "network", 1.2), seen("i2", "tls", 0.0), seen("i3", "network", 1.0))
    assert "indicators of partners" in page
    row = next(line.split() for line in page.splitlines() if "Partner" in line)
    assert row[:4] == ["Partner", "C7", "9", "1.2"]
    assert "2 network, 1 without weight" in " ".join(row)


def test_names_of_partners_cannot_control_the_terminal():
    page = printed(seen("i1", "network", 1.2, source_name="[red]x\x1b[2J", campaign="a\nb\u202e"))
    assert "[red]x[2J" in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_campaign_without_imports_has_no_such_part():
    assert "partners" not in printed()
