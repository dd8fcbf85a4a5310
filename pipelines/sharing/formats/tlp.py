"""TLP 2.0: how far a partner may pass on what it gets (FIRST, August 2022).

STIX 2.1 itself defines TLP 1.0 only. The markings here are those of the OASIS common objects, whose
ids are fixed; readers accept both versions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

TLP = Literal["clear", "green", "amber", "amber+strict", "red"]
LEVELS: tuple[TLP, ...] = ("clear", "green", "amber", "amber+strict", "red")  # widest first
UNMARKED: TLP = "amber"  # what has no marking: within the organisation that receives it

EXTENSION = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"
MARKINGS: dict[TLP, str] = {
    "clear": "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487",
    "green": "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb",
    "amber": "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421",
    "amber+strict": "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003",
    "red": "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1",
}
_FIRST_VERSION: dict[str, TLP] = {
    "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9": "clear",  # white
    "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da": "green",
    "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82": "amber",
    "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed": "red",
}
_BY_MARKING = _FIRST_VERSION | {marking: level for level, marking in MARKINGS.items()}


def strictest(levels: Iterable[TLP]) -> TLP:
    """The strictest level; `UNMARKED` of none.

    >>> strictest(["green", "red", "clear"])
    'red'
    """
    return max(levels, key=LEVELS.index, default=UNMARKED)


def of_markings(markings: Iterable[str]) -> TLP:
    """The level of a STIX object, by the ids of all its markings."""
    return strictest(_BY_MARKING[each] for each in markings if each in _BY_MARKING)


def of_tags(tags: Iterable[str]) -> TLP:
    """The level of a MISP event or attribute, by the names of all its tags.

    >>> of_tags(["tlp:white", "misc"]), of_tags([])
    ('clear', 'amber')
    """
    names = (each.lower().removeprefix("tlp:") for each in tags if each.lower()[:4] == "tlp:")
    known = ["clear" if name == "white" else name for name in names]
    return strictest(level for level in LEVELS if level in known)


def may_pass_on(received: TLP, under: TLP) -> bool:
    """Whether what came under a level may go to other organisations under another.

    Only `clear` and `green` leave the organisation that received them, and `green` stays within
    the community.
    """
    return received in ("clear", "green") and LEVELS.index(under) >= LEVELS.index(received)


def may_report(received: TLP, same_way: bool) -> bool:
    """Whether a sighting of what came under a level may be sent.

    Args:
        same_way: back the way that it came.
    """
    return received != "red" and (same_way or received in ("clear", "green"))
