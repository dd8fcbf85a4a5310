"""Which subjects a person with some tenants may act on: those of these tenants alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from pipelines.console.access.viewer import Viewer
from pipelines.console.refused import Refused
from pipelines.console.view.database import View
from pipelines.console.view.scope import marks

_PART = 500  # subjects of a query


def check(view: View, viewer: Viewer, subjects: Iterable[str]) -> None:
    """Check that a person may act on all of some subjects.

    Raises:
        Refused: if one of them is not of the person's tenants, as if it did not exist.
    """
    wanted = {*subjects}
    if viewer.tenants and wanted - theirs(view, viewer, wanted):
        raise Refused(
            404, "One of the subjects is unknown, or is not of your tenants: go back and search it."
        )


def theirs(view: View, viewer: Viewer, subjects: Iterable[str]) -> set[str]:
    """Those of some subjects that belong to the tenants of a person and to nobody else.

    A key, an account or an end user belongs to the tenant of its account, a campaign to those of
    all of its members. A payment and a network may be many customers': they belong to nobody.
    """
    wanted = {*subjects}
    if not viewer.tenants:
        return wanted
    found = set[str]()
    for part in _parts(wanted):
        found |= _of_tenants(view, viewer.tenants, part)
    return found


def _of_tenants(view: View, tenants: Sequence[str], subjects: Sequence[str]) -> set[str]:
    these, those = marks(subjects), marks(tenants)
    query = f"""
        SELECT key FROM keys WHERE key IN ({these}) AND tenant IN ({those})
        UNION SELECT account FROM tenants WHERE account IN ({these}) AND tenant IN ({those})
        UNION SELECT campaign FROM members LEFT JOIN keys USING (key)
        WHERE campaign IN ({these}) AND role = 'member' GROUP BY campaign
        HAVING min(coalesce(tenant, '') IN ({those}))
    """
    return {row[0] for row in view.rows(query, [*subjects, *tenants] * 3)}


def _parts(subjects: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(subjects)
    while part := list(islice(rest, _PART)):
        yield part
