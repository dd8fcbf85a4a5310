"""All operations of the decision service, for its routes and its OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from aiohttp import web

from monitor.alerting.changes import Change
from monitor.alerting.enforcement import Control
from monitor.evidence.ring import KeySet
from pipelines.decide.pages.bodies import Batch, BatchFound, NewAllowance, NewDecision, NewSwitch
from pipelines.decide.pages.changes import ChangePages
from pipelines.decide.pages.evidence import EvidencePages
from pipelines.decide.pages.lookups import Handler, LookupPages

Needs = Literal["nothing", "look", "read", "change"]


class Operation(NamedTuple):
    """One method of one page.

    Attributes:
        body: type of the request's body; `None` for none.
        found: type of the answer's body; `None` for one that is no JSON.
        needs: the right that a token must have. `look` needs none while look-ups are open; `read`
            always needs a token, of any right.
        reason: whether the URL must give a reason.
        kind: whether the URL may name a kind of alert.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    body: Any = None
    found: Any = None
    needs: Needs = "nothing"
    reason: bool = False
    kind: bool = False


def operations(
    lookups: LookupPages, changes: ChangePages, evidence: EvidencePages
) -> Iterator[Operation]:
    """The operations with JSON bodies, and the feed."""
    yield Operation(
        "POST", "/v1/decisions", lookups.batch,
        "What applies to many keys, accounts and end users",
        body=Batch, found=BatchFound, needs="look",
    )  # fmt: skip
    yield Operation(
        "GET", "/v1/decisions/feed", lookups.feed,
        "What changes, as server-sent events", needs="look",
    )  # fmt: skip
    yield Operation(
        "GET", "/v1/control", changes.control,
        "The switches, the allow-list and the withdrawn alerts", found=Control, needs="read",
    )  # fmt: skip
    yield Operation(
        "GET", "/v1/evidence-keys", evidence.keys,
        "The public keys that verify case files", found=KeySet,
    )  # fmt: skip
    for path, put, delete, body, what in (
        ("/v1/decisions/{subject}", changes.decide, changes.undecide, NewDecision,
         ("Decide on a subject", "Delete a person's decision")),
        ("/v1/allow/{subject}", changes.allow, changes.disallow, NewAllowance,
         ("Exempt a subject from enforcement", "Remove a subject from the allow-list")),
        ("/v1/shadow", changes.switch, changes.unswitch, NewSwitch,
         ("Switch shadow mode on or off", "Let the setting apply again")),
        ("/v1/kill", changes.switch, changes.unswitch, NewSwitch,
         ("Switch all enforcement off or on", "Remove the switch")),
    ):  # fmt: skip
        kind = path == "/v1/shadow"
        yield Operation("PUT", path, put, what[0], body, Change, "change", kind=kind)
        yield Operation("DELETE", path, delete, what[1], None, Change, "change", True, kind)


def route(app: web.Application, table: list[Operation]) -> None:
    """Add the operations to an application."""
    for each in table:
        app.router.add_route(each.method, each.path, each.handler)
