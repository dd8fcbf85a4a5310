"""Settings from XM_* environment variables, a TOML file and defaults, in this order of precedence.

XM_CONFIG names the file (default: `extraction-monitor.toml` in the working directory, if it
exists). Secrets come from the environment or from files that the `*_file` settings name, never
from the command line.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from monitor.config.actions import Decisions, Gateway
from monitor.config.cases import Cases
from monitor.config.connections import KafkaSecurity, Registry, read_secret
from monitor.config.detection import Campaigns, Detection, Topics
from monitor.config.forward import Forward
from monitor.config.receivers import Receivers
from monitor.config.serve import Console, Serve
from monitor.config.sharing import Sharing
from monitor.config.tracing import Tracing
from monitor.errors import ConfigError

DEFAULT_FILE = "extraction-monitor.toml"
DOCS = "https://github.com/extraction-monitor/extraction-monitor/blob/main"
Tenant = Annotated[str, Field(pattern=r"^[^\s#,*]{1,64}$")]
_SERVICE_URL = re.compile(r"(?:tcp|udp|sctp)://.+:\d+")


class Settings(BaseSettings):
    """All settings.

    Environment variables of nested settings have two underscores: `XM_DECISIONS__SHADOW=false`,
    `XM_RECEIVERS__WEBHOOK_URL=https://…`.
    """

    model_config = SettingsConfigDict(env_prefix="XM_", env_nested_delimiter="__", extra="forbid")

    kafka: str = Field(
        "127.0.0.1:9092", description="Kafka bootstrap servers, comma-separated `host:port`"
    )
    group: str = Field("extraction-monitor", description="consumer group of the workers")
    kafka_compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "zstd",
        description="compression of the messages that the monitor and `xm produce` send: "
        "`zstd`, `lz4`, `snappy`, `gzip` or `none`",
    )
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="Redis, Sentinel or Cluster; [all forms](operations.md#redis)",
    )
    redis_url_file: Path | None = Field(
        None, description="file that holds the URL, which may contain a password"
    )
    identity_secret: SecretStr | None = Field(
        None,
        description="secret for pseudonyms and hashes: the output of `openssl rand -hex 32`; "
        "at least 16 bytes; never changes",
    )
    identity_secret_file: Path | None = Field(None, description="file that holds the secret")
    mapping: str | dict[str, Any] = Field(
        "native",
        description="preset of the request format, or a table in the file; [mappings](#mappings)",
    )
    rejected: Literal["redacted", "full"] = Field(
        "redacted",
        description="what `llm.requests.rejected` holds: `redacted`, the reason and the place;"
        " `full`, also the element, with its keys and prompts",
    )
    reference: Path | None = Field(
        None, description="baseline of ordinary keys, written by `xm calibrate`; default: shipped"
    )
    content: Path | None = Field(
        None,
        description="content model, written by `xm learn`; another model restarts the content "
        "statistics of all keys; default: shipped",
    )
    tasks: Path | None = Field(
        None,
        description="task model: which texts state a task, and the weights of the harvest "
        "level; default: shipped",
    )
    read_share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="share of the prompts of [settled keys](detection.md#settled-keys) that "
        "are read; `1` reads all",
    )
    runbook_url: str = Field(
        DOCS,
        description="URL of the folder that has the documentation, for links in alerts: your own "
        "copy, if it is not the public one",
    )
    dashboard_url: str | None = Field(
        None,
        description="URL of Grafana, for the link from an alert to the dashboard of its subject",
    )
    web_host: str = Field(
        "127.0.0.1", description="address that serves metrics, health and decisions"
    )
    web_port: int = Field(6066, ge=1, le=65535, description="its port")
    checkpoint_seconds: float = Field(
        0.3,
        gt=0,
        le=60,
        description="interval between checkpoints; bounds the delay of an alert; at most 60. "
        "While more than 0.5% of `XM_ROWS` change, their records are written every"
        " 5 s",
    )
    rows: int = Field(
        200_000,
        ge=10_000,
        description="records in a worker's memory, [about 6 KB each](operations.md#scale); "
        "Redis keeps all of them; at least 10,000",
    )
    record_days: float = Field(14, gt=0, description="idle days after which a key's record expires")
    tenants: list[Tenant] = Field(
        [],
        max_length=1_000,
        description='prefixes of account names, one per tenant: `["acme/", "globex/"]`; '
        "the longest that matches counts; people may be [limited to some](console.md#tenants)",
    )
    subject_series: int = Field(
        40,
        ge=0,
        le=500,
        description="subjects with an open warning or critical alert that "
        "[metrics](operations.md#metrics) show by pseudonym, per process; 0 for "
        "none, at most 500",
    )
    topics: Topics = Topics()
    detection: Detection = Detection()
    campaigns: Campaigns = Campaigns()
    cases: Cases = Cases()
    console: Console = Console()
    decisions: Decisions = Decisions()
    gateway: Gateway = Gateway()
    forward: Forward = Forward()
    receivers: Receivers = Receivers()
    serve: Serve = Serve()
    sharing: Sharing = Sharing()
    tracing: Tracing = Tracing()
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

    @model_validator(mode="after")
    def _read_redis_url(self) -> Self:
        """Take the URL of Redis from its file, unless there is one: as for other secrets."""
        if self.redis_url_file is not None and "redis_url" not in self.model_fields_set:
            url = read_secret(self.redis_url_file, "XM_REDIS_URL").decode()
            self.__dict__["redis_url"] = url  # not set by the operator: keep it out of fields_set
        return self

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


def problems() -> list[str]:
    """A sentence for each setting that cannot be used; the same as `load` would raise, but all."""
    try:
        Settings()
    except ValidationError as error:
        return [_sentence(each) for each in error.errors()]
    return []


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
        return f"{where} is not a setting.{hint(path, name)}"
    reason = error["msg"].removeprefix("Value error, ")
    if where in os.environ and _SERVICE_URL.fullmatch(os.environ[where]):
        reason = (
            "Kubernetes has set it for a Service of this name: set enableServiceLinks to false in "
            "the pod, or rename the Service"
        )
    return f"Setting {where} cannot be used: {reason}."


def _sets(file: Path, name: str) -> bool:
    """Whether a TOML file has a setting or a table of this name."""
    return file.is_file() and name in tomllib.loads(file.read_text())


def hint(path: str, name: Callable[[str], str]) -> str:
    """The setting that was probably meant."""
    similar = [each for each in names() if each.endswith(f"__{path}")]
    similar += difflib.get_close_matches(path, names(), 1, 0.75)
    return f" Did you mean {name(similar[0])}?" if similar else ""


def names(model: type[BaseModel] | None = None) -> list[str]:
    """All settings: `kafka`, `topics__requests`, …"""
    found = []
    for name, field in (model or Settings).model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            found += [f"{name}__{inner}" for inner in names(nested)]
        else:
            found.append(name)
    return found


def _path(variable: str) -> str:
    return variable.removeprefix("XM_").lower()


def _variable(path: str) -> str:
    return f"XM_{path.upper()}"


def _dotted(path: str) -> str:
    return path.replace("__", ".")
