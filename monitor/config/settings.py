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
from monitor.config.serve import Serve
from monitor.config.sharing import Sharing
from monitor.config.tracing import Tracing
from monitor.errors import ConfigError

DEFAULT_FILE = "extraction-monitor.toml"


class Settings(BaseSettings):
    """All settings.

    Environment variables of nested settings have two underscores: `XM_DECISIONS__SHADOW=false`,
    `XM_RECEIVERS__WEBHOOK_URL=https://…`.
    """

    model_config = SettingsConfigDict(env_prefix="XM_", env_nested_delimiter="__", extra="forbid")

    kafka: str = Field("127.0.0.1:9092", description="bootstrap servers, comma-separated")
    group: str = Field("extraction-monitor", description="consumer group of the workers")
    kafka_compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "zstd",
        description="compression of the messages that the monitor and `xm produce` send: `zstd`, "
        "`lz4`, `snappy`, `gzip` or `none`",
    )
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="Redis, Sentinel or Cluster; [all forms](operations.md#redis)",
    )
    redis_url_file: Path | None = Field(
        None, description="file that holds the URL, which may contain a password"
    )
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
    read_share: float = Field(
        0.25, gt=0, le=1, description="of the prompts of settled keys that are read; 1 reads all"
    )
    web_host: str = "127.0.0.1"
    web_port: int = Field(6066, ge=1, le=65535)
    checkpoint_seconds: float = Field(0.3, gt=0, le=60)
    rows: int = Field(200_000, ge=10_000, description="records of active keys in memory")
    record_days: float = Field(14, gt=0, description="until an idle key's record expires in Redis")
    subject_series: int = Field(
        40,
        ge=0,
        le=500,
        description="subjects with an open alert that metrics show by pseudonym, per process",
    )
    topics: Topics = Topics()
    detection: Detection = Detection()
    campaigns: Campaigns = Campaigns()
    cases: Cases = Cases()
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
        """Take the URL of Redis from its file."""
        if self.redis_url_file is not None:
            if "redis_url" in self.model_fields_set:
                raise ValueError("redis_url and redis_url_file are both set: set one of them")
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
    if not error["loc"]:  # two settings that exclude each other
        return f"{error['msg'].removeprefix('Value error, ')}."
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
