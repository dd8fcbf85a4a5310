"""Settings of the decision service."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Serve(BaseModel):
    """The decision service (`xm serve`): where it listens, and who may ask."""

    model_config = ConfigDict(extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(6067, ge=1, le=65535)
    grpc_port: int | None = Field(None, ge=1, le=65535, description="of Envoy's ext_authz")
    tls_cert_file: Path | None = Field(None, description="certificate chain, PEM; default: no TLS")
    tls_key_file: Path | None = Field(None, description="its key, if not in the same file")
    tls_client_ca_file: Path | None = Field(
        None, description="only clients with a certificate of this CA may connect"
    )
    tokens_file: Path | None = Field(None, description="hashes of tokens that `xm token` made")
    lookups: Literal["open", "token"] = Field("open", description="whether look-ups need a token")
    lookups_per_second: float = Field(50_000, ge=1, description="of one client address")
    changes_per_minute: float = Field(60, ge=1, description="with one token")
