"""Checks the settings: names, values, and what is in the files that they name.

No server is asked. Everything is loaded as a worker, `xm serve` and `xm forward` load it.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from monitor.campaigns.criteria import load as load_weights
from monitor.config import Settings, load, unknown_variables
from monitor.config.settings import DEFAULT_FILE, problems
from monitor.config.sources import HIDDEN, Value, values
from monitor.errors import ConfigError, MonitorError
from monitor.identity import from_settings
from monitor.prompts.content_model import load_content
from monitor.records.baseline import load_reference
from monitor.records.harvest.task_model import load_tasks
from monitor.requests.decoder import Decoder
from monitor.sharing.salt import salt_of
from monitor.store.cluster import connect
from monitor.tracing.choices import load_canaries, load_groups
from monitor.tracing.marks import marking_secret
from pipelines.kafka.security import client_options
from pipelines.notify.choose import routes
from pipelines.web.tls import server_tls
from pipelines.web.tokens import Tokens

_HOLD_SECRETS = ("password_file", "secret_file", "token_file", "url_file", "key_file", "salt_file")
_OF_PUBLIC_KEYS = ("public_keys_file",)
_WRITTEN = ("forward.spool", "console.view_file")  # by a process, which may not have run yet


class Finding(msgspec.Struct, frozen=True):
    """Something wrong with the settings.

    Attributes:
        level: an `error` stops a process or changes what it does; a `warning` does not.
        message: a sentence with the remedy.
    """

    level: Literal["error", "warning"]
    message: str


class Report(msgspec.Struct, frozen=True):
    """What a check of the settings found.

    Attributes:
        file: the settings file; `None` without one.
        chosen: number of settings that the file and the environment set.
        findings: errors first.
    """

    file: str | None
    chosen: int
    findings: list[Finding]

    @property
    def errors(self) -> int:
        return sum(each.level == "error" for each in self.findings)


def check_settings(*further: Callable[[Settings], object]) -> Report:
    """Check the settings of this process's environment and of its settings file.

    Args:
        further: load what a process above this room loads.
    """
    found = [Finding("error", each) for each in unknown_variables()]
    loaded, chosen = None, 0
    try:
        wrong = problems()
        loaded = None if wrong else load()
    except (MonitorError, tomllib.TOMLDecodeError) as error:
        wrong = [_sentence(error)]
    found += [Finding("error", each) for each in wrong]
    if loaded is not None:
        given = [each for each in values(loaded) if each.source != "default"]
        chosen = len(given)
        found += [Finding("error", each) for each in _unusable(loaded, further)]
        found += [Finding("warning", each) for each in _doubtful(loaded, given)]
    file = os.environ.get("XM_CONFIG", DEFAULT_FILE)
    return Report(
        file if Path(file).is_file() else None,
        chosen,
        sorted(found, key=lambda each: each.level),
    )


def _sentence(error: Exception) -> str:
    if isinstance(error, tomllib.TOMLDecodeError):
        return f"{os.environ.get('XM_CONFIG', DEFAULT_FILE)} is not valid TOML: {error}."
    return str(error)


def _unusable(settings: Settings, further: Sequence[Callable[[Settings], object]]) -> Iterator[str]:
    """A sentence for each file or value that a process would refuse."""
    serve, forward, tracing = settings.serve, settings.forward, settings.tracing
    has_secret = settings.identity_secret or settings.identity_secret_file
    loads: list[Callable[[], object]] = [
        lambda: connect(settings.redis_url, 1.0),
        lambda: client_options(settings.kafka, settings.kafka_security),
        lambda: from_settings(settings, cached=1) if has_secret else None,
        lambda: Decoder.of(settings),
        lambda: routes(settings),
        lambda: salt_of(settings),
        lambda: marking_secret(settings) if tracing.secret_file else None,
        lambda: Tokens(serve.tokens_file),
        lambda: Tokens(forward.tokens_file),
        lambda: _signer(settings),
        *(
            partial(
                server_tls, each.tls_cert_file, each.tls_key_file, each.tls_client_ca_file, prefix
            )
            for each, prefix in (
                (serve, "XM_SERVE__"),
                (forward, "XM_FORWARD__"),
                (settings.console, "XM_CONSOLE__"),
            )
        ),
        *(partial(each, settings) for each in further),
    ]
    files: list[tuple[str, Path | None, Callable[[Path], object]]] = [
        ("XM_REFERENCE", settings.reference, load_reference),
        ("XM_CONTENT", settings.content, load_content),
        ("XM_TASKS", settings.tasks, load_tasks),
        ("XM_CAMPAIGNS__WEIGHTS", settings.campaigns.weights, load_weights),
        ("XM_TRACING__VARIANTS_FILE", tracing.variants_file, load_groups),
        ("XM_TRACING__CANARIES_FILE", tracing.canaries_file, load_canaries),
    ]
    loads += [partial(_load, *each) for each in files]
    said = set[str]()
    for attempt in loads:
        try:
            attempt()
        except MonitorError as error:
            said.add(str(error))
            yield str(error)
    for value in values(settings):
        sentence = _unreadable(value, settings)
        if sentence and not any(value.text in each for each in said):
            yield sentence


def _load(name: str, file: Path | None, read: Callable[[Path], object]) -> None:
    """Read a file that a setting names; its own error may not say which one it is."""
    try:
        if file is not None:
            read(file)
    except MonitorError as error:
        raise ConfigError(f"{name} names {file}: {error}") from error


def _signer(settings: Settings) -> None:
    """Load the key of cases. Without the extra `cases`, only its file is looked at."""
    if settings.cases.key_file is None:
        return
    try:
        from monitor.evidence.keys import signer_of
    except ImportError as error:
        raise ConfigError(
            f"XM_CASES__KEY_FILE needs a package that is not installed ({error.name}): install "
            "extraction-monitor[cases]."
        ) from error
    signer_of(settings)


def _unreadable(value: Value, settings: Settings) -> str | None:
    """Why a file that a setting names cannot be read. Files that are written may be missing."""
    setting = value.setting
    if not setting.is_file or value.source == "default" or setting.name in _WRITTEN:
        return None
    path = Path(value.text)
    if not path.exists() and setting.path[-1] not in _OF_PUBLIC_KEYS:
        return f"{_place(value)} names {path}, which does not exist: correct it."
    if path.exists() and not os.access(path, os.R_OK):
        return f"{_place(value)} names {path}, which this user may not read: grant it."
    return None


def _doubtful(settings: Settings, given: list[Value]) -> Iterator[str]:
    """A sentence for each setting that works and is probably not meant."""
    if not (settings.identity_secret or settings.identity_secret_file):
        yield (
            "There is no identity secret, which workers need: write the output of `openssl rand "
            "-hex 32` into a file and name it in XM_IDENTITY_SECRET_FILE."
        )
    for value in given:
        if value.setting.deprecated:
            yield f"{_place(value)} is deprecated: {value.setting.deprecated}."
        if value.source == "file" and _holds_secret(value):
            yield (
                f"{_place(value)} holds a secret: put it into a file of its own, and name that "
                f"with {value.setting.path[-1]}_file."
            )
        if value.setting.is_file and value.setting.path[-1].endswith(_HOLD_SECRETS):
            yield from _too_open(value)
    names = {value.setting.name: value for value in given}
    for name in ("identity_secret", "redis_url"):
        if name in names and f"{name}_file" in names:
            yield (
                f"{_place(names[name])} and {_place(names[f'{name}_file'])} are both set: the "
                "first one counts."
            )


def _holds_secret(value: Value) -> bool:
    """Whether a value is a secret, or a URL with one. URLs of some receivers hold none."""
    if value.setting.is_secret:
        return value.setting.path[-1] != "url"
    return value.setting.name == "redis_url" and HIDDEN in value.text


def _too_open(value: Value) -> Iterator[str]:
    path = Path(value.text)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        yield (
            f"{_place(value)} names {path}, which others may read or write (mode {mode:o}): run "
            f"`chmod 600 {path}`."
        )


def _place(value: Value) -> str:
    """The setting as its source names it."""
    if value.source == "environment":
        return value.place
    return f"{value.setting.name} in {value.place}"
