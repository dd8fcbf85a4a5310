"""Which subjects a person with tenants may act on."""

from __future__ import annotations

import pytest

from pipelines.console.access.tenants import check, theirs
from pipelines.console.access.viewer import Viewer
from pipelines.console.page import Refused
from pipelines.console.view.database import View, Writer

ACME = Viewer("ann", "analyst", ("acme/",))
KEYS = {"k_1": "acme/", "k_2": "acme/", "k_3": "other/", "k_4": ""}
MEMBERS = {
    "c_1": {"k_1": "member", "k_2": "member", "k_3": "bystander"},
    "c_2": {"k_1": "member", "k_3": "member"},
    "c_3": {"k_1": "member", "k_9": "member"},  # a key that the view does not know
}


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    file = tmp_path_factory.mktemp("view") / "view.sqlite"
    with Writer(file).transaction() as rows:
        rows.executemany("INSERT INTO keys (key, tenant) VALUES (?, ?)", KEYS.items())
        rows.execute("INSERT INTO tenants VALUES ('a_1', 'acme/')")
        for campaign, members in MEMBERS.items():
            rows.executemany(
                "INSERT INTO members VALUES (?, ?, ?, 1, 1, 1, 1, 1, 1, 1, 0, '{}', '[]')",
                [(campaign, *member) for member in members.items()],
            )
    return View(file)


def test_subject_belongs_to_a_tenant_alone(view: View) -> None:
    subjects = [*KEYS, *MEMBERS, "a_1", "a_2", "p_1", "n_1", "", "k_9", "c_9"]
    assert theirs(view, ACME, subjects) == {"k_1", "k_2", "c_1", "a_1"}
    assert theirs(view, Viewer("bo", "admin"), subjects) == {*subjects}


def test_one_subject_of_others_refuses_all(view: View) -> None:
    check(view, ACME, ["k_1", "a_1", "c_1"])
    check(view, ACME, [])
    for subject in ("k_3", "k_4", "c_2", "c_3", "p_1", "' OR 1 --"):
        with pytest.raises(Refused, match="not of your tenants") as caught:
            check(view, ACME, ["k_1", subject])
        assert caught.value.status_code == 404


def test_more_subjects_than_a_query_may_have(view: View) -> None:
    many = [f"k_{n}" for n in range(1_200)]
    assert theirs(view, ACME, many) == {"k_1", "k_2"}
