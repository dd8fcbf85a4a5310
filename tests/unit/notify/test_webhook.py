from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from pipelines.notify.receivers.webhook import sign, verify

SECRET = b"one that both sides know"
BODY = b'{"alerts":[]}'


def signed(body: bytes = BODY, age: float = 0.0) -> dict[str, str]:
    timestamp = str(int(time.time() - age))
    return {
        "X-XM-Timestamp": timestamp,
        "X-XM-Signature": f"v1={sign(SECRET, timestamp, body)}",
    }


def test_signed_request_is_accepted():
    assert verify(SECRET, signed(), BODY)


def test_case_of_header_names_does_not_matter():
    assert verify(SECRET, {name.lower(): value for name, value in signed().items()}, BODY)


def test_changed_body_is_rejected():
    assert not verify(SECRET, signed(), BODY + b" ")


def test_another_secret_is_rejected():
    assert not verify(b"another", signed(), BODY)


def test_recorded_request_is_rejected_after_the_tolerance():
    assert verify(SECRET, signed(age=200), BODY)
    assert not verify(SECRET, signed(age=400), BODY)


def test_recorded_signature_does_not_fit_a_newer_timestamp():
    recorded = signed(age=400)
    assert not verify(SECRET, {**recorded, "X-XM-Timestamp": str(int(time.time()))}, BODY)


def test_signature_is_plain_hmac_sha256():
    assert sign(b"key", "1772040000", b"{}") == (
        "9701ff7f31fb057d8fa03ddb7406a1c7236d97f504ca3f25caee94d4919e6bb3"
    )


@given(st.text(), st.text(), st.binary())
def test_verify_never_raises(timestamp: str, signature: str, body: bytes):
    headers = {"X-XM-Timestamp": timestamp, "X-XM-Signature": signature}
    assert verify(SECRET, headers, body) is False
