from __future__ import annotations

import json
from pathlib import Path

import pytest

from dashboards import build
from dashboards.panels import Graph

FOLDER = Path(build.__file__).parent
SHIPPED = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in build.DASHBOARDS}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, dashboard in SHIPPED.items()
    for panel in dashboard["panels"]
    if panel["type"] != "row"
]
each_dashboard = pytest.mark.parametrize("name", SHIPPED)
each_panel = pytest.mark.parametrize("panel", PANELS)


@each_dashboard
def test_committed_dashboard_matches_build(name):
    assert build.dashboard(name) == SHIPPED[name], "run: python -m dashboards.build"


def test_folder_has_no_other_dashboards():
    assert {file.stem for file in FOLDER.glob("*.json")} == SHIPPED.keys()
    uids = [dashboard["uid"] for dashboard in SHIPPED.values()]
    assert len(uids) == len(set(uids))
    assert "xm-investigation" in uids


@each_dashboard
def test_panels_fit_grid_without_overlap(name):
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in SHIPPED[name]["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < build.WIDTH


@each_panel
def test_panel_has_description_and_unit(panel):
    assert len(panel["description"]) >= 10
    if panel["type"] in ("timeseries", "stat", "bargauge", "table"):
        assert panel["fieldConfig"]["defaults"]["unit"]


@each_dashboard
def test_dashboard_links_to_the_others_and_marks_alerts(name):
    (link,) = SHIPPED[name]["links"]
    assert set(link["tags"]) <= set(SHIPPED[name]["tags"])
    marks = " ".join(each["expr"] for each in SHIPPED[name]["annotations"]["list"])
    assert "Extraction" in marks
    assert "Monitor" in marks


def test_links_lead_to_dashboards_that_exist():
    text = json.dumps(list(SHIPPED.values()))
    uids = {part.split('"')[0].split("/")[0].split("?")[0] for part in text.split("/d/")[1:]}
    assert uids <= {dashboard["uid"] for dashboard in SHIPPED.values()}


def test_panel_draws_every_query():
    queries = {f"line {i}": f"up * {i}" for i in range(9)}
    targets = Graph("Many lines", "Nine queries.", "none", queries).model()["targets"]
    assert [(each["legendFormat"], each["expr"]) for each in targets] == list(queries.items())
    assert len({each["refId"] for each in targets}) == 9


def test_panel_with_too_many_queries_is_an_error():
    queries = {f"line {i}": "up" for i in range(27)}
    with pytest.raises(ValueError, match="27 queries"):
        Graph("Too many lines", "More queries than letters.", "none", queries).model()
