"""Time stamps of an authority (RFC 3161): that a manifest existed at a time.

Only the digest of the manifest is sent. The authority's answer is checked before it is used: it
must be granted, carry our nonce, and be over our digest.
"""

from __future__ import annotations

import hashlib
import ssl
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from monitor.config import Cases
from monitor.errors import ConfigError, EvidenceError, MonitorError

_LONGEST = 1 << 16  # bytes of an answer
_SECONDS = 15.0


class TimestampError(MonitorError):
    """The time stamp authority cannot be asked, or refuses."""


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Authority:
    """A time stamp authority.

    Args:
        url: of its HTTP interface.
        roots: its root certificates, PEM; default: its certificate is not verified here.
    """

    def __init__(self, url: str, roots: bytes = b"") -> None:
        self.url = url
        self._roots = roots
        context = ssl.create_default_context()
        self._open = build_opener(_NoRedirects, HTTPSHandler(context=context)).open

    def stamp(self, data: bytes) -> bytes:
        """The authority's response for data, DER.

        Raises:
            TimestampError: if it gives none, or a wrong one.
        """
        builder = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA512)
        request = builder.build()
        answer = self._ask(request.as_bytes())
        try:
            response = _decode(answer)
            if response.tst_info.nonce != request.nonce:
                raise EvidenceError("it answers another request")
            verify(answer, data, self._roots)
        except EvidenceError as error:
            raise TimestampError(
                f"The time stamp of {self.url} cannot be used ({error}): use another authority "
                "with XM_CASES__TIMESTAMP_URL."
            ) from None
        return answer

    def _ask(self, body: bytes) -> bytes:
        headers = {
            "Content-Type": "application/timestamp-query",
            "Accept": "application/timestamp-reply",
        }
        try:
            with self._open(Request(self.url, body, headers), timeout=_SECONDS) as answer:
                found: bytes = answer.read(_LONGEST + 1)
        except (OSError, HTTPException, ValueError) as error:
            reason = error.code if isinstance(error, HTTPError) else getattr(error, "reason", error)
            raise TimestampError(
                f"The time stamp authority {self.url} cannot be asked ({reason}): try again, or "
                "export without a time stamp by unsetting XM_CASES__TIMESTAMP_URL."
            ) from None
        return found


def authority_of(settings: Cases) -> Authority | None:
    """The authority that the settings name; `None` without one.

    Raises:
        ConfigError: if the file of certificates cannot be used.
    """
    if settings.timestamp_url is None:
        return None
    file, roots = settings.timestamp_ca_file, b""
    if file is not None:
        try:
            roots = file.read_bytes()
            _certificates(roots)
        except (OSError, EvidenceError) as error:
            raise ConfigError(
                f"XM_CASES__TIMESTAMP_CA_FILE names {file}, which cannot be used: {error}"
            ) from None
    return Authority(settings.timestamp_url, roots)


def verify(stamp: bytes, data: bytes, roots: bytes = b"") -> float:
    """Verify a time stamp over data, and return its time, epoch seconds.

    Args:
        roots: root certificates, PEM. Without them the authority's signature is not verified, only
            that the time stamp is over this data.

    Raises:
        EvidenceError: if it is not.
    """
    response = _decode(stamp)
    if roots:
        builder = VerifierBuilder(roots=_certificates(roots))
        try:
            builder.build().verify_message(response, data)
        except (VerificationError, ValueError) as error:
            raise EvidenceError(f"The time stamp does not hold: {error}.") from None
    elif not _is_over(response, data):
        raise EvidenceError("The time stamp is over something else.")
    return response.tst_info.gen_time.timestamp()


def _is_over(response: TimeStampResponse, data: bytes) -> bool:
    imprint = response.tst_info.message_imprint.message
    return any(
        imprint == hashlib.new(name, data).digest() for name in ("sha256", "sha384", "sha512")
    )


def _decode(stamp: bytes) -> TimeStampResponse:
    try:
        response = decode_timestamp_response(stamp)
        if PKIStatus(response.status) != PKIStatus.GRANTED:
            raise EvidenceError("The authority did not grant the time stamp.")
        _ = response.tst_info.gen_time
    except ValueError as error:
        raise EvidenceError(f"The time stamp cannot be read: {error}.") from None
    return response


def _certificates(roots: bytes) -> list[Certificate]:
    try:
        return load_pem_x509_certificates(roots)
    except ValueError:
        raise EvidenceError("It holds no certificate in PEM.") from None
