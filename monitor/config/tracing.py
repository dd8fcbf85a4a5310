"""Settings of marks in responses, and of the search for them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Tracing(BaseModel):
    """How responses are marked. `xm trace` needs the same values as the servers that mark."""

    model_config = ConfigDict(extra="forbid")

    secret_file: Path | None = Field(
        None,
        description="marking secret, written by `xm marks secret`; none: derived from the "
        "identity secret",
    )
    scheme: Literal["fixed", "context"] = Field(
        "fixed",
        description="list of favoured tokens: `fixed`, one per mark; `context`, one per mark "
        "and preceding token",
    )
    share: float = Field(0.5, gt=0, lt=1, description="share of the vocabulary that a mark favours")
    strength: float = Field(
        2.0, gt=0, le=10, description="added to the logits of favoured tokens; at most 10"
    )
    variants_file: Path | None = Field(
        None, description="groups of interchangeable wordings, TOML; default: shipped"
    )
    canaries_file: Path | None = Field(
        None, description="questions without a right answer, and their answers, TOML"
    )
    responses: bool = Field(
        True,
        description="keep [sketches of responses](tracing.md#responses-seen) to flagged keys, "
        "never the text",
    )
