"""What a request knows about the person who sent it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.console.access.viewer import Viewer


@dataclass(slots=True)
class Session:
    """A session of a signed-on person.

    Attributes:
        csrf: the token that forms of this session carry.
        notices: what the next page says about the last change.
    """

    viewer: Viewer
    csrf: str
    notices: list[str] = field(default_factory=list)
