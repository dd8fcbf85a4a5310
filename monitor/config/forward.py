"""Settings of `xm forward`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class Forward(BaseModel):
    """Where `xm forward` keeps messages until Kafka has them, and where it listens."""

    model_config = ConfigDict(extra="forbid")

    spool: Path = Field(
        Path("xm-spool"),
        description="folder on a local disk that keeps messages until Kafka has them",
    )
    spool_megabytes: int = Field(1024, ge=1, description="size of the spool")
    poll_seconds: float = Field(30, gt=0, description="time between two looks for new objects")
    host: str = Field(
        "127.0.0.1",
        description="address that serves metrics and health and, with `--receive`, takes requests",
    )
    port: int = Field(4318, ge=1, le=65535, description="its port")
    tls_cert_file: Path | None = Field(None, description="certificate chain, PEM; none: plain HTTP")
    tls_key_file: Path | None = Field(None, description="its key, if it is in a file of its own")
    tls_client_ca_file: Path | None = Field(
        None,
        description="CA of clients, PEM; with it, only clients with its certificates may "
        "connect (mTLS)",
    )
    tokens_file: Path | None = Field(
        None, description="file of [tokens](gateways.md#tokens) that permit to send"
    )
