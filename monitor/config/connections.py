"""Settings of connections to other servers, and secrets."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from monitor.errors import ConfigError


class KafkaSecurity(BaseModel):
    """TLS and login of all Kafka clients."""

    model_config = ConfigDict(extra="forbid")

    protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "plaintext",
        description="`plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`; applies to every "
        "Kafka client",
    )
    ca_file: Path | None = Field(None, description="CA certificates, PEM; default: the system's")
    cert_file: Path | None = Field(None, description="client certificate, PEM")
    key_file: Path | None = Field(
        None, description="key of the client certificate, if it is in a file of its own"
    )
    key_password: SecretStr | None = Field(None, description="password of an encrypted key")
    key_password_file: Path | None = Field(None, description="file that holds this password")
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "PLAIN", description="`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`"
    )
    user: str | None = Field(None, description="SASL user, of PLAIN and SCRAM")
    password: SecretStr | None = Field(None, description="SASL password")
    password_file: Path | None = Field(None, description="file that holds the password")
    token_file: Path | None = Field(
        None, description="OAUTHBEARER: file that holds the token; read again for every connection"
    )
    token_url: str | None = Field(
        None,
        description="OAUTHBEARER: token endpoint that grants tokens for client credentials, "
        "instead of `TOKEN_FILE`",
    )
    client_id: str | None = Field(None, description="client at the token endpoint")
    client_secret: SecretStr | None = Field(None, description="its secret")
    client_secret_file: Path | None = Field(None, description="file that holds the secret")
    scope: str | None = Field(None, description="scope that the token is asked for")
    token_ca_file: Path | None = Field(
        None, description="CA certificates of the token endpoint, PEM; default: the system's"
    )
    extensions: dict[str, str] = Field(
        {},
        description="OAUTHBEARER: table of SASL extensions, for example `logicalCluster` and "
        "`identityPoolId` of Confluent Cloud",
    )

    @property
    def tls(self) -> bool:
        """Whether connections use TLS."""
        return self.protocol.endswith("ssl")

    @property
    def sasl(self) -> bool:
        """Whether connections log in."""
        return self.protocol.startswith("sasl")

    @property
    def oauth(self) -> bool:
        """Whether connections log in with a token."""
        return self.sasl and self.mechanism == "OAUTHBEARER"

    @field_validator("token_url")
    @classmethod
    def _is_https(cls, value: str | None) -> str | None:
        """The client secret goes over TLS, or stays on this machine."""
        return secure_url(value, "client_id and client_secret_file")

    @field_validator("extensions")
    @classmethod
    def _are_extensions(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not (name.isascii() and name.isalpha()) or name.lower() == "auth":
                raise ValueError(f"{name!r} is no name of an extension: use letters, not `auth`")
            if not text.isprintable():
                raise ValueError(f"the extension {name} has a character that is not printable")
        return value

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        """Reject what the protocol would ignore, for example a password without a login."""
        password = self.password or self.password_file
        endpoint = self.token_url or self.client_id or self.client_secret or self.client_secret_file
        if not self.sasl and (self.user or password or self.token_file or endpoint):
            raise ValueError(f"{self.protocol} does not log in: use sasl_ssl or drop the login")
        if not self.tls and (self.ca_file or self.cert_file or self.key_file):
            raise ValueError(f"{self.protocol} does not use TLS: use ssl or sasl_ssl")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file")
        if (self.key_password or self.key_password_file) and not self.cert_file:
            raise ValueError("key_password needs cert_file")
        if self.oauth:
            self._check_oauth()
        elif self.token_file or endpoint or self.scope or self.token_ca_file or self.extensions:
            raise ValueError(
                "token_file, token_url, client_id, client_secret, scope, token_ca_file and "
                "extensions need the mechanism OAUTHBEARER"
            )
        elif self.sasl and not (self.user and password):
            raise ValueError(f"{self.protocol} needs user, and password or password_file")
        return self

    def _check_oauth(self) -> None:
        has_secret = self.client_secret or self.client_secret_file
        if self.user or self.password or self.password_file:
            raise ValueError(
                "OAUTHBEARER does not use user and password: use token_file or token_url"
            )
        if bool(self.token_file) == bool(self.token_url):
            raise ValueError("OAUTHBEARER needs either token_file or token_url")
        if self.token_url and not (self.client_id and has_secret):
            raise ValueError("token_url needs client_id, and client_secret or client_secret_file")
        if not self.token_url and (
            self.client_id or has_secret or self.scope or self.token_ca_file
        ):
            raise ValueError("client_id, client_secret, scope and token_ca_file need token_url")


class Registry(BaseModel):
    """Where the schemas of Avro and Protobuf messages are: a schema registry, or one file."""

    model_config = ConfigDict(extra="forbid")

    url: str | None = Field(None, description="URL of a Confluent-compatible schema registry")
    user: str | None = Field(None, description="user for HTTP basic authentication")
    password: SecretStr | None = Field(None, description="its password")
    password_file: Path | None = Field(None, description="file that holds the password")
    ca_file: Path | None = Field(None, description="CA certificates, PEM; default: the system's")
    timeout_seconds: float = Field(5, gt=0, le=60, description="timeout of one answer; at most 60")
    file: Path | None = Field(
        None,
        description="schema of all messages, instead of a registry: an Avro schema (`.avsc`) "
        "or a Protobuf descriptor set",
    )
    message: str | None = Field(
        None, description="Protobuf message type in this file; without it, the first"
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
    return None if file is None else read_secret(file, name)


def read_secret(file: Path, name: str) -> bytes:
    """The secret in a file, without white space around it.

    Args:
        name: of the environment variable without the suffix `_FILE`, for errors.

    Raises:
        ConfigError: if the file cannot be read or is empty.
    """
    try:
        text = file.read_bytes().strip()
    except OSError as error:
        raise ConfigError(
            f"{name}_FILE names {file}, which cannot be read: {error.strerror}."
        ) from error
    if not text:
        raise ConfigError(f"{name}_FILE names {file}, which is empty: write the secret into it.")
    return text


def secure_url(value: str | None, login: str) -> str | None:
    """A URL that uses TLS, or stays on this machine.

    Args:
        login: the settings that a login belongs into.

    Raises:
        ValueError: if it is another one.
    """
    if value is None:
        return None
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("write it as https://HOST/…")
    if url.username or url.password:
        raise ValueError(f"put the login into {login}")
    if url.scheme == "http" and not is_loopback(url.hostname):
        raise ValueError("use https: http is only for this machine")
    return value


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
