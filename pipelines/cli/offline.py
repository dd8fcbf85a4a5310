"""Commands that need no server: replay, simulate, evaluate."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from monitor import config
from monitor.errors import ConfigError
from pipelines.cli.options import (
    AsJson,
    Overturned,
    RequestFile,
    check_pseudonym,
    done,
    has_secret,
    output,
    output_file,
    stderr,
    time_of,
    with_secret,
)

if TYPE_CHECKING:
    from monitor.batch import Outcome
    from pipelines.inspect.key_trace import KeyTrace
    from pipelines.traffic.recording import Recording
    from pipelines.traffic.replay import Replayed

commands = typer.Typer()


@commands.command(epilog="Example: `xm replay day.jsonl.gz --alerts alerts.jsonl`")
def replay(
    files: Annotated[
        list[str], typer.Argument(help="Request files, folders or patterns; - is stdin.")
    ],
    alerts: Annotated[
        Path | None, typer.Option(help="Write alerts to this file, one JSON object per line.")
    ] = None,
    plain_keys: Annotated[
        bool,
        typer.Option("--plain-keys", help="Keep API keys readable. For labelled data only."),
    ] = False,
    explain: Annotated[
        str | None, typer.Option(metavar="KEY", help="Explain this key at the end.")
    ] = None,
    campaigns: Annotated[
        bool, typer.Option("--campaigns", help="List campaigns at the end.")
    ] = False,
    graphs: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Draw each campaign into this folder. Needs the extra `plot`."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run recorded requests through the same engine as a worker, without Kafka or Redis.

    Files may be in any order and format: JSON lines, arrays, CSV, Parquet; gzip, zstd, bz2, xz,
    zip. Exit status 1: nothing, or less than half, could be read.
    """
    settings = config.load()
    if explain is not None and not plain_keys:
        check_pseudonym(explain, "The key of --explain", "Name an API key only with --plain-keys")
        if not has_secret(settings):
            raise ConfigError(
                "--explain needs the secret that gave the pseudonym. Set XM_IDENTITY_SECRET, or "
                "name an API key with --plain-keys."
            )
    from monitor.identity import from_settings
    from monitor.requests.decoder import Decoder
    from pipelines.show.progress import bar
    from pipelines.show.replay import show
    from pipelines.traffic.recording import Recording
    from pipelines.traffic.replay import replay_recording

    if graphs is not None:
        from pipelines.show.style import require_plot_extra

        require_plot_extra()
    if explain is not None:
        from pipelines.inspect.key_trace import KeyTrace
        from pipelines.show import key
    if not has_secret(settings) and not plain_keys:
        stderr.print("XM_IDENTITY_SECRET is not set. Pseudonyms are valid for this run only.")
    settings = with_secret(settings)
    identity = from_settings(settings, plain=plain_keys)

    def run(recording: Recording) -> tuple[Replayed, KeyTrace | None]:
        trace = None if explain is None else KeyTrace(explain)
        written.seek(0)
        written.truncate()

        def on_outcome(outcome: Outcome) -> None:
            if trace is not None:
                trace.record(outcome)
            if alerts is not None:
                written.writelines(msgspec.json.encode(alert) + b"\n" for alert in outcome.alerts)

        replayed = replay_recording(
            recording, settings, identity, on_evaluation=trace, on_outcome=on_outcome
        )
        return replayed, trace

    with bar("Replaying") as progress, output_file(alerts, "--alerts") as out:
        # A replay may begin again, and a pipe cannot.
        written = out if out is not None and out.seekable() else BytesIO()
        replayed, trace = Recording(files, Decoder.of(settings), progress=progress).run(run)
        if out is not None and isinstance(written, BytesIO):
            out.write(written.getvalue())
    summary = replayed.summary
    if not summary.read:
        if replayed.damage is not None:
            raise replayed.damage
        stderr.print(summary.rejected.why_nothing(files), markup=False)
        raise typer.Exit(1)
    if not as_json:
        show(summary)
    shards = list(replayed.linker.partitions.values())
    found = None
    if campaigns:
        from pipelines.inspect.campaigns import list_campaigns

        found = list_campaigns(shards, ended=True)
    explained = None
    if trace is not None:
        explained = trace.explain(replayed.engine, replayed.store, settings)
    if as_json:
        whole = {**summary.as_object(), "campaigns": found, "explained": explained}
        typer.echo(msgspec.json.encode(whole).decode())
    elif found is not None:
        from pipelines.show import campaigns as campaigns_table

        campaigns_table.show(found)
    if graphs is not None:
        from pipelines.show import export

        export.write_graphs(shards, graphs)
    if explained is not None and not as_json:
        key.show(explained)
    if replayed.damage is not None:
        raise replayed.damage
    if summary.mostly_unreadable:
        raise typer.Exit(1)


@commands.command(epilog="Example: `xm simulate day.jsonl.gz --hours 24`")
def simulate(
    out: Annotated[Path, typer.Argument(help="Write requests here; gzip if it ends in .gz.")],
    hours: Annotated[
        float, typer.Option(help="Hours of simulated traffic.", metavar="N", min=0.01)
    ] = 24.0,
    keys: Annotated[int, typer.Option(help="Number of ordinary keys.", metavar="N", min=1)] = 400,
    seed: Annotated[
        int, typer.Option(help="Random seed: the same seed gives the same traffic.", metavar="N")
    ] = 1,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Of the first request: now, a time before now such as -2h, or an RFC 3339 time. "
            "Default: 2026-03-02T00:00:00Z.",
        ),
    ] = None,
    attacks: Annotated[bool, typer.Option(help="Add a scraper and fleets that extract.")] = True,
    lookalikes: Annotated[
        bool,
        typer.Option(
            help="Add honest groups: one customer's keys, two courses, a client library's users."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write labelled traffic: ordinary keys and keys that extract the model."""
    from pipelines.simulation.scenario import Scenario, save_traffic

    scenario = Scenario(seed=seed, hours=hours, keys=keys, attacks=attacks, lookalikes=lookalikes)
    if start is not None:
        scenario = replace(scenario, start=time_of(start))
    requests, labels = save_traffic(scenario, out)
    done(
        {"requests": requests, "file": out, "labels": labels},
        as_json,
        f"Wrote {requests:,} requests to {out} and the labels of their keys to {labels}.",
    )


@commands.command(
    epilog="Example: `xm evaluate day.jsonl.gz --labels day.labels.json --out pictures`"
)
def evaluate(
    traffic: RequestFile,
    labels: Annotated[
        Path, typer.Option(help="The class of each key, as `xm simulate` writes it.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Draw into this folder. Needs the extra `plot`.")
    ] = None,
    overturned: Overturned = False,
    as_json: AsJson = False,
) -> None:
    """Measure detection on labelled traffic: recall, requests to detection, false alerts."""
    settings = with_secret(config.load())
    from pipelines.cases.review.ordinary import overturned_keys
    from pipelines.modelling.evaluate import build_report
    from pipelines.modelling.labelled_replay import replay_labelled
    from pipelines.show import evaluation, evaluation_plots
    from pipelines.show.progress import bar
    from pipelines.show.style import require_plot_extra
    from pipelines.traffic.labels import load_labels

    if out is not None:
        require_plot_extra()
    with bar("Replaying") as progress:
        replay = replay_labelled(
            traffic,
            load_labels(labels),
            settings,
            ordinary_keys=overturned_keys(settings) if overturned else frozenset(),
            progress=progress,
        )
    report = build_report(replay, settings)
    output(report, as_json, evaluation.show)
    if out is not None:
        evaluation_plots.draw(replay, report, settings, out)
