"""The two-person rule: locking out many keys needs a second person.

A person may lock out `XM_CONSOLE__SECOND_PERSON_ABOVE` keys in an hour; an account counts with all
its keys. An order that goes beyond becomes a proposal, which another person with the right to
decide approves or refuses. Every decision from the console passes here, so small orders add up,
whatever page they come from.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec

from monitor.alerting.alerts import Action
from pipelines.console.access.tenants import check
from pipelines.console.access.viewer import Viewer
from pipelines.console.actions.decide import carry_out
from pipelines.console.actions.drafts import Drafts
from pipelines.console.actions.order import Order, Outcome, checked, new_reference
from pipelines.console.actions.proposals import Proposal, Proposals
from pipelines.console.page import Console
from pipelines.console.view.reach import keys_behind


def decide(
    console: Console,
    viewer: Viewer,
    subjects: Iterable[str],
    action: Action,
    seconds: float,
    why: str,
    *,
    rate: float | None = None,
    shadow: bool = False,
) -> Outcome:
    """Decide on subjects, or propose it where a second person is needed. Waits for Redis.

    Args:
        subjects: pseudonyms of keys, accounts and end users.
        seconds: how long it holds.
        rate: requests per minute, for `throttle`.
        shadow: whether to record it only.

    Raises:
        InputError: if an argument cannot be used.
        Refused: if a subject is of another tenant.
    """
    order = checked(Order(tuple(subjects), action, seconds, why, rate, shadow))
    check(console.view, viewer, order.subjects)
    return _submit(console, viewer, order)


def carry_out_draft(console: Console, viewer: Viewer, id: str, order: Order) -> Outcome:
    """Carry out what a person has previewed, or propose it; see `decide`.

    Args:
        id: of the draft.
        order: that it has become.

    Raises:
        InputError: if the draft is gone.
        Refused: if a subject is of another tenant.
    """
    drafts = Drafts(console.control.server)
    draft = drafts.read(id, viewer.name)
    order = checked(msgspec.structs.replace(order, subjects=draft.subjects))
    check(console.view, viewer, order.subjects)
    drafts.claim(id)
    return _submit(console, viewer, order, draft.campaign)


def needs_second_person(console: Console, viewer: Viewer, order: Order) -> bool:
    """Whether an order would become a proposal."""
    if not order.locks_out:
        return False
    acted = proposals_of(console).acted(viewer.name, time.time())
    keys = acted | keys_behind(console.view, order.subjects)
    return sum(keys.values()) > console.settings.console.second_person_above


def _submit(console: Console, viewer: Viewer, order: Order, campaign: str = "") -> Outcome:
    """Carry out a checked order, or propose it."""
    reference = new_reference() if len(order.subjects) > 1 else ""
    if order.locks_out:
        keys = keys_behind(console.view, order.subjects)
        proposals, above = proposals_of(console), console.settings.console.second_person_above
        if not proposals.admit(viewer.name, keys, above, time.time()):
            made = proposals.propose(
                order,
                viewer.name,
                viewer.tenants,
                sum(keys.values()),
                reference or new_reference(),
                campaign,
            )
            return Outcome(made.id, proposal=made.id)
    return carry_out(console.control, order, viewer.name, reference)


def approve(console: Console, viewer: Viewer, id: str, why: str) -> Outcome:
    """Approve a proposal of another person and carry it out.

    Raises:
        InputError: if it is their own, or does not wait any more.
        Refused: if a subject is of another tenant.
    """
    proposals = proposals_of(console)
    proposal, subjects = proposals.read(id, time.time())
    order = checked(proposal.order(subjects))
    check(console.view, viewer, order.subjects)
    proposals.take(id, viewer.name, why)
    outcome = carry_out(console.control, order, viewer.name, id)
    proposals.finish(proposal, outcome.failed)
    return outcome


def refuse(console: Console, viewer: Viewer, id: str, why: str) -> None:
    """Refuse a proposal, or take back one's own.

    Raises:
        InputError: if it does not wait any more.
        Refused: if a subject is of another tenant.
    """
    proposals = proposals_of(console)
    check(console.view, viewer, proposals.read(id, time.time())[1])
    proposals.refuse(id, viewer.name, why)


def waiting(console: Console, viewer: Viewer) -> list[Proposal]:
    """The proposals that a person may see, the oldest first."""
    found = proposals_of(console).all(time.time())
    mine = set(viewer.tenants)
    return [each for each in found if not mine or (each.tenants and mine >= {*each.tenants})]


def proposals_of(console: Console) -> Proposals:
    """The proposals in Redis."""
    return Proposals(console.control.server)
