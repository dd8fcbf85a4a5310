"""Settings of the stream and of what is detected on it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class Topics(BaseModel):
    """Names of the Kafka topics, and the options with which `xm topics create` creates them."""

    model_config = ConfigDict(extra="forbid")

    requests: str = "llm.requests"
    keyed: str = Field("llm.requests.keyed", description="only used by `xm worker --rekey`")
    rejected: str = "llm.requests.rejected"
    alerts: str = "extraction.alerts"
    undelivered: str = Field(
        "extraction.alerts.undelivered", description="alerts that a receiver did not accept"
    )
    fingerprints: str = "extraction.fingerprints"
    decisions: str = Field("extraction.decisions", description="what applies to each subject")
    audit: str = Field("extraction.audit", description="who changed what, and why")
    cases: str = Field("extraction.cases", description="signed entries of case files")
    partitions: int = Field(8, ge=1)
    linkers: int = Field(1, ge=1, description="partitions of fingerprints, see `linker.py`")
    replication: int = Field(1, ge=1)
    requests_retention_hours: float = Field(24, gt=0)
    alerts_retention_hours: float = Field(30 * 24, gt=0)
    audit_retention_hours: float = Field(10 * 365 * 24, gt=0)
    cases_retention_hours: float = Field(10 * 365 * 24, gt=0)


class Detection(BaseModel):
    """Alert thresholds: probabilities per ordinary key and day.

    For one false alert per day among 3,300 ordinary keys, the days of the shipped reference give
    8.8e-4, 3.2e-7 and 1.1e-10 (`tests/benchmarks/quality/shipped.py`). The second follows from one
    key-day of 16,649, so the defaults are looser: `deploy/docs/calibration.md`.
    """

    model_config = ConfigDict(extra="forbid")

    info: float = Field(1e-3, gt=0, lt=1)
    warning: float = Field(1e-4, gt=0, lt=1)
    critical: float = Field(1e-7, gt=0, lt=1)
    quiet_minutes: float = Field(
        60, gt=0, description="without new evidence before an alert resolves"
    )


class Campaigns(BaseModel):
    """How keys are linked into campaigns."""

    model_config = ConfigDict(extra="forbid")

    least_members: int = Field(5, ge=3, description="smallest campaign")
    keys: int = Field(1_000_000, ge=1_000, description="keys in memory, up to 1.8 KB each")
    weights: Path | None = Field(None, description="of the criteria; default: shipped")
