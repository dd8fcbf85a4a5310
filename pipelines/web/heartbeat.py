"""The heartbeat of this process in Redis, for `xm status` and `xm doctor`.

It says what the process works with and how it does. Redis may be away: the process goes on, and the
next heartbeat is written when Redis is back.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from monitor.config import Settings
from monitor.errors import StoreError, StoreRefusedError
from monitor.identity import from_settings
from monitor.store.operate.processes import (
    BEAT_SECONDS,
    LastError,
    Model,
    Process,
    ProcessStore,
)

Facts = Callable[[], Mapping[str, Any]]  # fields of `Process` as they are now

# Settings that may differ between processes.
_OWN = {"kafka", "redis_url", "identity_secret", "identity_secret_file", "web_host", "web_port"}
_OWN |= {"serve", "forward"}
_SHIPPED = {
    "reference": ("monitor.records", "reference.json"),
    "content": ("monitor.prompts", "content.json"),
    "tasks": ("monitor.records.harvest", "tasks.json"),
    "weights": ("monitor.campaigns", "weights.json"),
}


log = logging.getLogger(__name__)


class ErrorLog(logging.Handler):
    """Keeps the latest line that was logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last: LastError | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.last = LastError(record.created, record.getMessage())


class Heartbeat:
    """Writes a heartbeat every few seconds while it runs.

    Args:
        settings: of the process.
        roles: what it does.
        facts: returns what changes, called in the event loop.
        group: its consumer group; empty if it has none.
    """

    def __init__(self, settings: Settings, roles: list[str], facts: Facts, group: str = "") -> None:
        self._store = ProcessStore(settings.redis_url)
        self._settings, self._facts, self._errors = settings, facts, ErrorLog()
        self._was_refused = False
        self._process = Process(
            id=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}",
            host=socket.gethostname(),
            pid=os.getpid(),
            roles=roles,
            version=version("extraction-monitor"),
            started=time.time(),
            at=0.0,
            group=group,
            settings=notable(settings),
            settings_digest=digest_of(settings),
            secret=secret_check(settings),
        )

    async def run(self) -> None:
        """Write heartbeats until the task is cancelled; then delete the last one."""
        logging.getLogger().addHandler(self._errors)
        try:
            fixed = {"models": await asyncio.to_thread(lambda: dict(models(self._settings)))}
            while True:
                facts = {**fixed, **self._now(), "last_error": self._errors.last}
                await asyncio.to_thread(self._try_beat, facts)
                await asyncio.sleep(BEAT_SECONDS)
        finally:
            logging.getLogger().removeHandler(self._errors)
            with suppress(StoreError):
                await asyncio.shield(asyncio.to_thread(self._store.forget, self._process.id))

    def _try_beat(self, facts: Mapping[str, Any]) -> None:
        try:
            self._beat(facts)
        except StoreRefusedError as error:  # the same again: `xm status` will not show this process
            if not self._was_refused:
                log.warning("heartbeat_refused reason=%r", str(error))
            self._was_refused = True
        except StoreError:
            pass  # whoever needs Redis reports it

    def _now(self) -> Mapping[str, Any]:
        try:
            return self._facts()
        except Exception as error:  # the work of the process must go on
            return {"trouble": f"Its state is unknown: {type(error).__name__}: {error}"}

    def _beat(self, facts: Mapping[str, Any]) -> None:
        clock = self._store.clock()
        now = time.time()
        skew = None if clock is None else round(now - clock, 3)
        known = {name: getattr(self._process, name) for name in Process.__struct_fields__}
        self._store.beat(Process(**{**known, **facts, "at": now, "skew": skew}))


def notable(settings: Settings) -> dict[str, str]:
    """The settings that change what a process does, for people to read; no secrets."""
    mapping = settings.mapping
    chosen = settings.detection
    return {
        "shadow": "yes" if settings.decisions.shadow else "no",
        "mapping": mapping if isinstance(mapping, str) else f"a table ({_digest(repr(mapping))})",
        "requests": settings.topics.requests,
        "record_days": f"{settings.record_days:g}",
        "rejected": settings.rejected,
        "warning": f"{chosen.warning:g}",
        "critical": f"{chosen.critical:g}",
        "fail": settings.gateway.fail,
    }


def digest_of(settings: Settings) -> str:
    """A keyed digest of all settings that the processes of a deployment share."""
    key = from_settings(settings, cached=1).derive("settings")
    data = settings.model_dump_json(exclude=_OWN).encode()
    return hashlib.blake2b(data, digest_size=6, key=key).hexdigest()


def secret_check(settings: Settings) -> str:
    """Equal for equal identity secrets, and of no use to find the secret."""
    return from_settings(settings, cached=1).derive("same secret", 6).hex()


def models(settings: Settings) -> Iterator[tuple[str, Model]]:
    """The files that a process works with, by setting."""
    chosen = {
        "reference": settings.reference,
        "content": settings.content,
        "tasks": settings.tasks,
        "weights": settings.campaigns.weights,
    }
    for name, file in chosen.items():
        if file is None:
            package, shipped = _SHIPPED[name]
            yield name, Model("", _digest(resources.files(package).joinpath(shipped).read_bytes()))
        else:
            with suppress(OSError):  # the process has read it; it may be gone since
                yield name, _model(file)


def _model(file: Path) -> Model:
    return Model(str(file), _digest(file.read_bytes()), file.stat().st_mtime)


def _digest(data: str | bytes) -> str:
    data = data.encode() if isinstance(data, str) else data
    return hashlib.sha256(data).hexdigest()[:12]
