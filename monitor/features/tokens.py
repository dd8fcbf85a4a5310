"""The static embedding that meaning comes from: wordllama's tokens, and how they are spelled.

The model is the token matrix of a language model, trained further so that the mean over a text's
tokens tells what the text is about; the first 64 of its 256 dimensions serve alone. The weights
stay in wordllama's package. The package itself is not imported: its loader would look for the
tokenizer in the wrong folder and then on the network.

Tokens are spelled by byte pair encoding (Sennrich, Haddow, Birch, ACL 2016): of all pairs of
neighbours the one that comes first in the list of merges becomes one token, again and again.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from monitor.errors import ConfigError
from monitor.features.kernel import MEANING, insert

SPACES = 16  # the longest run of spaces that is a token
BYTES = 3  # the token of byte 0

_BLANK = "▁"  # how the vocabulary writes a space
_WEIGHTS = Path("weights/l2_supercat_256.safetensors")
_TOKENIZER = Path("tokenizers/l2_supercat_tokenizer_config.json")
_SCALE = 63.9  # 64 tokens of the farthest vector still fit 16 bits


class Tokens(NamedTuple):
    """Attributes:
    rows: `(32000, MEANING) int16`, the vector of each token.
    single: `(65536,) int16`, the token of each character of the basic plane, -1 without one.
    merges: `(131072,) uint64`, hash table of left << 48 | right << 32 | rank << 16 | token.
    ascii: `(128,) int16`, the token of a character that stands alone.
    spaces: `(SPACES + 1,) int16`, the token of so many spaces.
    """

    rows: npt.NDArray[np.int16]
    single: npt.NDArray[np.int16]
    merges: npt.NDArray[np.uint64]
    ascii: npt.NDArray[np.int16]
    spaces: npt.NDArray[np.int16]


@lru_cache(1)
def tokens() -> Tokens:
    """The tables, from the installed package.

    Raises:
        ConfigError: if the package is not what it is expected to be.
    """
    folder = _folder()
    try:
        model: Any = msgspec.json.decode((folder / _TOKENIZER).read_bytes())["model"]
        (matrix,) = load_file(folder / _WEIGHTS).values()
    except OSError as error:
        raise ConfigError(
            f"{error.filename} cannot be read: install wordllama 0.4 again."
        ) from error
    vocabulary: dict[str, int] = model["vocab"]
    single = np.full(0x10000, -1, np.int16)
    for token, number in vocabulary.items():
        if len(token) == 1 and ord(token) < len(single):
            single[ord(token)] = number
    single[ord(" ")] = vocabulary[_BLANK]
    alone = np.where(single[:128] >= 0, single[:128], np.arange(128) + BYTES)
    spaces = [vocabulary[_BLANK * max(count, 1)] for count in range(SPACES + 1)]
    rows = np.rint(matrix[:, :MEANING].astype(np.float32) * _SCALE).astype(np.int16)
    return Tokens(
        np.ascontiguousarray(rows),
        single,
        _merges(model["merges"], vocabulary),
        alone.astype(np.int16),
        np.array(spaces, np.int16),
    )


def _folder() -> Path:
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("The word vectors are missing: pip install wordllama.")
    return Path(spec.submodule_search_locations[0])


def _merges(merges: list[str], vocabulary: dict[str, int]) -> npt.NDArray[np.uint64]:
    pairs = [merge.split(" ") for merge in merges]
    left = np.array([vocabulary[a] for a, _ in pairs], np.uint64)
    right = np.array([vocabulary[b] for _, b in pairs], np.uint64)
    token = np.array([vocabulary[a + b] for a, b in pairs], np.uint64)
    rank = np.arange(len(pairs), dtype=np.uint64)
    table = np.zeros(1 << 17, np.uint64)
    insert(table, left << 48 | right << 32 | rank << 16 | token)
    return table
