"""Settings of what follows from an alert: decisions and gateways."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class Decisions(BaseModel):
    """How strong decisions are, and how long they last."""

    model_config = ConfigDict(extra="forbid")

    shadow: bool = Field(True, description="record decisions and enforce none")
    ladder_minutes: float = Field(
        30, gt=0, description="until the decision on an alert that stays open gets stronger"
    )
    throttle_rate: float = Field(
        10.0, gt=0, description="requests per minute of a throttled key that has no past"
    )
    cap_keys: int = Field(
        500, ge=1, description="newly challenged or blocked in an hour without a person"
    )
    cap_share: float = Field(
        0.2, gt=0, le=1, description="of all requests, by the usual hours of these keys"
    )
    mark_minutes: float = Field(60, gt=0)
    throttle_minutes: float = Field(30, gt=0)
    challenge_minutes: float = Field(60, gt=0)
    block_minutes: float = Field(240, gt=0)


class Gateway(BaseModel):
    """Where gateways and clients put the API key; comma-separated names, without case."""

    model_config = ConfigDict(extra="forbid")

    key_headers: str = (
        "Authorization,X-API-Key,api-key,apikey,x-goog-api-key,x-litellm-api-key,"
        "Ocp-Apim-Subscription-Key"
    )
    key_parameters: str = Field(
        "api_key,apikey,key,subscription-key,access_token", description="of the URL's query"
    )
    fail: Literal["open", "closed"] = Field(
        "open", description="whether requests pass while decisions are not known"
    )
    stale_seconds: float = Field(
        10, ge=3, description="without news, after which decisions count as not known"
    )
    url: str = Field("http://127.0.0.1:6067", description="of `xm serve`, for gateways in Python")
    token: SecretStr | None = Field(None, description="for look-ups")
    token_file: Path | None = None
    ca_file: Path | None = Field(None, description="CA certificates, PEM; default: the system's")
    cert_file: Path | None = Field(None, description="client certificate, PEM")
    cert_key_file: Path | None = Field(None, description="its key, if not in the same file")
    timeout_seconds: float = Field(0.25, gt=0, le=10, description="that a request may wait")
    processes: int = Field(1, ge=1, description="of the gateway, which share a throttled rate")

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("write it as http://host:port or https://host:port")
        return value
