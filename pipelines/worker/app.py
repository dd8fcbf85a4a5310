"""The worker: one Faust app with its agents, its pages and its checkpoints."""

from __future__ import annotations

import asyncio
import gc
import socket
from contextlib import suppress
from typing import Any

import faust

from monitor.alerting.caps import Caps
from monitor.config import Settings
from monitor.engine import Engine
from monitor.errors import ConfigError, StoreError
from monitor.identity import from_settings
from monitor.linker import Linker
from monitor.metrics import Metrics
from monitor.requests.decoder import Decoder
from monitor.store.control import ControlStore
from monitor.store.redis import RedisStore
from pipelines.decide.lookups import Lookups
from pipelines.kafka.security import faust_options
from pipelines.kafka.topics import check_topics
from pipelines.kafka.transport import DEFAULTS
from pipelines.web.logs import LOGGING
from pipelines.web.registry import process_registry
from pipelines.web.server import Server, raise_descriptor_limit
from pipelines.worker.deliver import deliver, delivery_of
from pipelines.worker.outbox import Outbox
from pipelines.worker.rekey import Rekey
from pipelines.worker.watch import Watch
from pipelines.worker.web import WebService, pages

_WITHDRAWN_SECONDS = 2.0  # between looks at which alerts people have withdrawn


def build(settings: Settings, *, rekey: bool = False) -> Any:
    """The Faust app of a worker.

    Args:
        rekey: first copy the requests to a topic keyed by account, see `rekey.py`.

    Raises:
        ConfigError: if the settings lack or contradict something.
    """
    identity = from_settings(settings)
    metrics = Metrics(process_registry())
    caps = Caps(settings.decisions, metrics.capped.inc)
    store = RedisStore(settings.redis_url, settings.record_seconds, caps=caps)
    lookups = Lookups(settings, metrics.registry)
    engine = Engine(settings, identity, store, metrics=metrics)
    linker = Linker(settings, store, metrics=metrics)
    topics = settings.topics
    source = topics.keyed if rekey else topics.requests

    app = faust.App(
        settings.group,
        **faust_options(settings.kafka, settings.kafka_security),
        consumer_max_fetch_size=4 << 20,
        consumer_auto_offset_reset="earliest",
        producer_linger=0.005,
        producer_max_batch_size=256 << 10,
        **DEFAULTS,
    )
    delivery = delivery_of(app, settings, metrics)
    watch, link = (
        Watch(
            app,
            operator,
            store,
            topics,
            topic,
            metrics=metrics,
            redact=settings.rejected == "redacted",
        )
        for operator, topic in ((engine, source), (linker, topics.fingerprints))
    )

    if rekey:
        copier = Rekey(app, Decoder.of(settings), topics.keyed)

        @app.agent(app.topic(topics.requests), name="rekey_requests")  # type: ignore[untyped-decorator]
        async def rekey_requests(stream: Any) -> None:
            await copier.consume(stream)

    @app.agent(app.topic(source), name="watch_requests")  # type: ignore[untyped-decorator]
    async def watch_requests(stream: Any) -> None:
        await watch.consume(stream)

    @app.agent(app.topic(topics.fingerprints), name="link_campaigns")  # type: ignore[untyped-decorator]
    async def link_campaigns(stream: Any) -> None:
        await link.consume(stream)

    @app.agent(app.topic(topics.alerts), name="deliver_alerts")  # type: ignore[untyped-decorator]
    async def deliver_alerts(stream: Any) -> None:
        async with delivery:
            await deliver(stream, delivery)

    @app.task  # type: ignore[untyped-decorator]
    async def write_checkpoints() -> None:
        await watch.run(settings.checkpoint_seconds)

    @app.task  # type: ignore[untyped-decorator]
    async def write_links() -> None:
        await link.run(settings.checkpoint_seconds)

    people = ControlStore(settings.redis_url)
    outbox = Outbox(app, settings, store, people)

    @app.task  # type: ignore[untyped-decorator]
    async def copy_decisions() -> None:
        await outbox.run()

    @app.task  # type: ignore[untyped-decorator]
    async def withdraw_alerts() -> None:
        while not app.should_stop:
            with suppress(StoreError):  # checkpoints report it
                control = await asyncio.to_thread(people.read)
                for each in (watch, link):
                    await each.withdraw(control.withdrawn_by_subject)
            await app.sleep(_WITHDRAWN_SECONDS)

    for each in (watch, link):
        app.on_partitions_revoked.connect(each.revoke)
        app.on_partitions_assigned.connect(each.assign)
        app.on_before_shutdown.connect(each.revoke)
    server = Server(
        pages(watch, lookups, metrics),
        settings.web_host,
        settings.web_port,
        connection=lookups.connection,
    )
    app.web = WebService(server)
    return app


def run_worker(settings: Settings, *, rekey: bool = False) -> None:
    """Run a worker until SIGINT or SIGTERM."""
    app = build(settings, rekey=rekey)
    _check_port(settings)
    raise_descriptor_limit()
    check_topics(settings, rekey=rekey)
    worker = faust.Worker(app, logging_config=LOGGING, redirect_stdouts=False, quiet=True)
    # All objects so far live as long as the process. Reference counts free most later ones.
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    worker.spinner = None  # it is for terminals, not for logs
    worker.execute_from_commandline()


def _check_port(settings: Settings) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.web_host, settings.web_port))
        except OSError as error:
            raise ConfigError(
                f"Cannot listen on {settings.web_host}:{settings.web_port} "
                f"({error.strerror}): choose another with XM_WEB_HOST and XM_WEB_PORT."
            ) from error
