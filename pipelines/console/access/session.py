"""What a request knows about the person who sent it."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.datastructures import MutableHeaders

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

    async def alive(self) -> bool:
        """Whether it has not ended since the request began, for responses that take long."""
        return True

    async def finish(self, headers: MutableHeaders) -> None:
        """Keep what changed, before the response is sent.

        Args:
            headers: of the response.
        """
