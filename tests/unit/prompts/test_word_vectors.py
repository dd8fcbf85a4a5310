from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from monitor.errors import ConfigError
from monitor.prompts import word_vectors as module
from monitor.prompts.cleaning.windows import LIMIT
from monitor.prompts.extractor import Extractor
from monitor.prompts.kernel import MEANING
from monitor.prompts.normalise import Texts
from pipelines.simulation.users import SERVICES, TEMPLATES, grammar

FOLDER = module.folder()
RULES = (*SERVICES, *TEMPLATES, "cooking", "coding", "deutsch", "sweep", "trace", "grade")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(FOLDER / module.TOKENIZER))


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    (matrix,) = load_file(FOLDER / module.WEIGHTS).values()
    return matrix[:, :MEANING].astype(float)


def cosines(prompts: list[str], tokenizer: Tokenizer, matrix: np.ndarray) -> np.ndarray:
    """Between ours and what the library's tokenizer and matrix say of prompts in lower case."""
    lowered = [prompt.lower() for prompt in prompts]
    encoded = tokenizer.encode_batch(lowered, add_special_tokens=False)
    theirs = np.array([matrix[each.ids].mean(axis=0) for each in encoded])
    ours = Extractor(b"1")(Texts.of(prompts)).meaning.astype(float)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return (ours * theirs).sum(axis=1) / lengths


def test_meaning_agrees_with_the_library(tokenizer, matrix):
    random = Random(9)
    said = (grammar().generate(RULES[i % len(RULES)], random) for i in range(1500))
    found = cosines([each for each in said if len(each) <= LIMIT], tokenizer, matrix)
    assert np.median(found) > 0.999
    assert found.min() > 0.98


@pytest.mark.parametrize(
    "prompt",
    [
        "Hello",
        "    def f(x):\n        return  x[0]  # (sic!)",
        "https://example.com/?q=a&b=12345",
        "Donaudampfschifffahrtsgesellschaftskapitän naïve façade",
        "Что такое хорошо и что такое плохо?",
        "こんにちは、世界。日本語の文章です",
        "नमस्ते दुनिया, यह एक वाक्य है",
        "مرحبا بالعالم",
        "emoji 🙂🚀 and “quotes” — done…",
        "tabs\tand\r\nlines\n\n\nend   ",
        "CamelCase snake_case SHOUTING xK9fQ2",
    ],
)
def test_tokens_agree_with_the_library(tokenizer, matrix, prompt):
    assert cosines([prompt], tokenizer, matrix)[0] > 0.97


def test_missing_vectors_are_refused_with_a_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "folder", lambda: tmp_path)
    with pytest.raises(ConfigError, match="wordllama"):
        module.tokens.__wrapped__()


def test_vectors_package_is_found():
    assert (Path(FOLDER) / module.WEIGHTS).is_file()
