"""Settings of sharing with partners: STIX, TAXII and MISP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from monitor.config.connections import secure_url


class Sharing(BaseModel):
    """What is shared with partners, under which salt, and the servers for it."""

    model_config = ConfigDict(extra="forbid")

    salt_file: Path | None = Field(
        None, description="file that holds the salt; all partners have the same one"
    )
    name: str | None = Field(
        None, description="name of this organisation, as partners read it; exports need it"
    )
    valid_days: float = Field(
        90,
        gt=0,
        le=366,
        description="how long a shared indicator holds, at most; also the limit of imported ones",
    )
    partners: dict[str, str] = Field(
        {},
        description="table of names by STIX identity, `identity--…`: if there is one, objects "
        "of other identities are not imported",
    )
    weights: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        {},
        description="table of weights from 0 to 1, by STIX identity or feed (`file`, "
        "`taxii:HOST`): how far a source is trusted; 1 where it has none",
    )
    taxii_url: str | None = Field(
        None, description="URL of a TAXII 2.1 collection, `https://HOST/ROOT/collections/ID/`"
    )
    taxii_user: str | None = Field(None, description="login")
    taxii_password_file: Path | None = Field(None, description="file that holds its password")
    taxii_token_file: Path | None = Field(
        None, description="file that holds a bearer token, instead of a login"
    )
    taxii_ca_file: Path | None = Field(
        None, description="CA certificates, PEM; default: the system's"
    )
    taxii_cert_file: Path | None = Field(None, description="client certificate, PEM")
    taxii_key_file: Path | None = Field(None, description="its key, if not in the same file")
    misp_url: str | None = Field(None, description="URL of a MISP server")
    misp_key_file: Path | None = Field(None, description="file that holds the authentication key")
    misp_ca_file: Path | None = Field(
        None, description="CA certificates, PEM; default: the system's"
    )
    timeout_seconds: float = Field(
        30, gt=0, le=600, description="timeout of one answer; at most 600"
    )

    @field_validator("name")
    @classmethod
    def _is_a_line(cls, value: str | None) -> str | None:
        if value is not None and not (value.strip() and value.isprintable() and len(value) <= 100):
            raise ValueError("write a line of 1 to 100 printable characters")
        return value

    @field_validator("taxii_url", "misp_url")
    @classmethod
    def _is_https(cls, value: str | None) -> str | None:
        """Indicators and credentials go over TLS, or stay on this machine."""
        return secure_url(value, "settings of its own")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if bool(self.taxii_user) != bool(self.taxii_password_file):
            raise ValueError("a login needs taxii_user and taxii_password_file")
        if self.taxii_token_file and self.taxii_user:
            raise ValueError("set taxii_token_file or taxii_user, not both")
        if self.taxii_key_file and not self.taxii_cert_file:
            raise ValueError("taxii_key_file needs taxii_cert_file")
        others = (
            self.taxii_user, self.taxii_token_file, self.taxii_ca_file, self.taxii_cert_file
        )  # fmt: skip
        if not self.taxii_url and any(others):
            raise ValueError("the other settings of TAXII need taxii_url")
        if bool(self.misp_url) != bool(self.misp_key_file):
            raise ValueError("MISP needs misp_url and misp_key_file")
        return self
