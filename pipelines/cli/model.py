"""Commands that fit the monitor to a deployment's own traffic: learn, calibrate."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Container
from pathlib import Path
from typing import Annotated

import typer

from monitor import config
from pipelines.cli.options import AsJson, Overturned, done

commands = typer.Typer()

Recordings = Annotated[list[str], typer.Argument(help="Recordings of ordinary traffic.")]
Source = Annotated[str, typer.Option(help="A note on where the traffic comes from.")]


@commands.command(
    epilog="Example: `xm calibrate ordinary-*.jsonl.gz --out public.json --false-alerts-per-day 1`"
)
def calibrate(
    files: Recordings,
    out: Annotated[Path, typer.Option(help="Write the baseline here (XM_REFERENCE).")],
    false_alerts_per_day: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Also fit alert thresholds, into a .toml file beside the baseline: at most N "
            "ordinary keys per day get a warning or critical alert.",
            min=1e-3,
        ),
    ] = None,
    keys: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Ordinary keys per day in the deployment, if the recording has only a part.",
            min=1,
        ),
    ] = None,
    weight: Annotated[
        float,
        typer.Option(
            metavar="N", help="Weight of the baseline against live traffic, in key-days.", min=1
        ),
    ] = 20_000.0,
    source: Source = "",
    as_json: AsJson = False,
) -> None:
    """Build a baseline from ordinary traffic. It holds statistics only, no prompt.

    With `--false-alerts-per-day`, each half of the keys is scored against the other half, and
    the alert thresholds are fitted to the accepted number. Load the result with XM_CONFIG.
    """
    settings = config.load()
    from pipelines.modelling.calibrate import save_calibration
    from pipelines.show import calibration
    from pipelines.show.progress import bar

    with bar("Reading") as progress:
        key_days, made = save_calibration(
            files,
            settings,
            out,
            weight=weight,
            source=source or ", ".join(files),
            false_alerts=false_alerts_per_day,
            keys=keys,
            command=shlex.join(["xm", *sys.argv[1:]]),
            progress=progress,
        )
    if made is not None and not as_json:
        calibration.show(made)
    use = f"XM_REFERENCE={out}" if made is None else f"XM_CONFIG={out.with_suffix('.toml')}"
    done(
        {"key_days": key_days, "file": out, "use": use, "thresholds": made},
        as_json,
        f"Wrote {key_days:,.0f} key-days to {out}. Use it with {use}.",
    )


@commands.command(epilog="Example: `xm learn ordinary-*.jsonl.gz --out content.json`")
def learn(
    files: Recordings,
    out: Annotated[Path, typer.Option(help="Write the content model here (XM_CONTENT).")],
    lists: Annotated[
        list[str] | None,
        typer.Option(
            "--list",
            help="Distillation prompts of one kind, one JSON string per line: code.jsonl, "
            "reasoning.jsonl, sweep.jsonl, cot.jsonl or grader.jsonl. Repeat for every kind.",
        ),
    ] = None,
    overturned: Overturned = False,
    source: Source = "",
    as_json: AsJson = False,
) -> None:
    """Fit the content model to ordinary prompts. It holds statistics only, no prompt.

    Its classifiers of distillation prompts stay as shipped, unless there is a `--list` for every
    kind. Run `xm calibrate` afterwards: thresholds depend on this model.
    """
    settings = config.load()
    from pipelines.modelling.learn import learn_content
    from pipelines.show.progress import bar

    keys: Container[str] = frozenset()
    if overturned:
        from pipelines.cases.review.ordinary import overturned_keys

        keys = overturned_keys(settings)
    with bar("Reading") as progress:
        ordinary, listed = learn_content(
            files,
            lists or [],
            settings,
            out,
            source=source or ", ".join(files),
            ordinary_keys=keys,
            progress=progress,
        )
    classifiers = f"{listed:,} distillation prompts" if listed else "the shipped classifiers"
    done(
        {"prompts": ordinary, "listed": listed, "file": out, "use": f"XM_CONTENT={out}"},
        as_json,
        f"Wrote a model of {ordinary:,} ordinary prompts and {classifiers} to {out}. "
        f"Use it with XM_CONTENT={out}.",
    )
