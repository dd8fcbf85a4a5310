"""Settings of the stream and of what is detected on it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class Topics(BaseModel):
    """Names of the Kafka topics, and the options with which `xm topics create` creates them."""

    model_config = ConfigDict(extra="forbid")

    requests: str = Field("llm.requests", description="topic of requests")
    keyed: str = Field(
        "llm.requests.keyed",
        description="topic of requests keyed by account, only used by `xm worker --rekey`",
    )
    rejected: str = Field("llm.requests.rejected", description="topic of rejected requests")
    alerts: str = Field("extraction.alerts", description="topic of alerts")
    undelivered: str = Field(
        "extraction.alerts.undelivered",
        description="topic of alerts that a receiver did not accept",
    )
    fingerprints: str = Field("extraction.fingerprints", description="topic of key fingerprints")
    decisions: str = Field(
        "extraction.decisions", description="topic of what applies to each subject"
    )
    audit: str = Field("extraction.audit", description="topic of who changed what, and why")
    cases: str = Field(
        "extraction.cases", description="topic of the signed entries of [cases](cases.md)"
    )
    partitions: int = Field(8, ge=1, description="partitions that `xm topics create` creates")
    linkers: int = Field(
        1, ge=1, description="partitions of fingerprints; campaigns are found within each"
    )
    replication: int = Field(1, ge=1, description="replication factor for `xm topics create`")
    requests_retention_hours: float = Field(
        24,
        gt=0,
        description="retention of requests, rejected requests and fingerprints, for `xm topics"
        " create`",
    )
    alerts_retention_hours: float = Field(
        30 * 24, gt=0, description="retention of alerts, delivered or not, for `xm topics create`"
    )
    audit_retention_hours: float = Field(
        10 * 365 * 24, gt=0, description="retention of the audit, for `xm topics create`"
    )
    cases_retention_hours: float = Field(
        10 * 365 * 24, gt=0, description="retention of cases, for `xm topics create`"
    )


class Detection(BaseModel):
    """Alert thresholds: probabilities per ordinary key and day.

    For one false alert per day among 3,300 ordinary keys, the days of the shipped reference give
    8.8e-4, 3.2e-7 and 1.1e-10 (`tests/benchmarks/quality/shipped.py`). The second follows from one
    key-day of 16,649, so the defaults are looser: `deploy/docs/calibration.md`.
    """

    model_config = ConfigDict(extra="forbid")

    info: float = Field(
        1e-3,
        gt=0,
        lt=1,
        description="an `info` alert opens at or below this probability per ordinary key and day",
    )
    warning: float = Field(1e-4, gt=0, lt=1, description="the same for `warning`")
    critical: float = Field(1e-7, gt=0, lt=1, description="the same for `critical`")
    quiet_minutes: float = Field(
        60, gt=0, description="minutes without new evidence after which an alert resolves"
    )


class Campaigns(BaseModel):
    """How keys are linked into campaigns."""

    model_config = ConfigDict(extra="forbid")

    least_members: int = Field(5, ge=3, description="smallest campaign, in keys; at least 3")
    keys: int = Field(
        1_000_000,
        ge=1_000,
        description="keys compared by the linker, up to 1.8 KB each; the longest silent key is"
        " dropped first",
    )
    weights: Path | None = Field(
        None,
        description="JSON file with the weights of the [campaign "
        "criteria](campaigns.md#what-makes-a-group-a-campaign); default: shipped",
    )
