"""A campaign: who belongs to it, what ties them, how it grew, and acting on many at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from monitor.alerting.alerts import ACTIONS, Action
from monitor.campaigns.fingerprint import IDENTIFIERS
from pipelines.console.access.tenants import theirs
from pipelines.console.access.viewer import Viewer
from pipelines.console.actions.drafts import Draft, Drafts
from pipelines.console.actions.order import Order, checked
from pipelines.console.charts.graph import LEAST_NATS, Drawing, draw
from pipelines.console.forms import Fields, fields, page_number
from pipelines.console.page import (
    Console,
    Pages,
    Refused,
    blocking,
    console,
    render,
    see_other,
    viewer,
)
from pipelines.console.view.alerts import list_alerts
from pipelines.console.view.campaigns import (
    MEMBER_ORDERS,
    CampaignRow,
    MemberFilter,
    MemberOrder,
    Shares,
    campaign_detail,
    find_campaign,
    list_members,
    list_shares,
    member_keys,
)
from pipelines.console.view.reach import accounts_of
from pipelines.console.words import path as path_of
from pipelines.inspect.campaign import CampaignDetail, SharedIdentifier

page = Pages()

SIZE = 50  # members of a page
_TRAITS = 12  # that are listed before the others fold
_KINDS = dict(zip("pntusm", IDENTIFIERS, strict=True))  # by the letter of their names
_IMPORTED = 50  # indicators of partners that are listed
_LEAST = {"": 0.0, "99": 0.99, "95": 0.95, "50": 0.5}  # confidence


@page("/campaigns/{id}", right="read")
async def campaign(request: Request) -> Response:
    """The page of a campaign, or for htmx its table alone."""
    id, person = request.path_params["id"], viewer(request)
    found = await blocking(_found, console(request), person, id)
    table = await blocking(_table, console(request), person, id, request.query_params)
    if request.headers.get("HX-Target") == "members":
        return render(request, "campaign_members.html", campaign=found, **table)
    parts = await blocking(_parts, console(request), person, found)
    return render(request, "campaign.html", campaign=found, **table, **parts)


@page("/campaigns/{id}/act", right="decide", methods=("POST",))
async def act(request: Request) -> Response:
    """Keep what was selected as a draft, and show what it would do."""
    form = await fields(request)
    selected = [str(each) for each in (await request.form()).getlist("selected")]
    id, person = request.path_params["id"], viewer(request)
    await blocking(_found, console(request), person, id)
    draft = await blocking(_draft, console(request), person, id, form, selected)
    return see_other(f"/act/{draft}")


def _found(console: Console, viewer: Viewer, id: str) -> CampaignRow:
    found = find_campaign(console.view, id, viewer.tenants)
    if found is None:
        raise Refused(404, console.words("campaign.unknown"))
    return found


def _table(console: Console, viewer: Viewer, id: str, query: Mapping[str, str]) -> dict[str, Any]:
    """The members that a query asks for."""
    wanted, sort = _wanted(query), query.get("sort", "-confidence")
    name = sort.removeprefix("-")
    order: MemberOrder = name if name in MEMBER_ORDERS else "confidence"
    number = page_number(cast("Any", query))
    members = list_members(
        console.view,
        id,
        viewer.tenants,
        wanted,
        order=order,
        rising=not sort.startswith("-"),
        limit=SIZE,
        offset=SIZE * (number - 1),
    )
    chosen = {name: query.get(name, "") for name in _NAMES}
    narrowed = {name: value for name, value in chosen.items() if value}
    path = path_of(id)
    return {
        "members": members,
        "chosen": chosen,
        "sort": sort,
        "number": number,
        "size": SIZE,
        "filtered": f"{path}?{urlencode(narrowed)}" if narrowed else path,
        "sorted": f"{path}?{urlencode({**narrowed, 'sort': sort})}",
    }


_NAMES = ("role", "text", "shares", "least", "named", "undecided")


def _wanted(query: Mapping[str, str]) -> MemberFilter:
    """The filter in a query or a form; what makes no sense counts as not chosen."""
    role = query.get("role", "")
    return MemberFilter(
        role=cast("Any", {"all": "", "bystander": "bystander"}.get(role, "member")),
        text=query.get("text", "").strip()[:64],
        trait=query.get("shares", "").strip()[:64],
        least=_LEAST.get(query.get("least", ""), 0.0),
        named=bool(query.get("named")),
        undecided=bool(query.get("undecided")),
    )


def _draft(console: Console, viewer: Viewer, id: str, form: Fields, selected: Sequence[str]) -> str:
    action = cast("Action", form.choice("action", ACTIONS))
    if form.text("scope") == "all":
        wanted = _wanted({name: form.text(name) for name in _NAMES})
        keys = member_keys(console.view, id, viewer.tenants, wanted)
    else:
        everyone = MemberFilter(role="")
        known = set(member_keys(console.view, id, viewer.tenants, everyone))
        keys = [each for each in selected if each in known]
    subjects = keys
    if form.text("target") == "accounts":
        accounts = accounts_of(console.view, keys)
        subjects = [accounts.get(key, key) for key in keys]
    rate = form.number("rate") if action == "throttle" else None
    order = checked(Order(tuple(subjects), action, 1.0, "-", rate))
    draft = Draft(viewer.name, id, order.subjects, action, rate)
    return Drafts(console.control.server).keep(draft)


def _parts(console: Console, viewer: Viewer, campaign: CampaignRow) -> dict[str, Any]:
    """What the page shows beside the table."""
    shares = list_shares(console.view, campaign.id, viewer.tenants)
    detail = None if viewer.tenants else campaign_detail(console.view, campaign.id)
    shared = detail.shared if detail else _own_traits(shares)
    is_theirs = campaign.id in theirs(console.view, viewer, [campaign.id])
    alerts = list_alerts(
        console.view, viewer.tenants, state="any", subjects=[campaign.id], order="newest", limit=20
    )
    return {
        "alerts": alerts.rows,
        "detail": detail,
        "drawing": _drawing(shares, shared),
        "bystanders": sum(each.role == "bystander" for each in shares),
        "evidence": _evidence(detail),
        "growth": _growth(detail, campaign),
        "traits": shared[:_TRAITS],
        "imported": [] if detail is None else _imported(detail),
        "open_case": console.cases.store.open_case_of(campaign.id) if is_theirs else None,
        "is_theirs": is_theirs,
        "more_traits": shared[_TRAITS:],
    }


def _drawing(shares: Sequence[Shares], shared: Sequence[SharedIdentifier]) -> Drawing:
    members = [each for each in shares if each.role == "member"]
    return draw(members, [each for each in shares if each.role == "bystander"], shared)


def _own_traits(shares: Sequence[Shares]) -> list[SharedIdentifier]:
    """The traits among a viewer's own members, without their weight: it counts all members."""
    found = Counter(name for each in shares if each.role == "member" for name in each.shares)
    return [
        SharedIdentifier(_KINDS.get(name[:1], ""), name, count, 0, LEAST_NATS)
        for name, count in found.most_common()
        if count > 1
    ]


