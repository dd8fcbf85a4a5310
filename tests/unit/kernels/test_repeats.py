"""Equal texts get equal results, whatever is remembered."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from monitor.kernels.buffers import Prompts
from monitor.kernels.repeats import Arrays, Repeats

KEY = bytes(range(16))
WORDS = [f"text {i}" for i in range(50)] + ["", "longer " * 40]


def process(texts: Prompts) -> Arrays:
    sizes = texts.sizes
    firsts = np.where(sizes > 0, texts.data[texts.places[:, 0]], 0)
    lasts = np.where(sizes > 0, texts.data[texts.places[:, 1] - 1], 0)
    return sizes, np.stack([firsts, lasts], axis=1), sizes % 2 == 0


def batches() -> list[Prompts]:
    draw = np.random.default_rng(7)
    return [Prompts.of(draw.choice(WORDS, draw.integers(0, 60)).tolist()) for _ in range(40)]


def assert_equal(results: Arrays, expected: Arrays) -> None:
    for result, array in zip(results, expected, strict=True):
        assert result.dtype == array.dtype
        np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("slots", [1, 8, 1024])
def test_results_do_not_depend_on_what_is_remembered(slots: int) -> None:
    repeats = Repeats(process, KEY, slots=slots)
    for texts in batches():
        assert_equal(repeats(texts), process(texts))


def test_repeated_texts_are_processed_once() -> None:
    repeats = Repeats(process, KEY)
    for texts in batches():
        repeats(texts)
    assert repeats.processed <= len(WORDS)


def test_results_may_be_changed_by_their_user() -> None:
    repeats, texts = Repeats(process, KEY), Prompts.of(["one", "two", "one"])
    for result in repeats(texts):
        result[:] = 0
    assert_equal(repeats(texts), process(texts))


def test_failed_batch_leaves_nothing_behind() -> None:
    failing = [True]

    def process_or_fail(texts: Prompts) -> Arrays:
        if len(texts.places) and failing:
            failing.clear()
            raise MemoryError
        return process(texts)

    repeats, texts = Repeats(process_or_fail, KEY), Prompts.of(["one", "two", "one"])
    with pytest.raises(MemoryError):
        repeats(texts)
    assert_equal(repeats(texts), process(texts))


def test_hash_depends_on_key() -> None:
    def hashes(key: bytes) -> npt.NDArray[np.uint64]:
        repeats = Repeats(process, key, slots=1)
        repeats(Prompts.of(["one"]))
        return repeats._hashes

    assert hashes(KEY) != hashes(bytes(16))
