"""The worker: a Faust app that does the work of one role, with its pages."""

from __future__ import annotations

import asyncio
import gc
import logging
import logging.config
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import faust

from monitor.alerting.caps import Caps
from monitor.batch import Observed
from monitor.config import Settings, unknown_variables
from monitor.engine import Engine
from monitor.errors import StoreError
from monitor.identity import Identity, from_settings
from monitor.linker import Linker
from monitor.metrics import Metrics
from monitor.operator import StreamOperator
from monitor.requests.decoder import Decoder
from monitor.sharing.salt import salt_of
from monitor.store.base import Store
from monitor.store.control import ControlStore
from monitor.store.operate.erasure import ErasureStore
from monitor.store.redis import RedisStore
from pipelines.cases.review.gauges import ReviewGauges
from pipelines.health.forget import Forgetter
from pipelines.kafka.groups import take_over
from pipelines.kafka.security import faust_options
from pipelines.kafka.topics import LARGEST_MESSAGE, check_topics
from pipelines.kafka.transport import DEFAULTS
from pipelines.sharing.live import imports
from pipelines.sharing.live.hashes import SharedHashes
from pipelines.web.heartbeat import Heartbeat
from pipelines.web.logs import LOGGING
from pipelines.web.registry import process_registry
from pipelines.web.server import Server, raise_descriptor_limit
from pipelines.worker.deliver import deliver, delivered, delivery_of, ledger_of
from pipelines.worker.outbox import Outbox
from pipelines.worker.rekey import Rekey
from pipelines.worker.responses import ResponsesSeen
from pipelines.worker.roles import Role, group_of
from pipelines.worker.watch import Watch
from pipelines.worker.web import IDLE, Listening, WebService, listen, log_start, pages

_REVIEW_SECONDS = 30.0  # between counts of appeals and withdrawn alerts
_FORGET_SECONDS = 2.0  # between looks at which subjects to forget
_WITHDRAWN_SECONDS = 2.0  # between looks at which alerts people have withdrawn

log = logging.getLogger(__name__)

Seeing = Callable[[Observed], None]
Trouble = Callable[[], str | None]  # why a process is not ready, `None` if it is
Facts = Callable[[], dict[str, Any]]  # what its heartbeat reports


def build(
    settings: Settings,
    role: Role,
    *,
    rekey: bool = False,
    socket: Path | None = None,
    listening: Listening | None = None,
) -> Any:
    """The Faust app of a process.

    Args:
        role: not `decide`, which needs no Kafka.
        rekey: first copy the requests to a topic keyed by account, see `rekey.py`.
        socket: serves the pages instead of the web port.
        listening: the web port, if it is open already.

    Raises:
        ConfigError: if the settings lack or contradict something.
    """
    metrics = Metrics(process_registry())
    metrics.unknown_variables.set(len(unknown_variables()))
    app = faust.App(
        group_of(role, settings),
        **faust_options(settings.kafka, settings.kafka_security),
        consumer_max_fetch_size=4 << 20,
        consumer_auto_offset_reset="earliest",
        producer_linger=0.005,
        producer_compression_type=settings.kafka_compression,
        producer_max_batch_size=256 << 10,
        producer_max_request_size=LARGEST_MESSAGE,
        **DEFAULTS,
    )
    if role is Role.watch:
        trouble, facts = _watch_requests(app, settings, metrics, rekey=rekey)
    elif role is Role.link:
        trouble, facts = _link_campaigns(app, settings, metrics)
    else:
        trouble, facts = _deliver_alerts(app, settings, metrics)

    def report() -> dict[str, Any]:
        return {"trouble": trouble() or "", **facts()}

    heartbeat = Heartbeat(settings, [role.value], report, group_of(role, settings))

    @app.task  # type: ignore[untyped-decorator]
    async def write_heartbeats() -> None:
        await heartbeat.run()

    server = Server(
        pages(trouble, metrics.registry),
        settings.web_host,
        settings.web_port,
        path=socket,
        listening=listening,
    )
    app.web = WebService(server)
    return app


