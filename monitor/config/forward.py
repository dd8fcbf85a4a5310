"""Settings of `xm forward`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class Forward(BaseModel):
    """Where `xm forward` keeps messages until Kafka has them, and where it listens."""

    model_config = ConfigDict(extra="forbid")

    spool: Path = Field(Path("xm-spool"), description="folder on a local disk")
    spool_megabytes: int = Field(1024, ge=1)
    poll_seconds: float = Field(30, gt=0, description="between two looks for new objects")
    host: str = "127.0.0.1"
    port: int = Field(4318, ge=1, le=65535)
    tls_cert_file: Path | None = Field(None, description="certificate chain, PEM; default: no TLS")
    tls_key_file: Path | None = Field(None, description="its key, if not in the same file")
    tls_client_ca_file: Path | None = Field(
        None, description="only clients with a certificate of this CA may connect"
    )
    tokens_file: Path | None = Field(None, description="hashes of tokens that `xm token` made")
