"""Labels of recorded traffic: what each API key really is.

A labels file is JSON, `{api_key: {"class": "cot", "campaign": "cot-1" or null}}`. Two fields are
optional: `side`, "attack" or "benign", and `list`, the source of the prompts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from monitor.errors import InputError


class Label(msgspec.Struct, frozen=True):
    """What a key really is.

    Attributes:
        kind: the class of its user; `class` in JSON.
        campaign: the campaign it is a member of. Without a side, only attackers have one.
        side: whether it is an attacker.
        source: where its prompts come from; `list` in JSON.
    """

    kind: str = msgspec.field(name="class")
    campaign: str | None = None
    side: Literal["attack", "benign"] | None = None
    source: str | None = msgspec.field(name="list", default=None)

    @property
    def attack(self) -> bool:
        """Whether it is an attacker."""
        return self.campaign is not None if self.side is None else self.side == "attack"


def load_labels(path: Path) -> dict[str, Label]:
    """Load a labels file.

    Returns:
        the label of each API key.

    Raises:
        InputError: the file cannot be read or is not a labels file.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Label])
    except OSError as error:
        raise InputError(
            f"Cannot read {path}: {error.strerror}. Name the labels file with --labels."
        ) from error
    except msgspec.MsgspecError as error:
        raise InputError(
            f"{path} is not a labels file: {error}. Name a JSON file like "
            '{"KEY": {"class": "…", "campaign": "…" or null}} with --labels.'
        ) from error
