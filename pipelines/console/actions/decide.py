"""Carry out an order: one decision for each subject, each with its entry in the audit."""

from __future__ import annotations

import logging

from monitor.alerting.changes import Change
from monitor.errors import InputError, StoreError
from monitor.store.control import ControlStore
from pipelines.console.actions.order import Order, Outcome

log = logging.getLogger(__name__)


def carry_out(control: ControlStore, order: Order, who: str, reference: str) -> Outcome:
    """Decide on each subject of a checked order.

    A subject that fails does not hold up the others. Redis being away does: what follows would
    wait for it in turn.

    Args:
        who: answers for it.
        reference: of all its changes in the audit.
    """
    changes, failed = list[Change](), dict[str, str]()
    for i, subject in enumerate(order.subjects):
        try:
            changes.append(
                control.decide(
                    subject,
                    order.action,
                    order.seconds,
                    who,
                    order.why,
                    rate=order.rate,
                    shadow=order.shadow,
                    reference=reference,
                )
            )
        except InputError as error:
            failed[subject] = str(error)
        except StoreError as error:
            failed |= dict.fromkeys(order.subjects[i:], str(error))
            break
    if failed:
        log.warning(
            "order_incomplete reference=%s decided=%d failed=%d remedy=%r",
            *(reference, len(changes), len(failed)),
            "send it again for the subjects that failed",
        )
    return Outcome(reference, changes, failed)