def _watch_requests(
    app: Any, settings: Settings, metrics: Metrics, *, rekey: bool
) -> tuple[Trouble, Facts]:
    """Evaluate keys from the topic of requests."""
    topics = settings.topics
    caps = Caps(settings.decisions, metrics.capped.inc)
    store = RedisStore(settings.redis_url, settings.record_seconds, caps=caps)
    identity = from_settings(settings)
    seeing = [_shared_hashes(app, settings, metrics), _responses(app, settings, identity, metrics)]
    engine = Engine(settings, identity, store, on_requests=_each(seeing), metrics=metrics)
    if rekey:
        copier = Rekey(app, Decoder.of(settings), topics.keyed)

        @app.agent(app.topic(topics.requests), name="rekey_requests")  # type: ignore[untyped-decorator]
        async def rekey_requests(stream: Any) -> None:
            await copier.consume(stream)

    source = topics.keyed if rekey else topics.requests
    watch = _observe(app, engine, store, source, settings, metrics)
    return (lambda: watch.trouble or (None if watch.assigned else IDLE)), watch.facts


def _each(seeing: Sequence[Seeing | None]) -> Seeing | None:
    """One call for all that see the requests of a batch; `None` if nothing does."""
    calls = [each for each in seeing if each is not None]
    if not calls:
        return None

    def see(observed: Observed) -> None:
        for call in calls:
            call(observed)

    return see


def _responses(
    app: Any, settings: Settings, identity: Identity, metrics: Metrics
) -> ResponsesSeen | None:
    """What sketches responses to flagged keys; `None` if the settings say so."""
    if not settings.tracing.responses:
        return None
    responses = ResponsesSeen(settings, identity, metrics)

    @app.task  # type: ignore[untyped-decorator]
    async def sketch_responses() -> None:
        await responses.run(app)

    return responses


def _link_campaigns(app: Any, settings: Settings, metrics: Metrics) -> tuple[Trouble, Facts]:
    """Find campaigns in the topic of fingerprints."""
    caps = Caps(settings.decisions, metrics.capped.inc)
    store = RedisStore(settings.redis_url, settings.record_seconds, caps=caps)
    linker = Linker(settings, store, metrics=metrics)
    _read_imports(app, linker, settings)
    link = _observe(app, linker, store, settings.topics.fingerprints, settings, metrics)
    joining = _until_joined(app)
    return (lambda: link.trouble or joining()), link.facts


def _shared_hashes(app: Any, settings: Settings, metrics: Metrics) -> SharedHashes | None:
    """What hashes identifiers for partners; `None` if nothing is shared."""
    salt = salt_of(settings)
    if salt is None:
        return None
    hashes = SharedHashes(settings, salt, metrics)
    hashes.start()

    @app.on_before_shutdown.connect  # type: ignore[untyped-decorator]
    async def close(*_: Any, **__: Any) -> None:
        await asyncio.to_thread(hashes.close)

    return hashes


def _read_imports(app: Any, linker: Linker, settings: Settings) -> None:
    """Keep the linker informed of what partners have shared."""
    if settings.sharing.salt_file is None:
        linker.use_imports([])
        return
    reader = imports.ImportReader(settings)

    @app.task  # type: ignore[untyped-decorator]
    async def read_imports() -> None:
        while not app.should_stop:
            with suppress(StoreError):  # checkpoints report it
                linker.use_imports(await asyncio.to_thread(reader.read))
            await app.sleep(imports.SECONDS)


