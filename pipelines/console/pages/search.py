"""Search: from a pseudonym, the id of something or a raw name to its page.

A search is sent as the body of a form, as it may be an API key. A raw name is hashed at once; it is
in no address, log, notice or answer, and nothing keeps it.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from monitor.errors import ConfigError, InputError
from monitor.identity import is_pseudonym
from pipelines.console.access.tenants import theirs
from pipelines.console.access.viewer import Viewer
from pipelines.console.forms import fields, page_number
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
from pipelines.console.traits import read_trait
from pipelines.console.view.keys import (
    INDEXED,
    MOST_COUNTED,
    KeyPage,
    count_with,
    find_key,
    keys_of_account,
    keys_with,
)
from pipelines.console.view.search import LEAST, find, find_template, find_trait
from pipelines.console.words import path
from pipelines.inspect.subjects.names import RawType, pseudonym_of
from pipelines.inspect.subjects.stored import find_record

page = Pages()

KINDS = ("any", "key", "account", "payment", "network")
_RAW: dict[str, tuple[RawType, ...]] = {
    "any": ("key", "account", "payment", "network"),
    "key": ("key",),
    "account": ("account",),
    "payment": ("payment",),
    "network": ("network",),
}
_PAGE = 50  # keys
_ID = "[a-z]{1,5}_?[0-9a-f]+|[0-9a-f]+"  # of which the beginning is enough

Kind = Literal["api_key", "account", "end_user", "campaign", "alert", "case", "trait", "template"]


_SUBJECTS: dict[str, Kind] = {"k": "api_key", "a": "account", "u": "end_user"}


class Found(NamedTuple):
    """Something that was searched, and the path of its page."""

    kind: Kind
    name: str
    path: str


class Result(NamedTuple):
    """What was found.

    Attributes:
        no_secret: whether raw names could not be hashed.
    """

    found: list[Found]
    no_secret: bool = False


@page("/search", right="read")
async def search(request: Request) -> Response:
    """The form. An address holds no search."""
    return render(request, "search.html", kinds=KINDS, result=None)


@page("/search", right="read", methods=("POST",))
async def search_for(request: Request) -> Response:
    """Go to what was searched, or list what it may be."""
    form = await fields(request)
    kind = form.text("kind") or "any"
    if kind not in KINDS:
        raise Refused(422, console(request).words("search.nothing"))
    result = await blocking(look_up, console(request), viewer(request), form.text("query"), kind)
    if len(result.found) == 1:
        return see_other(result.found[0].path)
    return render(request, "search.html", kinds=KINDS, result=result)


@page("/traits/{name}", right="read")
async def trait(request: Request) -> Response:
    """The keys whose latest requests have an identifier."""
    name, number = request.path_params["name"], page_number(request.query_params)
    found = await blocking(keys_of_trait, console(request), viewer(request), name, number)
    if found is None:
        raise Refused(404, console(request).words("trait.none"))
    kind, keys = found
    return render(
        request,
        "trait.html",
        name=name,
        kind=kind,
        keys=keys,
        number=number,
        size=_PAGE,
        most=MOST_COUNTED,
    )


def look_up(works: Console, person: Viewer, text: str, kind: str = "any") -> Result:
    """What a text names, as far as the person may see it."""
    found = _by_id(works, person, text) if kind == "any" else []
    if not text or any(each.name == text for each in found):
        return Result(found)
    if is_pseudonym(text):
        known = not found and _is_known(works, person, text)
        return Result([Found(_SUBJECTS[text[0]], text, path(text))] if known else found)
    no_secret = False
    for each in _RAW[kind]:
        try:
            pseudonym = pseudonym_of(each, text, works.store, works.settings)
        except ConfigError:
            no_secret = True
        except InputError:  # it cannot be the name of one
            continue
        else:
            found += _by_pseudonym(works, person, each, pseudonym)
    return Result(found, no_secret)


def keys_of_trait(
    works: Console, person: Viewer, name: str, number: int = 1
) -> tuple[str, KeyPage] | None:
    """The kind of an identifier, and a page of the keys that have it.

    Args:
        name: a letter and the whole hash, or the short name that campaigns show; a hash as
            partners know it for a prompt template.
        number: of the page, from 1.
    """
    offset = (number - 1) * _PAGE
    known = read_trait(name)
    if known is not None and known.kind in INDEXED:
        return known.kind, keys_with(
            works.view, known.kind, known.hash, person.tenants, limit=_PAGE, offset=offset
        )
    short = find_trait(works.view, name, person.tenants, limit=_PAGE, offset=offset)
    if short is not None:
        return short.kind, short.keys
    rows = find_template(works.view, name, person.tenants)
    if rows:
        return "template", KeyPage(rows[offset : offset + _PAGE], len(rows))
    return None


def _by_id(works: Console, person: Viewer, text: str) -> list[Found]:
    """What has this id, or one that begins with it."""
    name = text.lower()
    if len(name) < LEAST or re.fullmatch(_ID, name) is None:
        return []
    found = [
        Found(
            hit.type,
            hit.id,
            f"/alerts/{hit.id}" if hit.type == "alert" else path(hit.id),
        )
        for hit in find(works.view, name, person.tenants)
    ]
    exact = [each for each in found if each.name == name]
    if exact:
        return exact
    return found + _cases(works, person, name) + _traits(works, person, name)


def _cases(works: Console, person: Viewer, text: str) -> list[Found]:
    rows = [
        row
        for row in works.cases.store.rows()
        if row.id.startswith(text) or row.id.removeprefix("case_").startswith(text)
    ]
    seen = theirs(works.view, person, (row.subject for row in rows))
    return [Found("case", row.id, f"/cases/{row.id}") for row in rows if row.subject in seen]


def _traits(works: Console, person: Viewer, text: str) -> list[Found]:
    """The identifier or the template with this hash, if a key has it."""
    names = [f"{letter}_{text}" for letter in "sptnum"] if len(text) in (8, 16) else []
    for name in (text, *names):
        found = keys_of_trait(works, person, name)
        if found is not None and found[1].total:
            kind: Kind = "template" if found[0] == "template" else "trait"
            return [Found(kind, name, f"/traits/{name}")]
    return []


def _by_pseudonym(works: Console, person: Viewer, kind: RawType, pseudonym: str) -> list[Found]:
    """What a raw name stands for, if it is known."""
    tie = read_trait(pseudonym)
    if tie is not None:
        keys = count_with(works.view, tie.kind, tie.hash, person.tenants, most=1)
        return [Found("trait", pseudonym, tie.path)] if keys else []
    type: Kind = "account" if kind == "account" else "api_key"
    found = [Found(type, pseudonym, path(pseudonym))]
    return found if _is_known(works, person, pseudonym) else []


def _is_known(works: Console, person: Viewer, subject: str) -> bool:
    """Whether there is a key, an account or an end user that the person may see."""
    view, tenants = works.view, person.tenants
    if find_key(view, subject, tenants) is not None:
        return True
    if keys_of_account(view, subject, tenants, limit=1).rows:
        return True
    if tenants:
        return False
    return find_record(works.store, subject, works.ordinary().partitions) is not None
