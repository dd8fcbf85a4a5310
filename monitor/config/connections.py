"""Settings of connections to other servers, and secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from monitor.errors import ConfigError


class KafkaSecurity(BaseModel):
    """TLS and login of all Kafka clients."""

    model_config = ConfigDict(extra="forbid")

    protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    ca_file: Path | None = Field(None, description="CA certificates, PEM; default: the system's")
    cert_file: Path | None = Field(None, description="client certificate, PEM")
    key_file: Path | None = Field(None, description="its key, if not in the same file")
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    user: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None

    @property
    def tls(self) -> bool:
        """Whether connections use TLS."""
        return self.protocol.endswith("ssl")

    @property
    def sasl(self) -> bool:
        """Whether connections log in."""
        return self.protocol.startswith("sasl")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        """Reject what the protocol would ignore, for example a password without a login."""
        password = self.password or self.password_file
        if self.sasl and not (self.user and password):
            raise ValueError(f"{self.protocol} needs user, and password or password_file")
        if not self.sasl and (self.user or password):
            raise ValueError(f"{self.protocol} does not log in: use sasl_ssl or drop the login")
        if not self.tls and (self.ca_file or self.cert_file or self.key_file):
            raise ValueError(f"{self.protocol} does not use TLS: use ssl or sasl_ssl")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file")
        return self


class Registry(BaseModel):
    """Where the schemas of Avro and Protobuf messages are: a schema registry, or one file."""

    model_config = ConfigDict(extra="forbid")

    url: str | None = Field(None, description="of a Confluent-compatible schema registry")
    user: str | None = Field(None, description="of HTTP basic authentication")
    password: SecretStr | None = None
    password_file: Path | None = None
    ca_file: Path | None = Field(None, description="CA certificates, PEM; default: the system's")
    timeout_seconds: float = Field(5, gt=0, le=60)
    file: Path | None = Field(
        None, description="an Avro schema or a Protobuf descriptor set, instead of the registry"
    )
    message: str | None = Field(
        None, description="Protobuf message type in the file; default: its first"
    )

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("write it as http://host:port or https://host:port")
        if value is not None and "@" in value:
            raise ValueError("put the login into user and password")
        return value

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        password = self.password or self.password_file
        if self.url and self.file:
            raise ValueError("set url or file, not both")
        if bool(self.user) != bool(password):
            raise ValueError("a login needs user, and password or password_file")
        if not self.url and (self.user or self.ca_file):
            raise ValueError("user and ca_file need url")
        if self.message and not self.file:
            raise ValueError("message needs file")
        return self


def secret(value: SecretStr | None, file: Path | None, name: str) -> bytes | None:
    """A secret from its setting or its file; `None` if neither is set.

    Args:
        value: the setting.
        file: the setting with the suffix `_file`.
        name: of the environment variable, for errors.

    Raises:
        ConfigError: if the file cannot be read or is empty.
    """
    if value is not None:
        return value.get_secret_value().encode()
    if file is None:
        return None
    try:
        text = file.read_bytes().strip()
    except OSError as error:
        raise ConfigError(
            f"{name}_FILE names {file}, which cannot be read: {error.strerror}."
        ) from error
    if not text:
        raise ConfigError(f"{name}_FILE names {file}, which is empty: write the secret into it.")
    return text
