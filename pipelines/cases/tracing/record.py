"""Add the result of a trace to the cases of the marks that were asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from monitor.config import Settings
from monitor.errors import ConfigError
from monitor.evidence.entries import Traced
from monitor.evidence.keys import ring_of, signer_of
from monitor.evidence.store import CaseStore
from monitor.tracing.traces import Trace
from pipelines.cases.tracing.marks import IssuedMark
from pipelines.cases.tracing.trace import TraceReport


def record_trace(
    settings: Settings, report: TraceReport, issued: Iterable[IssuedMark], who: str
) -> Iterator[str]:
    """Add an entry to each case; a result that finds nothing is recorded as well.

    Yields:
        ids of the cases.

    Raises:
        ConfigError: if there is no key to sign with.
        StoreError: if Redis does not answer.
    """
    signer = signer_of(settings)
    if signer is None:
        raise ConfigError("Entries of cases are signed: set XM_CASES__KEY_FILE.")
    store = CaseStore(settings.redis_url, ring_of(settings), signer)
    traces = {each.mark: each for each in report.traces}
    for mark in issued:
        for case in mark.cases:
            store.append(case, _entry(report, traces[mark.mark]), who)
            yield case


def _entry(report: TraceReport, trace: Trace) -> Traced:
    result: dict[str, float | int | str | bool | None] = {
        "mark": trace.mark,
        "found": trace.corrected <= report.level,
        "corrected": trace.corrected,
        "level": report.level,
        "marks_asked": len(report.traces),
        "outputs": report.outputs,
        "tokens": report.tokens,
    }
    if trace is report.traces[0]:
        result["outputs_alone"] = report.alone
    for test in trace.tests:
        for name in ("trials", "agree", "expected", "z", "p", "corrected"):
            result[f"{test.kind}_{name}"] = getattr(test, name)
    return Traced(report.model, report.digest, result)
