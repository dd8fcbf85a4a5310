"""Settings of `xm forward`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class Forward(BaseModel):
    """Where `xm forward` keeps messages until Kafka has them, and where it listens."""

    model_config = ConfigDict(extra="forbid")

    spool: Path = Field(Path("xm-spool"), description="folder on a local disk")
    spool_megabytes: int = Field(1024, ge=1)
    host: str = "127.0.0.1"
    port: int = Field(4318, ge=1, le=65535)
