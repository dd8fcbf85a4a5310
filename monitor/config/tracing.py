"""Settings of marks in responses, and of the search for them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Tracing(BaseModel):
    """How responses are marked. `xm trace` needs the same values as the servers that mark."""

    model_config = ConfigDict(extra="forbid")

    secret_file: Path | None = Field(
        None, description="written by `xm marks secret`; default: from the identity secret"
    )
    scheme: Literal["fixed", "context"] = Field(
        "fixed", description="one list of favoured tokens per mark, or one per preceding token"
    )
    share: float = Field(0.5, gt=0, lt=1, description="of the vocabulary that a mark favours")
    strength: float = Field(2.0, gt=0, le=10, description="added to the logits of favoured tokens")
    variants_file: Path | None = Field(
        None, description="groups of interchangeable wordings, TOML; default: shipped"
    )
    canaries_file: Path | None = Field(None, description="questions and answers, TOML")
    responses: bool = Field(
        True, description="keep sketches of responses to flagged keys, to recognise them later"
    )
