"""Word vectors: wordllama's static embedding, from which a prompt's meaning is computed.

The model is the token matrix of a language model, trained further so that the mean over a text's
tokens represents what the text is about. The first 64 of its 256 dimensions are usable alone. The
weights are read from wordllama's package. The package is not imported: its loader searches for the
tokenizer in the wrong folder and then on the network.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load

from monitor.errors import ConfigError
from monitor.kernels.bits import C1, U, aligned
from monitor.kernels.kept import kept
from monitor.prompts.kernel import MEANING
from monitor.prompts.segment import RUN

_BLANK = "▁"  # a space in the vocabulary
WEIGHTS = Path("weights/l2_supercat_256.safetensors")
TOKENIZER = Path("tokenizers/l2_supercat_tokenizer_config.json")
_CLIP = 5.0  # of a component before it is scaled to eight bits; exceeded by 3 in 10,000


class Tokens(NamedTuple):
    """The vocabulary as tables.

    Attributes:
        vectors: `(32000, MEANING) int8`, vector of each token.
        single: `(65536,) int16`, token of each character of the basic plane, -1 if it has none.
        spaces: `(RUN + 1,) int16`, token of a run of spaces, by its length.
        merges: `(131072,) uint64`, hash table of left << 48 | right << 32 | rank << 16 | token.
    """

    vectors: npt.NDArray[np.int8]
    single: npt.NDArray[np.int16]
    spaces: npt.NDArray[np.int16]
    merges: npt.NDArray[np.uint64]


class _Kept(NamedTuple):
    """The tables as a file has them: the bytes of each."""

    vectors: bytes
    single: bytes
    spaces: bytes
    merges: bytes


@lru_cache(1)
def tokens() -> Tokens:
    """The tables, from the installed package.

    Raises:
        ConfigError: if the package is missing or damaged.
    """
    home = folder()
    try:
        tokenizer, weights = ((home / name).read_bytes() for name in (TOKENIZER, WEIGHTS))
    except OSError as error:
        raise ConfigError(
            f"{error.filename} cannot be read. Install wordllama 0.4 again."
        ) from error
    found = kept("tokens", tokenizer + weights, _Kept, lambda: _tables(tokenizer, weights))
    vectors = aligned((len(found.vectors) // MEANING, MEANING), np.int8)
    vectors.reshape(-1)[:] = np.frombuffer(found.vectors, np.int8)
    return Tokens(
        vectors,
        np.frombuffer(found.single, np.int16).copy(),
        np.frombuffer(found.spaces, np.int16).copy(),
        np.frombuffer(found.merges, np.uint64).copy(),
    )


def _tables(tokenizer: bytes, weights: bytes) -> _Kept:
    model: Any = msgspec.json.decode(tokenizer)["model"]
    (matrix,) = load(weights).values()
    vocabulary: dict[str, int] = model["vocab"]
    single = np.full(0x10000, -1, np.int16)
    for token, number in vocabulary.items():
        if len(token) == 1 and ord(token) < len(single):
            single[ord(token)] = number
    single[ord(" ")] = vocabulary[_BLANK]
    spaces = np.array([vocabulary[_BLANK * max(count, 1)] for count in range(RUN + 1)], np.int16)
    scaled = matrix[:, :MEANING].astype(np.float32) * (127 / _CLIP)
    vectors = np.clip(np.rint(scaled), -127, 127).astype(np.int8)
    vectors[0] = 0  # the token that pads
    merges = _merges(model["merges"], vocabulary)
    return _Kept(vectors.tobytes(), single.tobytes(), spaces.tobytes(), merges.tobytes())


def folder() -> Path:
    """Where wordllama is installed."""
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("The word vectors are missing. Install them: pip install wordllama.")
    return Path(spec.submodule_search_locations[0])


def _merges(merges: list[str], vocabulary: dict[str, int]) -> npt.NDArray[np.uint64]:
    pairs = [merge.split(" ") for merge in merges]
    left = np.array([vocabulary[a] for a, _ in pairs], np.uint64)
    right = np.array([vocabulary[b] for _, b in pairs], np.uint64)
    token = np.array([vocabulary[a + b] for a, b in pairs], np.uint64)
    rank = np.arange(len(pairs), dtype=np.uint64)
    return _table(left << U(48) | right << U(32) | rank << U(16) | token)


def _table(entries: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The hash table of merges that `bpe.py` reads, with linear probing."""
    table = np.zeros(1 << 17, np.uint64)
    slots = ((entries >> U(32)) * C1) >> U(47)
    while len(entries):
        free = table[slots] == 0
        table[slots[free]] = entries[free]  # of several entries for one slot, the last one stays
        left = table[slots] != entries
        entries, slots = entries[left], (slots[left] + U(1)) & U(len(table) - 1)
    return table
