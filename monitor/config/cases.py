"""Settings of case files: the key that signs them, and when the monitor opens one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

From = Literal["never", "info", "warning", "critical"]


class Cases(BaseModel):
    """When the monitor opens a case by itself, and how large cases may get.

    The limits apply to what the monitor writes. A person can always add to a case.
    """

    model_config = ConfigDict(extra="forbid")

    key_file: Path | None = Field(
        None,
        description="Ed25519 key that signs the entries of [cases](cases.md), PKCS8 PEM; "
        "without it there are no cases",
    )
    public_keys_file: Path | None = Field(
        None,
        description="file of all public keys, see `GET /v1/evidence-keys`; none: beside the "
        "private key, with the ending `.public.json`",
    )
    open: From = Field(
        "critical",
        description="severity from which a campaign gets a case by itself: `info`, `warning`, "
        "`critical` or `never`",
    )
    open_keys: From = Field("never", description="the same for a key, an account or an end user")
    most_open: int = Field(
        1_000, ge=1, description="open cases; then the monitor opens no more by itself"
    )
    most_entries: int = Field(
        1_000, ge=10, description="entries that the monitor writes to one case; at least 10"
    )
    memory_mb: int = Field(
        512,
        ge=1,
        description="memory of all cases in Redis, megabytes; then the monitor writes no more",
    )
    kept_days: float = Field(
        365, gt=0, description="days after which Redis drops a closed case; the topic keeps it"
    )
    timestamp_url: str | None = Field(
        None,
        pattern="^https?://",
        description="URL of a time stamp authority (RFC 3161) for exported bundles; only a "
        "digest is sent",
    )
    timestamp_ca_file: Path | None = Field(
        None,
        description="its root certificates, PEM; with them each time stamp is verified when it"
        " is made",
    )

    appeal_days: float = Field(
        30,
        gt=0,
        description="days in which a customer may [appeal](appeals.md); letters say until when",
    )
    answer_days: float = Field(
        14, gt=0, description="days in which an appeal is to be answered; then it is overdue"
    )
    appeal_contact: str | None = Field(
        None, description="where appeals go, for letters: a page or a mailbox"
    )
    letter_template: Path | None = Field(
        None,
        description="[template](appeals.md#your-own-words) of letters in place of the shipped "
        "one, `.txt`, `.md` or `.html`",
    )

    @property
    def public_keys(self) -> Path | None:
        """The file of public keys."""
        if self.public_keys_file is None and self.key_file is not None and self.key_file.name:
            return self.key_file.with_suffix(".public.json")
        return self.public_keys_file
