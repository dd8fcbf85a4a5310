"""What requests cost."""

from __future__ import annotations

import numpy as np

from monitor.identity import Identity
from monitor.requests.columns import hash_keys, hash_texts
from pipelines.console.reader.cost import Prices


def test_cost_is_that_of_the_model_or_else_the_general_price():
    identity = Identity(b"0123456789abcdef")
    (large,) = hash_texts(["large"], "model", hash_keys(identity)).tolist()
    prices = Prices(2.0, {"large": 10.0}, identity)
    tokens, models = np.array([1e6, 1e6]), np.array([large, 7], np.uint64)
    assert prices.costs(tokens, models).tolist() == [10.0, 2.0]
    assert prices.cost(5e5, large) == 5.0
