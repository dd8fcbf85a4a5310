"""Settings from XM_* environment variables, a TOML file and defaults, in this order of precedence.

XM_CONFIG names the file (default: `extraction-monitor.toml` in the working directory, if it
exists). Secrets come from the environment or from files that the `*_file` settings name, never
from the command line.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from monitor.errors import ConfigError

DEFAULT_FILE = "extraction-monitor.toml"


class Topics(BaseModel):
    """Names of the Kafka topics, and the options with which `xm topics create` creates them."""

    model_config = ConfigDict(extra="forbid")

    requests: str = "llm.requests"
    keyed: str = Field("llm.requests.keyed", description="only used by `xm worker --rekey`")
    rejected: str = "llm.requests.rejected"
    alerts: str = "extraction.alerts"
    fingerprints: str = "extraction.fingerprints"
    partitions: int = Field(8, ge=1)
    linkers: int = Field(1, ge=1, description="partitions of fingerprints, see `linker.py`")
    replication: int = Field(1, ge=1)
    requests_retention_hours: float = Field(24, gt=0)
    alerts_retention_hours: float = Field(30 * 24, gt=0)


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


class Settings(BaseSettings):
    """All settings.

    Environment variables of nested settings have two underscores: `XM_DECISIONS__SHADOW=false`,
    `XM_RECEIVERS__WEBHOOK_URL=https://…`.
    """

    model_config = SettingsConfigDict(env_prefix="XM_", env_nested_delimiter="__", extra="forbid")

    kafka: str = Field("127.0.0.1:9092", description="bootstrap servers, comma-separated")
    group: str = Field("extraction-monitor", description="consumer group of the workers")
    redis_url: str = "redis://127.0.0.1:6379/0"
    identity_secret: SecretStr | None = None
    identity_secret_file: Path | None = None
    mapping: str | dict[str, Any] = Field(
        "native", description="a preset's name or a table of fields"
    )
    rejected: Literal["redacted", "full"] = Field(
        "redacted", description="what the topic of rejected requests holds"
    )
    reference: Path | None = Field(None, description="written by `xm calibrate`; default: shipped")
    content: Path | None = Field(None, description="written by `xm learn`; default: shipped")
    tasks: Path | None = Field(None, description="task model; default: shipped")
    web_host: str = "127.0.0.1"
    web_port: int = Field(6066, ge=1, le=65535)
    checkpoint_seconds: float = Field(1.0, gt=0, le=60)
    rows: int = Field(200_000, ge=10_000, description="records of active keys in memory")
    record_days: float = Field(14, gt=0, description="until an idle key's record expires in Redis")
    topics: Topics = Topics()
    detection: Detection = Detection()
    campaigns: Campaigns = Campaigns()
    decisions: Decisions = Decisions()
    gateway: Gateway = Gateway()
    receivers: Receivers = Receivers()
    kafka_security: KafkaSecurity = KafkaSecurity()
    registry: Registry = Registry()

    @property
    def record_seconds(self) -> float:
        """Seconds until an idle key's record expires in Redis."""
        return self.record_days * 86_400.0

    @field_validator("kafka")
    @classmethod
    def _has_servers(cls, value: str) -> str:
        if not all(":" in server for server in value.split(",")):
            raise ValueError("write it as host:port, comma-separated")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = TomlConfigSettingsSource(settings_cls, os.environ.get("XM_CONFIG", DEFAULT_FILE))
        return init_settings, env_settings, file


def load(**overrides: Any) -> Settings:
    """Read the settings.

    Raises:
        ConfigError: if one is invalid; names the setting, its source and the remedy.
    """
    named = os.environ.get("XM_CONFIG")
    if named and not Path(named).is_file():
        raise ConfigError(f"XM_CONFIG names {named}, which is not a file: correct it or unset it.")
    try:
        return Settings(**overrides)
    except tomllib.TOMLDecodeError as error:
        file = named or DEFAULT_FILE
        raise ConfigError(f"{file} is not valid TOML: {error}.") from error
    except ValidationError as error:
        raise ConfigError(_sentence(error.errors()[0])) from error


def unknown_variables() -> list[str]:
    """A sentence for each XM_* environment variable that is not a setting.

    They are not errors: a container runtime may add variables with this prefix.
    """
    settings = {name.partition("__")[0] for name in _names(Settings)}
    return [
        f"{name} is not a setting and has no effect.{_hint(_path(name), _variable)}"
        for name in sorted(os.environ)
        if name.startswith("XM_")
        and not name.startswith(("XM_CONFIG", "XM_TEST_"))
        and _path(name).partition("__")[0] not in settings
    ]


def _sentence(error: ErrorDetails) -> str:
    """A validation error in a sentence: where the setting is, and what is wrong."""
    path = "__".join(str(part) for part in error["loc"])
    file = os.environ.get("XM_CONFIG", DEFAULT_FILE)
    variables = [_path(name) for name in os.environ if name.startswith("XM_")]
    in_environment = any(f"{path}__".startswith(f"{each}__") for each in variables)
    if not in_environment and _sets(Path(file), str(error["loc"][0])):
        where, name = f"{_dotted(path)} in {file}", _dotted
    else:
        where, name = _variable(path), _variable
    if error["type"] == "extra_forbidden":
        return f"{where} is not a setting.{_hint(path, name)}"
    reason = error["msg"].removeprefix("Value error, ")
    return f"Setting {where} cannot be used: {reason}."


def _sets(file: Path, name: str) -> bool:
    """Whether a TOML file has a setting or a table of this name."""
    return file.is_file() and name in tomllib.loads(file.read_text())


def _hint(path: str, name: Callable[[str], str]) -> str:
    """The setting that was probably meant."""
    names = _names(Settings)
    similar = [each for each in names if each.endswith(f"__{path}")]
    similar += difflib.get_close_matches(path, names, 1, 0.75)
    return f" Did you mean {name(similar[0])}?" if similar else ""


def _names(model: type[BaseModel]) -> list[str]:
    """All settings: `kafka`, `topics__requests`, …"""
    names = []
    for name, field in model.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            names += [f"{name}__{inner}" for inner in _names(nested)]
        else:
            names.append(name)
    return names


def _path(variable: str) -> str:
    return variable.removeprefix("XM_").lower()


def _variable(path: str) -> str:
    return f"XM_{path.upper()}"


def _dotted(path: str) -> str:
    return path.replace("__", ".")


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
