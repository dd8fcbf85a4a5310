"""What partners have sent, read from STIX or MISP, before anything is decided about it.

The input is not trusted. Each object is checked for itself: one that cannot be used becomes a
problem in a sentence, and the others are read all the same. Free text is never kept, except names,
which are cut to printable characters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from monitor.errors import InputError
from monitor.sharing.indicator import KINDS, Kind
from pipelines.sharing.formats.tlp import TLP

MOST_BYTES, MOST_OBJECTS = 50_000_000, 100_000  # of one file or page
MOST_PROBLEMS = 20  # that are kept as sentences
DEFAULT_CONFIDENCE = 50  # STIX allows to leave it out
_LONGEST_NAME = 80
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Received(msgspec.Struct, frozen=True):
    """An indicator as it came. Times are epoch seconds.

    Attributes:
        by: STIX identity that claims to have created it.
        campaign: id of the partner's campaign; empty if it names none.
    """

    id: str
    by: str
    modified: float
    kind: Kind
    value: str
    salt: str
    confidence: int
    tlp: TLP
    valid_from: float
    valid_until: float
    campaign: str = ""
    revoked: bool = False


class Sighted(msgspec.Struct, frozen=True):
    """A partner has seen an indicator."""

    id: str
    by: str
    indicator: str
    count: int
    last_seen: float


class Reading(msgspec.Struct):
    """What was read.

    Attributes:
        names: of identities.
        others: objects of no interest here, by type.
        problems: the first objects that could not be used, and why.
        invalid: how many these were.
    """

    indicators: list[Received] = []
    sightings: list[Sighted] = []
    names: dict[str, str] = {}
    others: Counter[str] = msgspec.field(default_factory=Counter)
    problems: list[str] = []
    invalid: int = 0

    def reject(self, object: Any, why: str) -> None:
        """Note an object that cannot be used."""
        self.invalid += 1
        if len(self.problems) < MOST_PROBLEMS:
            id = object.get("id") or object.get("uuid") if isinstance(object, dict) else None
            name = name_of(id if isinstance(id, str) else "an object without id")
            self.problems.append(f"{name}: {why}")


def decode(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object of a file or an answer.

    Args:
        what: its name, for errors.

    Raises:
        InputError: if it is too large or no JSON object.
    """
    if len(data) > MOST_BYTES:
        raise InputError(
            f"{what} has {len(data):,} bytes; at most {MOST_BYTES:,} are read. Ask the partner "
            "for several smaller bundles."
        )
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"{what} is not JSON ({error}): export it again.") from error
    if not isinstance(found, dict):
        raise InputError(f"{what} is not a STIX bundle or a MISP event: it is no JSON object.")
    return found


def objects_in(container: Any, what: str) -> list[Any]:
    """A list of objects, unless there are too many.

    Raises:
        InputError: if it is no list, or too long.
    """
    if not isinstance(container, list):
        raise InputError(f"{what} has no list of objects: export it again.")
    if len(container) > MOST_OBJECTS:
        raise InputError(
            f"{what} has {len(container):,} objects; at most {MOST_OBJECTS:,} are read. Ask the "
            "partner for several smaller bundles."
        )
    return container


def checked_hash(kind: object, value: object, salt: object) -> tuple[Kind, str, str]:
    """The three parts of a shared hash.

    Raises:
        ValueError: if one has another form.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"its kind is none of {', '.join(KINDS)}")
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{32}", value):
        raise ValueError("its value is not a hash of 32 hexadecimal digits")
    if not isinstance(salt, str) or not re.fullmatch("[0-9a-f]{8}", salt):
        raise ValueError("it does not name its salt by 8 hexadecimal digits")
    return next(each for each in KINDS if each == kind), value, salt


def checked_confidence(value: object) -> int:
    """A confidence in percent.

    Raises:
        ValueError: if it is none.
    """
    found = int(str(value))
    if not 0 <= found <= 100:
        raise ValueError(f"its confidence is {found}, not 0 to 100")
    return found


def checked_id(id: object, *types: str) -> str:
    """A STIX id of one of some types.

    Raises:
        ValueError: if it has another form.
    """
    if not isinstance(id, str) or not re.fullmatch(f"(?:{'|'.join(types)})--{_UUID}", id):
        raise ValueError(f"it has no id of the form {types[0]}--UUID")
    return id


def name_of(text: str) -> str:
    """A name that may be shown: one line of printable characters.

    >>> name_of("Ex\\x1b[2Jample")
    'Ex[2Jample'
    """
    return "".join(each for each in text if each.isprintable())[:_LONGEST_NAME]


def newest(indicators: Sequence[Received]) -> list[Received]:
    """The last version of each indicator of each creator."""
    found: dict[tuple[str, str], Received] = {}
    for each in indicators:
        known = found.get((each.by, each.id))
        if known is None or (each.modified, each.revoked) > (known.modified, known.revoked):
            found[each.by, each.id] = each
    return list(found.values())
