"""Traces: the tests of a suspect model's outputs for the marks of all campaigns.

Each test gives the probability that text without this mark agrees with it as well. The
probabilities are corrected for the number of all tests, so that the chance of one false claim among
all campaigns is at most the level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np

from monitor.tracing.choices import Canary, Wordings, answer_of, chosen
from monitor.tracing.marks import mark_key
from monitor.tracing.significance import Trials, deviations, holm, tail
from monitor.tracing.suspect import TokenTrials
from monitor.tracing.watermark import Scheme, Watermark

Kind = Literal["fixed", "context", "wordings", "canaries", "responses"]


class Test(msgspec.Struct):
    """One test of one mark.

    Attributes:
        trials: distinct ones.
        agree: of them.
        expected: of them by chance.
        z: standard deviations of the weighted score above chance.
        p: probability of such a score by chance.
        corrected: the same, for all tests of all marks together.
    """

    kind: Kind
    trials: int
    agree: int
    expected: float
    z: float
    p: float
    corrected: float = 1.0


class Trace(msgspec.Struct):
    """All tests of one mark.

    Attributes:
        mark: its id.
        subject: campaign or key that it was put on.
    """

    mark: str
    subject: str
    tests: list[Test]

    @property
    def corrected(self) -> float:
        """The probability of the strongest test, corrected; 1 if nothing could be tested."""
        return min((each.corrected for each in self.tests), default=1.0)


class Shown(msgspec.Struct):
    """What the outputs show, whatever the key. Empty where nothing can be tested."""

    tokens: Mapping[Scheme, TokenTrials] = {}
    wordings: Sequence[tuple[int, str, int]] = ()
    canaries: Mapping[str, str] = {}


class Tracer:
    """Tests outputs for marks.

    Args:
        secret: the marking secret.
        share: of the vocabulary that a mark favours.
    """

    def __init__(
        self, secret: bytes, share: float, wordings: Wordings, canaries: Sequence[Canary] = ()
    ) -> None:
        self._secret = secret
        self._share = share
        self._wordings = wordings
        self._canaries = {each.name: each for each in canaries}

    def trace(self, shown: Shown, subjects: Mapping[str, str]) -> list[Trace]:
        """Test for all marks, the most significant first.

        Args:
            subjects: by mark id.
        """
        traces = [Trace(mark, of, self.tests(shown, mark)) for mark, of in subjects.items()]
        return ranked(traces)

    def tests(self, shown: Shown, mark: str) -> list[Test]:
        """All tests that are possible for a mark."""
        found = [self.token_test(each, scheme, mark) for scheme, each in shown.tokens.items()]
        found += [self._wordings_of(shown.wordings, mark), self._canaries_of(shown.canaries, mark)]
        return [each for each in found if each.trials]

    def token_test(self, trials: TokenTrials, scheme: Scheme, mark: str) -> Test:
        """The test of one scheme."""
        watermark = Watermark.of(self._secret, mark, scheme, self._share)
        weights = np.abs(trials.weights)
        if len(weights) == 0:
            return _test(scheme, [], 0, 0)
        agrees = watermark.has(trials.previous, trials.tokens) == (trials.weights > 0)
        kinds = [
            Trials(int(weight), int(n), q)
            for sign, q in ((1, self._share), (-1, 1.0 - self._share))
            for weight, n in enumerate(np.bincount(weights[np.sign(trials.weights) == sign]))
        ]
        return _test(scheme, kinds, int(weights[agrees].sum()), int(agrees.sum()))

    def _wordings_of(self, found: Sequence[tuple[int, str, int]], mark: str) -> Test:
        key = mark_key(self._secret, mark, "mark wordings")
        groups, before, said = (
            (list(each) for each in zip(*found, strict=True)) if found else ([], [], [])
        )
        sizes = [len(self._wordings.groups[each].words) for each in groups]
        expected = chosen(key, groups, before, sizes)
        agree = sum(a == b for a, b in zip(said, expected, strict=True))
        return _test("wordings", _uniform(sizes), agree, agree)

    def _canaries_of(self, found: Mapping[str, str], mark: str) -> Test:
        key = mark_key(self._secret, mark, "mark canaries")
        agree = sum(
            answer == answer_of(self._canaries[name], key) for name, answer in found.items()
        )
        sizes = [len(self._canaries[name].answers) for name in found]
        return _test("canaries", _uniform(sizes), agree, agree)


def ranked(traces: Sequence[Trace]) -> list[Trace]:
    """Correct the probabilities for all tests, and put the most significant trace first."""
    tests = [test for trace in traces for test in trace.tests]
    for test, corrected in zip(tests, holm([each.p for each in tests]), strict=True):
        test.corrected = corrected
    return sorted(
        traces, key=lambda each: (each.corrected, -max((t.z for t in each.tests), default=0))
    )


def _uniform(sizes: Sequence[int]) -> list[Trials]:
    """Trials with one of several choices each."""
    return [Trials(1, sizes.count(n), 1.0 / n) for n in sorted(set(sizes))]


def _test(kind: Kind, trials: Sequence[Trials], score: int, agree: int) -> Test:
    trials = [each for each in trials if each.number and each.weight]
    return Test(
        kind,
        trials=sum(each.number for each in trials),
        agree=agree,
        expected=sum(each.number * each.probability for each in trials),
        z=deviations(trials, score),
        p=tail(trials, score),
    )
