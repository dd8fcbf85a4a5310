"""Settings of what follows from an alert: decisions, gateways, receivers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class Decisions(BaseModel):
    """Durations of decisions. Shadow mode records decisions and enforces none."""

    model_config = ConfigDict(extra="forbid")

    shadow: bool = True
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


class Receivers(BaseModel):
    """Receivers of alerts besides the topic. A receiver without a URL is off."""

    model_config = ConfigDict(extra="forbid")

    alertmanager_url: str | None = None
    webhook_url: str | None = None
    webhook_secret: SecretStr | None = None
    webhook_secret_file: Path | None = None
    timeout_seconds: float = Field(10, gt=0)
    least_severity: Literal["info", "warning", "critical"] = "warning"
