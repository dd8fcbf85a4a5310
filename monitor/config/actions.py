"""Settings of what follows from an alert: decisions and gateways."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


class Decisions(BaseModel):
    """How strong decisions are, and how long they last."""

    model_config = ConfigDict(extra="forbid")

    shadow: bool = Field(True, description="record decisions without enforcing them")
    ladder_minutes: float = Field(
        30,
        gt=0,
        description="until the decision on an alert that stays open gets stronger "
        "([ladder](detection.md#decisions))",
    )
    throttle_rate: float = Field(
        10.0, gt=0, description="requests per minute of a throttled key without a past of its own"
    )
    cap_keys: int = Field(
        500,
        ge=1,
        description="keys, accounts and end users that may be newly challenged or blocked in "
        "an hour without a person ([caps](respond.md#caps))",
    )
    cap_share: float = Field(
        0.2,
        gt=0,
        le=1,
        description="share of all requests that may be, by the usual hours of these keys",
    )
    mark_minutes: float = Field(60, gt=0, description="duration of `mark`")
    throttle_minutes: float = Field(30, gt=0, description="duration of `throttle`")
    challenge_minutes: float = Field(60, gt=0, description="duration of `challenge`")
    block_minutes: float = Field(240, gt=0, description="duration of `block`")


class Gateway(BaseModel):
    """Where gateways and clients put the API key; comma-separated names, without case."""

    model_config = ConfigDict(extra="forbid")

    key_headers: str = Field(
        "Authorization,X-API-Key,api-key,apikey,x-goog-api-key,x-litellm-api-key,"
        "Ocp-Apim-Subscription-Key",
        description="headers that may hold the API key of a request; [how they are "
        "read](gateways.md#which-key)",
    )
    key_parameters: str = Field(
        "api_key,apikey,key,subscription-key,access_token",
        description="the same, parameters of the URL",
    )
    fail: Literal["open", "closed"] = Field(
        "open",
        description="`open`: keys without a known decision pass while Redis is away; `closed`:"
        " they get 503; [failure](gateways.md#failure)",
    )
    stale_seconds: float = Field(
        10,
        ge=3,
        description="seconds without an answer of Redis, after which it counts as away; at least 3",
    )
    url: str = Field("http://127.0.0.1:6067", description="URL of the decision service")
    token: SecretStr | None = Field(None, description="token for look-ups")
    token_file: Path | None = Field(None, description="file that holds it")
    ca_file: Path | None = Field(None, description="CA certificates, PEM; default: the system's")
    cert_file: Path | None = Field(None, description="client certificate, PEM")
    cert_key_file: Path | None = Field(None, description="its key, if not in the same file")
    timeout_seconds: float = Field(
        0.25, gt=0, le=10, description="that the first request of a key may wait for the monitor"
    )
    processes: int = Field(
        1, ge=1, description="processes of the gateway, which share the rate of a throttled key"
    )

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("write it as http://host:port or https://host:port")
        return value
