"""Tests of suspect models, as parts of documents."""

from __future__ import annotations

from monitor.evidence.entries import Traced
from pipelines.reports import words
from pipelines.reports.blocks import Block, Column, Pair, Pairs, Row, Sources, Table, Text
from pipelines.reports.evidence import Evidence

_LEAST = 1e-12  # these tests are exact, no baseline limits them

_TESTS = {  # by kind of test
    "fixed": "choice of words, one list for all",
    "context": "choice of words, a list for each word before",
    "wordings": "choice among prepared wordings",
    "canaries": "planted facts",
    "responses": "overlap with the responses that the group received",
}
_LABELS = {
    "mark": "Mark",
    "outputs": "Outputs tested",
    "tokens": "Tokens of these outputs",
    "marks_asked": "Marks that were looked for",
    "corrected": "Chance that a model without the mark agrees as well",
    "level": "Chance from which a mark counts as found",
    "outputs_alone": "Outputs that show a mark by themselves",
}
_PER_TEST = ("trials", "agree", "expected", "z", "p", "corrected")

Value = float | int | str | bool | None


def traced(evidence: Evidence) -> list[Block]:
    """Each test of a suspect model: the result in a sentence, then its numbers."""
    blocks: list[Block] = []
    for entry, trace in evidence.of(Traced):
        blocks += _trace(trace, (entry.number,))
    return blocks


def _trace(trace: Traced, source: Sources) -> list[Block]:
    result = dict(trace.result)
    found = result.pop("found", None)
    blocks: list[Block] = []
    if isinstance(found, bool):
        shows = "show" if found else "do not show"
        sentence = f"The outputs of the model {trace.model} {shows} the mark of this case."
        blocks.append(Text(sentence, source))
    rows = [Pair("Suspect model", trace.model, source)]
    tests = _tests(result, source)
    for name, value in result.items():
        chance = name in ("corrected", "level") and isinstance(value, float)
        text = words.odds(float(value or 0.0), _LEAST) if chance else _value(value)
        beside = "corrected for all marks and tests" if name == "corrected" else ""
        rows.append(Pair(_LABELS.get(name, name.replace("_", " ")), text, source, beside))
    rows.append(Pair("SHA-256 of the tested outputs", trace.outputs, source))
    blocks.append(Pairs(rows))
    if tests.rows:
        blocks.append(tests)
    return blocks


def _tests(result: dict[str, Value], source: Sources) -> Table:
    """The numbers of each kind of test; they are taken out of the result."""
    rows = []
    for kind, label in _TESTS.items():
        trials, agree, expected, _, p, _ = (
            result.pop(f"{kind}_{each}", None) for each in _PER_TEST
        )
        if trials is not None:
            chance = words.odds(p, _LEAST) if isinstance(p, int | float) else words.UNKNOWN
            rows.append(
                Row([label, _value(trials), _value(agree), _value(expected), chance], source)
            )
    columns = [
        Column("Test", 34),
        Column("Distinct pieces", 14, right=True),
        Column("Agree", 13, right=True),
        Column("By chance", 13, right=True),
        Column("Chance, this test", 18, right=True),
    ]
    return Table(columns, rows)


def _value(value: Value) -> str:
    match value:
        case None:
            return words.UNKNOWN
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return words.number(value)
        case _:
            return value
