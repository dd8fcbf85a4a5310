"""Test the outputs of a suspect model for the marks of all campaigns.

The outputs are a file with one JSON object per line: `output`, and `prompt` if it is known. Scheme
`fixed` and `context` need the tokens of the server that marked: its tokenizer, or `tokens` in each
line. Wordings and canaries need only the text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from monitor.config import Settings
from monitor.errors import InputError
from monitor.identity import from_settings
from monitor.tracing.choices import Canary, Wordings, load_canaries, load_groups
from monitor.tracing.marks import marking_secret
from monitor.tracing.responses.overlap import overlap
from monitor.tracing.responses.sketch import Sketch, Sketcher
from monitor.tracing.responses.store import OTHERS, ResponseStore
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
from monitor.tracing.traces import Shown, Test, Trace, Tracer, ranked
from monitor.tracing.watermark import SCHEMES

LEVEL = 0.01  # corrected probability from which a trace is claimed
_ALONE = 1e-6  # probability from which one output shows a mark on its own
_FORM = 'write a JSON object per line, {"prompt": "…", "output": "…"}; the prompt may be left out.'
_POINTS = 12  # of the curve of growing evidence


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


class Seen(NamedTuple):
    """Sketches of responses.

    Attributes:
        given: to each subject.
        controls: to other keys at the same time.
    """

    sketcher: Sketcher
    given: Mapping[str, Sequence[Sketch]]
    controls: Sequence[Sketch]


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
        raise InputError(f"{path} has no outputs: {_FORM}")
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
    seen: Seen | None = None,
) -> TraceReport:
    """Test a sample for marks, and for the responses that were seen.

    Args:
        subjects: by mark id.
        seen: sketches of responses; default: they are not compared.
        ordinary: outputs of the own model without marks: the tests become more powerful.

    Raises:
        ConfigError: if there is no secret, or a file of wordings or canaries cannot be used.
    """
    tracing = settings.tracing
    wordings = Wordings(load_groups(tracing.variants_file))
    canaries = load_canaries(tracing.canaries_file) if tracing.canaries_file else []
    tracer = Tracer(marking_secret(settings), tracing.share, wordings, canaries)
    shown = _shown(sample, ordinary, wordings, canaries)
    traces = [Trace(mark, of, tracer.tests(shown, mark)) for mark, of in subjects.items()]
    if seen is not None:
        _add_overlap(traces, sample, seen)
    traces = ranked(traces)
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
        _describe_first(report, sample, ordinary, tracer, tracing.share)
    return report


def seen_by(settings: Settings, subjects: Iterable[str]) -> Seen | None:
    """The sketches of responses to subjects; `None` without the secret that made them.

    Raises:
        StoreError: if Redis does not answer.
    """
    if settings.identity_secret is None and settings.identity_secret_file is None:
        return None
    store = ResponseStore(settings.redis_url)
    known = {*store.subjects()}
    given = {
        subject: store.read([subject]) for subject in dict.fromkeys(subjects) if subject in known
    }
    key = from_settings(settings).derive("responses")
    return Seen(Sketcher(key), given, store.read([OTHERS]))


def _shown(
    sample: Sample, ordinary: Sample | None, wordings: Wordings, canaries: Sequence[Canary]
) -> Shown:
    tokens = {}
    if sample.tokens is not None:
        found, prompts, usual = count(sample.tokens), count(sample.prompts), _counted(ordinary)
        tokens = {scheme: token_trials(found, prompts, scheme, usual) for scheme in SCHEMES}
    return Shown(
        tokens,
        wording_trials(sample.outputs, wordings),
        canary_trials(sample.outputs, canaries),
    )


def _add_overlap(traces: Sequence[Trace], sample: Sample, seen: Seen) -> None:
    """Add the test of the responses seen to the first mark of each subject."""
    outputs = "\n".join(each.text for each in sample.outputs)
    prompts = "\n".join(each.prompt or "" for each in sample.outputs)
    said = np.setdiff1d(seen.sketcher.runs(outputs), seen.sketcher.runs(prompts))
    tested: set[str] = set()
    for each in traces:
        given = seen.given.get(each.subject)
        if given and each.subject not in tested:
            tested.add(each.subject)
            found = overlap(said, given, seen.controls)
            each.tests.append(Test("responses", *found[:5]))


def _describe_first(
    report: TraceReport, sample: Sample, ordinary: Sample | None, tracer: Tracer, share: float
) -> None:
    """How the evidence for the first mark is spread over the outputs."""
    first = report.traces[0]
    tests = [each for each in first.tests if each.kind in SCHEMES]
    best = min(tests, key=lambda each: each.p, default=None)
    if best is None or sample.tokens is None:
        return
    scheme = next(each for each in SCHEMES if each == best.kind)
    prompts, usual = count(sample.prompts), _counted(ordinary)

    def test(tokens: Sequence[Tokens], usual: Counts | None) -> Test:
        trials = token_trials(count(tokens), prompts, scheme, usual)
        return tracer.token_test(trials, scheme, first.mark)

    points = sorted({round(n) for n in np.linspace(1, len(sample.tokens), _POINTS)})
    report.growth = Growth(points, [test(sample.tokens[:n], usual).z for n in points])
    if report.claimed and best.corrected <= report.level:
        alone = [test([tokens], None) for tokens in sample.tokens]
        found = (tail([Trials(1, each.trials, share)], each.agree) for each in alone)
        report.alone = sum(p <= _ALONE for p in found)


def _counted(sample: Sample | None) -> Counts | None:
    return None if sample is None or sample.tokens is None else count(sample.tokens)


def _lines(data: bytes, path: Path) -> Iterator[Line]:
    decoder = msgspec.json.Decoder(Line)
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            try:
                yield decoder.decode(line)
            except (msgspec.MsgspecError, ValueError) as error:
                raise InputError(
                    f"Line {number} of {path} is not an output ({error}): {_FORM}"
                ) from error


def _tokens(tokenizer: Encoder, text: str) -> Tokens:
    return np.array(tokenizer.encode(text, add_special_tokens=False).ids, np.int64)
