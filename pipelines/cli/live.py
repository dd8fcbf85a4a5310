"""Commands on the live stream: demo, worker, topics, produce."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Annotated

import typer

from monitor import config
from monitor.identity import from_settings
from pipelines.cli.options import AsJson, RequestFile, done, roles_of, stderr
from pipelines.web.tokens import new_token
from pipelines.worker.roles import Role

Rekey = Annotated[
    bool,
    typer.Option(
        "--rekey", help="First copy requests to a topic keyed by account, for logs without keys."
    ),
]


class Access(StrEnum):
    """What a token permits."""

    look = "look"
    change = "change"


commands = typer.Typer()
topics_app = typer.Typer(no_args_is_help=True, help="Manage the Kafka topics.")
commands.add_typer(topics_app, name="topics")


@commands.command(epilog="Example: `xm demo --seconds 60`")
def demo(
    seconds: Annotated[
        float | None, typer.Option(help="Stop after N seconds.", metavar="N", min=5)
    ] = None,
    speed: Annotated[
        float, typer.Option(help="Simulated seconds per real second.", metavar="N", min=1)
    ] = 60.0,
    seed: Annotated[
        int, typer.Option(help="Random seed of the simulated traffic.", metavar="N")
    ] = 1,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave broker, store and worker running at the end.")
    ] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop what an earlier demo has left running.")
    ] = False,
) -> None:
    """Watch the monitor catch simulated extraction on this machine.

    Starts a broker, a store and a worker, and stops them at the end. Time in the simulation runs
    60 times as fast as the clock. Needs the extra `embedded`.
    """
    if stop:
        from pipelines.demo import kept

        typer.echo("The demo has stopped." if kept.stop() else "No demo is running.")
        return
    from pipelines.demo.run import run_demo

    raise typer.Exit(run_demo(seconds=seconds, speed=speed, seed=seed, keep=keep))


@commands.command(epilog="Example: `XM_IDENTITY_SECRET_FILE=/run/secrets/xm xm worker`")
def worker(
    rekey: Rekey = False,
    role: Annotated[
        list[str] | None,
        typer.Option(
            help="What to do; several with commas, or repeat the option. Default: all.",
            metavar="watch|link|deliver|decide",
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(help="Processes that watch, at most one per core.", metavar="N", min=1)
    ] = 1,
) -> None:
    """Monitor the live stream: read requests from Kafka, emit alerts, decisions and metrics.

    `watch` evaluates keys, `link` finds campaigns, `deliver` sends alerts to receivers, `decide`
    answers gateways. Each role is a process of its own; several roles under one command share one
    web port. `--role decide` alone is `xm serve`.

    Start several workers with the same settings to share the partitions. If your gateway writes
    messages without a key, start all of them with `--rekey`.
    """
    roles = roles_of(role)
    if roles == [Role.decide]:
        serve()
        return
    settings = config.load()
    from_settings(settings)  # a missing secret is reported before the slow imports
    if len(roles) > 1 or processes > 1:
        from pipelines.supervisor.run import run_roles

        raise typer.Exit(run_roles(settings, roles, processes=processes, rekey=rekey))
    from pipelines.worker.app import run_worker

    run_worker(settings, roles[0], rekey=rekey)


@commands.command(epilog="Example: `XM_SERVE__PORT=6067 xm serve`")
def serve() -> None:
    """Answer gateways: look-ups, the change feed, and changes by people, from memory.

    Needs Redis, not Kafka. Start as many as you like; each keeps a copy of all decisions.
    """
    settings = config.load()
    from_settings(settings)
    from pipelines.decide.process import run_service

    run_service(settings)


@commands.command(epilog="Example: `xm token alice --right change >>tokens`")
def token(
    name: Annotated[str, typer.Argument(help="Who uses it; it is in the audit.")],
    right: Annotated[
        Access, typer.Option(help="`look` permits to look up, `change` also to change.")
    ] = Access.look,
    as_json: AsJson = False,
) -> None:
    """Make a token for the decision service or the forwarder.

    Prints the line for XM_SERVE__TOKENS_FILE or XM_FORWARD__TOKENS_FILE, and the token itself on
    standard error.
    """
    made, line = new_token(name, right.value)
    if as_json:
        done({"token": made, "line": line}, as_json, "")
        return
    stderr.print(made, markup=False)
    typer.echo(line)


@topics_app.command("create", epilog="Example: `XM_KAFKA=kafka:9092 xm topics create`")
def topics_create(rekey: Rekey = False, as_json: AsJson = False) -> None:
    """Create missing topics with the partitions and retention from the settings."""
    settings = config.load()
    from pipelines.kafka.topics import create

    made = create(settings, rekey=rekey)
    done(dict(made), as_json, "\n".join(f"{name}: {outcome}" for name, outcome in made))


@commands.command(epilog="Example: `xm produce day.jsonl --speed 60`")
def produce(
    file: RequestFile,
    speed: Annotated[
        float | None,
        typer.Option(help="Send at N times the recorded speed.", metavar="N", min=1e-3),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Send N requests per second.", metavar="N", min=1e-3)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send recorded requests to Kafka, at full speed unless a rate or a speed is set."""
    settings = config.load()
    from pipelines.show.progress import bar
    from pipelines.traffic.producer import send_file
    from pipelines.traffic.schedule import SendSchedule

    rejected: list[str] = []
    with bar("Sending") as progress:
        sent = asyncio.run(
            send_file(
                file,
                settings.kafka,
                settings.topics.requests,
                mapping=settings.mapping,
                schedule=SendSchedule(speed, rate),
                security=settings.kafka_security,
                compression=settings.kafka_compression,
                on_progress=lambda _sent, source: progress(source),
                on_rejections=lambda rejections: rejected.extend(rejections.lines()),
            )
        )
    lines = [
        f"{sent.acknowledged:,} messages in {settings.topics.requests}, "
        f"{sent.keyless:,} without a key, {sent.refused:,} rejected as too large.",
        *(f"  The worker rejects: {line}" for line in rejected),
    ]
    facts = {
        "topic": settings.topics.requests,
        "messages": sent.acknowledged,
        "without_key": sent.keyless,
        "too_large": sent.refused,
        "worker_rejects": rejected,
    }
    done(facts, as_json, "\n".join(lines))
