"""Test the outputs of a suspect model for the marks of all campaigns.

The outputs are a file with one JSON object per line: `output`, and `prompt` if it is known. Scheme
`fixed` and `context` need the tokens of the server that marked: its tokenizer, or `tokens` in each
line. Wordings and canaries need only the text.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from monitor.config import Settings
from monitor.errors import InputError
from monitor.tracing.choices import Canary, Wordings, load_canaries, load_groups
from monitor.tracing.marks import marking_secret
from monitor.tracing.significance import Trials, tail
from monitor.tracing.suspect import (
    Counts,
    Output,
    Tokens,
    canary_trials,
    count,
    token_trials,
    wording_trials,
)
from monitor.tracing.traces import Shown, Trace, Tracer, ranked
from monitor.tracing.watermark import SCHEMES, Watermark

LEVEL = 0.01  # corrected probability from which a trace is claimed
_ALONE = 1e-6  # probability from which one output shows a mark on its own
_POINTS = 12  # of the curve of growing evidence
_RANDOM_MARKS = 200


class Line(msgspec.Struct):
    """One output of the suspect model.

    Attributes:
        tokens: of the output, by the tokenizer of the server that marked; instead of a tokenizer.
    """

    output: str
    prompt: str | None = None
    tokens: list[int] | None = None


class Sample(msgspec.Struct):
    """Outputs that were read.

    Attributes:
        digest: SHA-256 of the file.
        tokens: of each output; `None` without a tokenizer.
        prompts: the tokens of each known prompt.
    """

    outputs: list[Output]
    digest: str
    tokens: list[Tokens] | None = None
    prompts: list[Tokens] = []


class Growth(msgspec.Struct):
    """Standard deviations of a test after the first outputs: even growth means that all of them
    show the mark, a jump that a few do."""

    outputs: list[int]
    z: list[float]


class TraceReport(msgspec.Struct):
    """What was tested, and what was found.

    Attributes:
        model: what the person who asks calls it.
        digest: SHA-256 of the file of outputs.
        tokens: in all outputs; `None` without a tokenizer.
        traces: the most significant first.
        claimed: how many of them are significant.
        alone: outputs that show the first mark on their own, as quoted responses do; `None` if no
            test of tokens found it.
        growth: of the first trace's evidence in tokens.
    """

    model: str
    digest: str
    outputs: int
    tokens: int | None
    level: float
    traces: list[Trace]
    claimed: int
    alone: int | None = None
    growth: Growth | None = None


class Encoder(Protocol):
    """A tokenizer, as of the package `tokenizers`."""

    def encode(self, sequence: str, *, add_special_tokens: bool) -> Any:
        """The tokens of a text, as attribute `ids`."""


def read_sample(path: Path, tokenizer: Encoder | None) -> Sample:
    """Read a file of outputs.

    Raises:
        InputError: if it cannot be read or has no outputs.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    lines = list(_lines(data, path))
    if not lines:
        raise InputError(f"{path} has no outputs: write one JSON object per line with `output`.")
    sample = Sample(
        [Output(each.output, each.prompt) for each in lines], hashlib.sha256(data).hexdigest()
    )
    if all(each.tokens is not None for each in lines):
        sample.tokens = [np.array(each.tokens, np.int64) for each in lines]
    elif tokenizer is not None:
        sample.tokens = [_tokens(tokenizer, each.output) for each in lines]
    if tokenizer is not None:
        sample.prompts = [_tokens(tokenizer, each.prompt) for each in lines if each.prompt]
    return sample


def trace(
    settings: Settings,
    sample: Sample,
    subjects: dict[str, str],
    *,
    model: str = "",
    ordinary: Sample | None = None,
) -> TraceReport:
    """Test a sample for marks.

    Args:
        subjects: by mark id.
        ordinary: outputs of the own model without marks: the tests become more powerful.

    Raises:
        ConfigError: if there is no secret, or a file of wordings or canaries cannot be used.
    """
    tracing = settings.tracing
    wordings = Wordings(load_groups(tracing.variants_file))
    canaries = load_canaries(tracing.canaries_file) if tracing.canaries_file else []
    secret = marking_secret(settings)
    tracer = Tracer(secret, tracing.share, wordings, canaries)
    shown = _shown(sample, ordinary, wordings, canaries)
    traces = ranked([Trace(mark, of, tracer.tests(shown, mark)) for mark, of in subjects.items()])
    report = TraceReport(
        model=model,
        digest=sample.digest,
        outputs=len(sample.outputs),
        tokens=None if sample.tokens is None else sum(map(len, sample.tokens)),
        level=LEVEL,
        traces=traces,
        claimed=sum(each.corrected <= LEVEL for each in traces),
    )
    if traces and sample.tokens is not None:
        _describe_first(report, sample, secret, tracing.share)
    return report


def random_marks(number: int = _RANDOM_MARKS) -> dict[str, str]:
    """Marks that nobody has: what chance alone looks like."""
    return {f"m_{random.getrandbits(128):032x}": "random" for _ in range(number)}


def _shown(
    sample: Sample, ordinary: Sample | None, wordings: Wordings, canaries: Sequence[Canary]
) -> Shown:
    tokens = {}
    if sample.tokens is not None:
        found, prompts = count(sample.tokens), count(sample.prompts)
        usual: Counts | None = None
        if ordinary is not None and ordinary.tokens is not None:
            usual = count(ordinary.tokens)
        tokens = {scheme: token_trials(found, prompts, scheme, usual) for scheme in SCHEMES}
    return Shown(
        tokens,
        wording_trials(sample.outputs, wordings),
        canary_trials(sample.outputs, canaries),
    )


def _describe_first(report: TraceReport, sample: Sample, secret: bytes, share: float) -> None:
    """How the evidence for the first mark is spread over the outputs."""
    first = report.traces[0]
    tests = [each for each in first.tests if each.kind in SCHEMES]
    best = min(tests, key=lambda each: each.p, default=None)
    if best is None or sample.tokens is None:
        return
    scheme = next(each for each in SCHEMES if each == best.kind)
    watermark = Watermark.of(secret, first.mark, scheme, share)
    prompts = count(sample.prompts)

    def agreement(tokens: Iterable[Tokens]) -> tuple[int, int]:
        trials = token_trials(count(tokens), prompts, scheme)
        if len(trials.tokens) == 0:
            return 0, 0
        return len(trials.tokens), int(watermark.has(trials.previous, trials.tokens).sum())

    points = sorted({round(n) for n in np.linspace(1, len(sample.tokens), _POINTS)})
    growth = [agreement(sample.tokens[:n]) for n in points]
    report.growth = Growth(
        points, [(k - n * share) / max(n * share * (1 - share), 1.0) ** 0.5 for n, k in growth]
    )
    if report.claimed and best.corrected <= report.level:
        each = [agreement([tokens]) for tokens in sample.tokens]
        report.alone = sum(tail([Trials(1, n, share)], k) <= _ALONE for n, k in each)


def _lines(data: bytes, path: Path) -> Iterator[Line]:
    decoder = msgspec.json.Decoder(Line)
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            try:
                yield decoder.decode(line)
            except (msgspec.MsgspecError, ValueError) as error:
                raise InputError(f"Line {number} of {path} is not an output: {error}.") from error


def _tokens(tokenizer: Encoder, text: str) -> Tokens:
    return np.array(tokenizer.encode(text, add_special_tokens=False).ids, np.int64)
