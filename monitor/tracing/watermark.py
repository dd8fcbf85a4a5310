"""The watermark: a keyed list of tokens that a marked response contains more often.

At each step the sampler adds `strength` to the logits of the tokens on the list. A reader notices
nothing. A model that is trained on marked responses prefers the same tokens, so its outputs can be
tested for the key. Two schemes choose the list:

- `fixed`: one list per mark. A model learns it soonest, and it survives most rewriting. Whoever
  collects enough marked text can learn which frequent words are on it.
- `context`: a list per preceding token. It is hard to learn by counting, but a model adopts it
  only for the word pairs that it was trained on.

Sources: Kirchenbauer et al., "A Watermark for Large Language Models", ICML 2023 (context); Zhao et
al., "Provable Robust Watermarking for AI-Generated Text", ICLR 2024 (fixed); Sander et al.,
"Watermarking Makes Language Models Radioactive", NeurIPS 2024 (trained models, distinct n-grams).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from monitor.tracing.keyed_hash import HashKey, keyed_hash
from monitor.tracing.marks import mark_key

Scheme = Literal["fixed", "context"]
SCHEMES: tuple[Scheme, ...] = ("fixed", "context")
Tokens = npt.NDArray[np.int64]
_BITS = 32  # of the hash that are compared with the share
_NO_CONTEXT = -1


@dataclass(frozen=True, slots=True)
class Watermark:
    """The lists of one mark.

    Attributes:
        key: of the mark, for this scheme.
        share: of the vocabulary on a list.
    """

    key: HashKey
    scheme: Scheme
    share: float

    @classmethod
    def of(cls, secret: bytes, mark: str, scheme: Scheme, share: float) -> Watermark:
        """The watermark of a mark id.

        Args:
            secret: the marking secret.
        """
        return cls(mark_key(secret, mark, f"mark {scheme}"), scheme, share)

    def has(self, previous: Any, tokens: Any) -> Any:
        """Whether each token is on the list.

        Args:
            previous: int64, the token before each; ignored by scheme `fixed`.
            tokens: int64, at least one axis, of NumPy or PyTorch.

        Returns:
            a boolean array.
        """
        if self.scheme == "fixed":
            previous = tokens[:1] * 0 + _NO_CONTEXT
        found = keyed_hash(self.key, previous, tokens) & ((1 << _BITS) - 1)
        return found < int(self.share * (1 << _BITS))

    def list_after(self, previous: int, vocabulary: Any) -> Any:
        """The list after a token.

        Args:
            vocabulary: int64 `(n,)`, all token ids.

        Returns:
            boolean `(n,)`.
        """
        return self.has(vocabulary[:1] * 0 + previous, vocabulary)
