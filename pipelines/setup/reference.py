"""The tables of settings in the documentation, written from the settings themselves.

A page says where a table goes, and of which sections or settings it is:

    <!-- settings: topics, campaigns.keys -->
    <!-- end -->

`general` is what belongs to no section.
"""

from __future__ import annotations

import re

from monitor.config.catalogue import ROUTE, Setting, settings
from monitor.errors import InputError

GENERAL = "general"
_TABLE = re.compile(r"(<!-- settings: ([\w., ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ROUTES = f"receivers.routes.{ROUTE}"


def write(page: str) -> str:
    """A page with its tables brought up to date.

    Raises:
        InputError: if a table is of settings that do not exist.
    """
    return _TABLE.sub(lambda found: found[1] + _table(found[2]) + found[3], page)


def listed(page: str) -> list[str]:
    """The settings that the tables of a page are of."""
    return [each.name for found in _TABLE.finditer(page) for each in _chosen(found[2])]


def _table(wanted: str) -> str:
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    rows += [_row(each) for each in _chosen(wanted)]
    return "\n".join(rows) + "\n"


def _row(setting: Setting) -> str:
    of_a_route = setting.name.startswith(_ROUTES)
    name = setting.path[-1] if of_a_route else setting.variable
    plain = setting.field.is_required() or setting.field.default in (None, {}, [], "")
    default = setting.default if plain else f"`{setting.default}`"
    meaning = setting.meaning
    if setting.deprecated:
        meaning += f"; deprecated: {setting.deprecated}"
    return f"| `{name}` | {default} | {meaning} |"


def _chosen(wanted: str) -> list[Setting]:
    found = []
    for part in (part.strip() for part in wanted.split(",")):
        chosen = [each for each in settings() if _is_in(each, part)]
        if not chosen:
            raise InputError(
                f"There are no settings {part}: correct `<!-- settings: {wanted} -->`."
            )
        found += chosen
    return found


def _is_in(setting: Setting, part: str) -> bool:
    """Whether a setting is the named one, or directly in the named section."""
    section = ".".join(setting.path[:-1]) or GENERAL
    return part in (setting.name, section)
