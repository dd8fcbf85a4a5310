import numpy as np

from monitor.identity import Identity
from monitor.kernels.buffers import Messages
from monitor.requests.columns import Reader
from monitor.requests.decoder import Decoder
from monitor.requests.hashing import HASH_KINDS
from monitor.requests.ties import Ties, is_tie, network_tie, payment_tie

IDENTITY = Identity(b"0123456789abcdef")


def test_ties_from_text_are_those_of_requests():
    event = b'{"ts":1.8e9,"api_key":"k","payment":"card-1","ip":"192.0.2.7","prompt":"hi"}'
    columns, _, _ = Reader(Decoder("native"), IDENTITY)(Messages.of([event]), 1.9e9)
    payment, network = (int(columns.hashes[0, HASH_KINDS.index(k)]) for k in ("payment", "network"))
    ties = Ties(IDENTITY)
    assert payment_tie(payment) == ties.payment("card-1")
    assert network_tie(network) == ties.network("192.0.2.7") == ties.network("192.0.2.200")
    assert ties.network("192.0.3.7") != ties.network("192.0.2.7")


def test_ties_are_recognised_by_their_form():
    ties = Ties(IDENTITY)
    for tie in (IDENTITY.account("acme"), ties.payment("card-1"), ties.network("2001:db8::1")):
        assert is_tie(tie)
    assert not any(map(is_tie, ("acme", "192.0.2.7", "p_1", IDENTITY.key("sk-1"))))


def test_nothing_has_no_tie():
    assert payment_tie(int(np.uint64(0))) == network_tie(0) == ""
