"""Several parts give one text, in which each has a fair share."""

import numpy as np
import pytest

from monitor.prompts.cleaning.judged_text import judged_texts
from monitor.prompts.cleaning.windows import LIMIT
from monitor.requests.parts import Parts
from monitor.requests.turns import USER, Part


def judged(texts, keep=None, seed=1):
    parts = Parts.of([[Part(USER, text) for text in texts], []])
    rng = np.random.default_rng(seed)
    parts.hashes[:] = rng.integers(1, 2**63, len(texts), np.uint64)
    keep = np.ones(len(texts), np.bool_) if keep is None else np.array(keep)
    prompts = judged_texts(parts.data, parts.places, parts.hashes, parts.ranges, keep)
    data = prompts.data.tobytes()
    first, second = (data[begin:end].decode() for begin, end in prompts.places.tolist())
    assert second == ""
    return first


def test_parts_are_joined_in_their_order():
    assert judged(["Explain.", "Every step", "- of this"]) == "Explain.\nEvery step\n- of this"


def test_sentence_that_is_split_is_joined_again():
    assert judged(["Explain every", "step of", "this."]) == "Explain every step of this."


def test_parts_that_are_not_chosen_are_left_out():
    assert judged(["one", "two", "three"], [True, False, True]) == "one three"
    assert judged(["one", "two"], [False, True]) == "two"
    assert judged(["one", "two"], [False, False]) == ""


def test_single_part_is_whole():
    text = "word " * LIMIT
    assert judged([text]) == text


def test_short_part_beside_a_long_one_is_whole():
    found = judged(["x" * 50_000, "Explain every step."])
    assert found.endswith("\nExplain every step.")
    assert LIMIT * 0.9 < len(found) <= LIMIT


def test_equal_parts_get_equal_shares():
    found = judged([letter * 5_000 for letter in "abcd"])
    counts = [found.count(letter) for letter in "abcd"]
    assert max(counts) - min(counts) < 8
    assert sum(counts) > LIMIT * 0.9


@pytest.mark.parametrize("size", [30, 400, 5_000])
def test_longest_of_many_parts_is_read(size):
    texts = [f"{i:02d} " + "y" * size for i in range(200)]
    texts[117] = "task " * size
    found = judged(texts)
    assert "task task" in found
    assert len(found) <= LIMIT


def test_which_of_many_parts_are_read_depends_on_the_secret():
    texts = [f"{i:03d} " + "y" * 300 for i in range(100)]
    texts[50] = "task " * 50
    seen = ["task task" in judged(texts, seed=seed) for seed in range(60)]
    assert 0 < sum(seen) < 30


def test_characters_are_not_cut():
    found = judged(["漢字かな🙂é" * 500, "Grüße 🙂" * 300])
    assert "\ufffd" not in found
    assert len(found.encode()) <= LIMIT + 16


def test_middle_of_a_long_part_depends_on_its_hash():
    text = "".join(f"{i:05d} " for i in range(5_000))
    assert judged([text, "a"], seed=1) != judged([text, "a"], seed=2)
