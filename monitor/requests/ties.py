"""Ties: pseudonyms of the account, the payment and the network behind requests.

A decision lists them, so that an entry of the allow-list on one of them exempts the key. Payments
and networks have the pseudonyms `p_…` and `n_…`, the keyed hashes that the columns of requests and
the fingerprints of keys hold; a network is the first 24 bits of an IPv4 address or 48 of an IPv6
address.
"""

from __future__ import annotations

import re

from monitor.identity import Identity
from monitor.requests.columns import hash_keys, hash_texts, network_of


class Ties:
    """Makes the pseudonyms from the texts that a log has.

    Args:
        identity: of the deployment.
    """

    def __init__(self, identity: Identity) -> None:
        self._keys = hash_keys(identity)

    def payment(self, text: str) -> str:
        """The pseudonym of a payment."""
        return payment_tie(int(hash_texts([text], "payment", self._keys)[0]))

    def network(self, address: str) -> str:
        """The pseudonym of the network of an address."""
        return network_tie(int(hash_texts([network_of(address)], "network", self._keys)[0]))


def payment_tie(hashed: int) -> str:
    """The pseudonym of a payment from its keyed hash; empty for 0, which is no payment."""
    return f"p_{hashed:016x}" if hashed else ""


def network_tie(hashed: int) -> str:
    """The pseudonym of a network from its keyed hash; empty for 0, which is no network."""
    return f"n_{hashed:016x}" if hashed else ""


def is_tie(text: str) -> bool:
    """Whether a text has the form of the pseudonym of an account, a payment or a network."""
    return re.fullmatch("a_[0-9a-f]{24}|[pn]_[0-9a-f]{16}", text) is not None
