"""What requests cost: tokens times the price of the model, as far as it is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from monitor.config import Settings
from monitor.errors import ConfigError
from monitor.identity import Identity, from_settings
from monitor.requests.columns import hash_keys, hash_texts

_MILLION = 1e6


class Prices:
    """Prices per token.

    A key's tokens count at the price of the model of its latest request, the only one known.

    Args:
        price: per million tokens of a model without a price of its own.
        prices: per million tokens, by model.
        identity: of the deployment; needed for prices by model.
    """

    def __init__(
        self,
        price: float,
        prices: Mapping[str, float] | None = None,
        identity: Identity | None = None,
    ) -> None:
        self._price = price / _MILLION
        self._by_hash: dict[int, float] = {}
        if prices and identity:
            hashes = hash_texts(list(prices), "model", hash_keys(identity)).tolist()
            each = (value / _MILLION for value in prices.values())
            self._by_hash = dict(zip(hashes, each, strict=True))

    def costs(
        self, tokens: npt.NDArray[np.float64], models: npt.NDArray[np.uint64]
    ) -> npt.NDArray[np.float64]:
        """The cost of n keys, `(n,)`.

        Args:
            models: keyed hashes, 0 if unknown.
        """
        rates = np.full(len(tokens), self._price)
        for hashed, rate in self._by_hash.items():
            rates[models == hashed] = rate
        return np.asarray(tokens * rates)

    def cost(self, tokens: float, model: int) -> float:
        """The cost of one key."""
        return tokens * self._by_hash.get(model, self._price)


def prices_of(settings: Settings) -> Prices:
    """The prices that are set; those of models only where the identity secret is known."""
    chosen = settings.console
    try:
        identity = from_settings(settings) if chosen.prices else None
    except ConfigError:
        identity = None
    return Prices(chosen.price, chosen.prices, identity)
