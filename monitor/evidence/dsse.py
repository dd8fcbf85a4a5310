"""Signed envelopes: DSSE v1.0.2 (Dead Simple Signing Envelope, github.com/secure-systems-lab/dsse).

The signature covers the payload's exact bytes and its type, so no canonical form of JSON is needed.
The envelope has one form only: an envelope that is written in another way, with spaces or other
base64, is refused. So each byte of it counts.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from monitor.errors import EvidenceError
from monitor.evidence.ring import Ring


class Signs(Protocol):
    """What signs, see `keys.Signer`."""

    @property
    def kid(self) -> str: ...

    def sign(self, data: bytes) -> bytes: ...

    def current(self) -> Signs: ...


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signature, and the id of the key that made it."""

    keyid: str
    sig: bytes


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A payload with its signatures, as JSON with base64."""

    payload: bytes
    payload_type: str = msgspec.field(name="payloadType")
    signatures: list[Signature] = []

    @property
    def signed(self) -> bytes:
        """What the signatures cover."""
        return pre_authentication(self.payload_type, self.payload)

    @property
    def signature(self) -> Signature:
        """The only signature."""
        return self.signatures[0]


_decoder = msgspec.json.Decoder(Envelope)


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding (PAE), which is signed.

    >>> pre_authentication("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    name = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def sign(payload: bytes, payload_type: str, signer: Signs) -> bytes:
    """The envelope of a payload, one line of JSON without its end."""
    signer = signer.current()  # a rotation must not come between the id and the signature
    signature = Signature(signer.kid, signer.sign(pre_authentication(payload_type, payload)))
    return msgspec.json.encode(Envelope(payload, payload_type, [signature]))


def decode(line: bytes, payload_type: str) -> Envelope:
    """Read an envelope. Its signature is not verified.

    Raises:
        EvidenceError: if it is not an envelope of this type with one signature, in its only form.
    """
    try:
        envelope = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise EvidenceError("It is not a signed envelope.") from None
    if msgspec.json.encode(envelope) != line:
        raise EvidenceError("The envelope is not written as it was when it was signed.")
    if envelope.payload_type != payload_type or len(envelope.signatures) != 1:
        raise EvidenceError(f"It is not an envelope of {payload_type} with one signature.")
    return envelope


def verify(envelope: Envelope, ring: Ring) -> None:
    """Verify the signature of an envelope.

    Raises:
        EvidenceError: if it is not that of the key that the envelope names, or the ring does not
            have this key.
    """
    signature, signed = envelope.signature, envelope.signed
    if ring.get(signature.keyid) is not None:
        if ring.verifies(signature.keyid, signature.sig, signed):
            return
        if (other := ring.signer_of(signature.sig, signed)) is not None:
            raise EvidenceError(f"It names the key {signature.keyid}, but {other} signed it.")
        raise EvidenceError(
            f"The signature does not match: it was changed after key {signature.keyid} signed it, "
            "or was made without this key."
        )
    raise EvidenceError(f"The key {signature.keyid}, which it names, is not in the ring.")
