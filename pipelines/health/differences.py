"""Where the settings of a shell differ from those of the running workers.

Commands read records and states with their own thresholds and reference. Results for other ones
than the workers' would be stated as facts about the running system, so they say where they differ.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator

from monitor.config import Settings
from monitor.errors import StoreError
from monitor.store.operate.processes import Model, Process, ProcessStore
from pipelines.web.heartbeat import models, notable

EXPLAINED = ("warning", "critical", "reference")  # what an explanation depends on


def differences(settings: Settings, names: Collection[str] = EXPLAINED) -> list[str]:
    """A sentence for each of these settings that differs from the workers'; none without workers.

    Args:
        names: those of `Process.settings`, and of its files.
    """
    try:
        store = ProcessStore(settings.redis_url)
        now = store.clock() or time.time()
        running = [each for each in store.read() if "watch" in each.roles and each.is_alive(now)]
    except StoreError:
        return []
    found = compare(settings, running, names)
    return [f"This shell's settings differ from the workers': {each}." for each in found]


def compare(
    settings: Settings, running: Iterable[Process], names: Collection[str]
) -> Iterator[str]:
    """What differs from the first of the running processes, a phrase each."""
    worker = next(iter(running), None)
    if worker is None:
        return
    own, files = notable(settings), dict(models(settings))
    for name in names:
        if name in own and worker.settings.get(name, own[name]) != own[name]:
            yield f"{name} is {own[name]} here and {worker.settings[name]} there"
        elif name in files and name in worker.models:
            here, there = files[name], worker.models[name]
            if there.digest != here.digest:
                yield f"{name} is {_named(here)} here and {_named(there)} there"


def _named(model: Model) -> str:
    """A file, or the one in the package, with its digest."""
    return f"{model.name or 'that of the package'} ({model.digest})"