def _deliver_alerts(app: Any, settings: Settings, metrics: Metrics) -> tuple[Trouble, Facts]:
    """Send alerts to their receivers, and copy decisions and the audit to Kafka."""
    ledger = ledger_of(settings)
    delivery = delivery_of(app, settings, metrics, ledger)
    cases = None
    if settings.cases.key_file is None:
        log.info("cases_off remedy=%r", "make a key: `xm case key new`, XM_CASES__KEY_FILE")
    else:
        from pipelines.worker.cases import case_work  # needs the extra `cases`

        cases = case_work(app, settings, metrics, ledger)
    store = RedisStore(settings.redis_url, settings.record_seconds)
    outbox = Outbox(app, settings, store, ControlStore(settings.redis_url))

    @app.agent(app.topic(settings.topics.alerts), name="deliver_alerts")  # type: ignore[untyped-decorator]
    async def deliver_alerts(stream: Any) -> None:
        async with delivery, cases.recording if cases else nullcontext() as recording:
            await deliver(stream, delivery, recording)

    @app.task  # type: ignore[untyped-decorator]
    async def copy_decisions() -> None:
        await outbox.run()

    if cases is not None:
        archive = cases.archive

        @app.task  # type: ignore[untyped-decorator]
        async def copy_cases() -> None:
            await archive.run(lambda: app.should_stop)

    reviews = ReviewGauges(settings, metrics)

    @app.task  # type: ignore[untyped-decorator]
    async def count_reviews() -> None:
        while not app.should_stop:
            with suppress(StoreError):  # the outbox reports it
                await asyncio.to_thread(reviews.update)
            await app.sleep(_REVIEW_SECONDS)

    def facts() -> dict[str, Any]:
        return {
            "receivers": delivery.health(),
            "partitions": list(delivered(app, settings.topics.alerts)),
        }

    return _until_joined(app), facts


def _observe(
    app: Any,
    operator: StreamOperator,
    store: Store,
    source: str,
    settings: Settings,
    metrics: Metrics,
) -> Watch:
    """Pass a topic through an operator, write its checkpoints, and tell it of withdrawn alerts."""
    people = ControlStore(settings.redis_url)
    watch = Watch(
        app,
        operator,
        store,
        settings.topics,
        source,
        metrics=metrics,
        redact=settings.rejected == "redacted",
        withdrawn=lambda: people.read().withdrawn_by_subject,
        reports=isinstance(operator, Engine),
    )

    @app.agent(app.topic(source), name=f"observe_{source}")  # type: ignore[untyped-decorator]
    async def observe(stream: Any) -> None:
        await watch.consume(stream)

    @app.task  # type: ignore[untyped-decorator]
    async def write_checkpoints() -> None:
        await watch.run(settings.checkpoint_seconds)

    @app.task  # type: ignore[untyped-decorator]
    async def withdraw_alerts() -> None:
        await watch.follow_withdrawals(_WITHDRAWN_SECONDS)

    forgetter = Forgetter(ErasureStore(settings.redis_url), watch)

    @app.task  # type: ignore[untyped-decorator]
    async def forget_subjects() -> None:
        while not app.should_stop:
            await forgetter.forget()
            await app.sleep(_FORGET_SECONDS)

    app.on_partitions_revoked.connect(watch.revoke)
    app.on_partitions_assigned.connect(watch.assign)
    app.on_before_shutdown.connect(watch.revoke)
    return watch


def _until_joined(app: Any) -> Trouble:
    """The trouble of a process that works as soon as its group has accepted it.

    It may have no partition then: it takes over those of a process that ends.
    """
    joined = False

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]
    async def join(*_: Any, **__: Any) -> None:
        nonlocal joined
        joined = True

    return lambda: None if joined else "The consumer group has not been joined yet."


def run_worker(
    settings: Settings, role: Role, socket: Path | None = None, *, rekey: bool = False
) -> None:
    """Do the work of one role until SIGINT or SIGTERM.

    Args:
        socket: of a supervisor, which has checked the topics. Default: the web port.
    """
    listening = None
    if socket is None:
        listening = listen(settings)
        check_topics(settings, rekey=rekey)
        logging.config.dictConfig(LOGGING)
        log_start(settings, [role], listening)
    app = build(settings, role, rekey=rekey, socket=socket, listening=listening)
    raise_descriptor_limit()
    if role is not Role.watch:
        source = settings.topics.fingerprints if role is Role.link else settings.topics.alerts
        group = group_of(role, settings)
        take_over(settings.kafka, settings.kafka_security, source, settings.group, group)
    worker = faust.Worker(app, logging_config=LOGGING, redirect_stdouts=False, quiet=True)
    gc.freeze()  # all objects so far live as long as the process
    worker.spinner = None  # it is for terminals, not for logs
    worker.execute_from_commandline()
