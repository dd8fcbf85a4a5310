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

    key_file: Path | None = Field(None, description="Ed25519 key that signs entries, PKCS8 PEM")
    public_keys_file: Path | None = Field(
        None, description="public keys, JSON; default: beside the private key, `.public.json`"
    )
    open: From = Field("critical", description="severity from which a campaign gets a case")
    open_keys: From = Field("never", description="the same for a key, an account or an end user")
    most_open: int = Field(1_000, ge=1, description="open cases; then the monitor opens no more")
    most_entries: int = Field(1_000, ge=10, description="entries that the monitor writes to a case")
    memory_mb: int = Field(512, ge=1, description="of all cases in Redis; then it writes no more")
    kept_days: float = Field(365, gt=0, description="until a closed case is in the topic only")
    timestamp_url: str | None = Field(
        None, pattern="^https?://", description="RFC 3161 authority that stamps exported bundles"
    )
    timestamp_ca_file: Path | None = Field(None, description="its root certificates, PEM")

    appeal_days: float = Field(30, gt=0, description="in which a customer may appeal")
    answer_days: float = Field(14, gt=0, description="in which an appeal is to be answered")
    appeal_contact: str | None = Field(None, description="where appeals go: a page or a mailbox")
    letter_template: Path | None = Field(
        None, description="Jinja2 template of letters, .txt, .md or .html; default: shipped"
    )

    @property
    def public_keys(self) -> Path | None:
        """The file of public keys."""
        if self.public_keys_file is None and self.key_file is not None and self.key_file.name:
            return self.key_file.with_suffix(".public.json")
        return self.public_keys_file
