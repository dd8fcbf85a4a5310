"""Envelopes are those of DSSE."""

from __future__ import annotations

import msgspec
import pytest
from securesystemslib.dsse import Envelope as PeerEnvelope
from securesystemslib.signer import SSlibKey

from monitor.errors import EvidenceError
from monitor.evidence import dsse
from monitor.evidence.ring import Ring
from tests.support.chains import new_signer

SIGNER = new_signer()
TYPE = "text/plain"


def test_peer_verifies_our_envelope():
    line = dsse.sign(b"hello", TYPE, SIGNER)
    keyval = {"public": SIGNER.public.raw.hex()}
    key = SSlibKey(SIGNER.kid, "ed25519", "ed25519", keyval)
    envelope = PeerEnvelope.from_dict(msgspec.json.decode(line))
    assert list(envelope.verify([key], 1)) == [SIGNER.kid]


def test_other_form_of_the_same_envelope_is_refused():
    line = dsse.sign(b"hello", TYPE, SIGNER)
    with pytest.raises(EvidenceError, match="not written as"):
        dsse.decode(line.replace(b":", b": "), TYPE)


def test_signature_does_not_hold_for_another_type():
    line = dsse.sign(b"hello", TYPE, SIGNER).replace(b"text/plain", b"text/other")
    with pytest.raises(EvidenceError, match="does not match"):
        dsse.verify(dsse.decode(line, "text/other"), Ring([SIGNER.public]))