def _imported(detail: CampaignDetail) -> list[tuple[str, str, int]]:
    """Indicators of partners, who chose these texts: source, kind and members that have it."""
    return [
        (_plain(f"{each.source_name or each.source} {each.campaign}"), each.kind, each.members)
        for each in detail.imported[:_IMPORTED]
    ]


def _plain(text: str) -> str:
    """A text without control characters, also those that reorder what is shown."""
    return "".join(each for each in text if each.isprintable())


def _evidence(detail: CampaignDetail | None) -> list[tuple[str, float, float]]:
    """Kinds of evidence, their nats per member, and each as a share of the strongest."""
    if detail is None:
        return []
    found = sorted(detail.evidence.items(), key=lambda each: -each[1])
    most = max((abs(nats) for _, nats in found), default=0.0) or 1.0
    return [(kind, nats, abs(nats) / most) for kind, nats in found if abs(nats) >= 0.05]


def _growth(detail: CampaignDetail | None, campaign: CampaignRow) -> dict[str, Any] | None:
    """Members over time, for a chart."""
    if detail is None or not detail.timeline:
        return None
    at = [entry.at for entry in detail.timeline]
    members = [entry.members for entry in detail.timeline]
    end: float = campaign.ended or detail.until
    if end > at[-1]:
        at.append(end)
        members.append(members[-1])
    return {"x": at, "series": [{"label": "", "values": members}], "unit": "count"}
