"""Settings of what follows from an alert: decisions and gateways."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Decisions(BaseModel):
    """Durations of decisions. Shadow mode records decisions and enforces none."""

    model_config = ConfigDict(extra="forbid")

    shadow: bool = True
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
