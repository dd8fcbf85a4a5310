"""Time stamps of openssl's authority."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.config import Cases
from monitor.errors import ConfigError
from monitor.evidence.bundle.container import pack, unpack
from monitor.evidence.bundle.files import STAMP, STAMP_SEAL, write_bundle
from monitor.evidence.bundle.timestamp import Authority, TimestampError, authority_of
from monitor.evidence.bundle.verify import BundleReport, verify_bundle
from monitor.evidence.ring import Ring
from tests.support.authority import LocalAuthority
from tests.support.chains import chain_of, new_signer

SIGNER = new_signer()
RING = Ring([SIGNER.public])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> LocalAuthority:
    return LocalAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def bundle(authority: LocalAuthority, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("bundle") / "case.zip"
    with authority.serving():
        stamping = Authority(authority.url, authority.ca)
        write_bundle(path, {"a.txt": b"a"}, chain_of([SIGNER]), SIGNER, RING, stamping)
    return path.read_bytes()


def problems(report: BundleReport) -> set[tuple[str, str]]:
    return {(each.kind, each.file) for each in report.problems}


def test_time_stamp_is_verified_with_the_authoritys_certificate(
    bundle: bytes, authority: LocalAuthority
):
    report = verify_bundle(bundle, RING, authority.ca)
    assert report.ok
    assert report.stamp_verified
    assert report.stamped_at == pytest.approx(report.predicate.created_at, abs=60)


def test_time_stamp_is_read_without_a_certificate(bundle: bytes):
    report = verify_bundle(bundle, RING)
    assert report.ok
    assert report.stamped_at is not None
    assert not report.stamp_verified


def test_time_stamp_of_another_authority_is_refused(bundle: bytes, tmp_path: Path):
    other = LocalAuthority(tmp_path)
    assert problems(verify_bundle(bundle, RING, other.ca)) == {("timestamp", STAMP)}


def test_removed_time_stamp_is_missed(bundle: bytes):
    files = unpack(bundle)
    del files[STAMP]
    assert problems(verify_bundle(pack(files), RING)) == {("missing", STAMP)}


@pytest.mark.parametrize("name", [STAMP, STAMP_SEAL])
def test_changed_time_stamp_is_named(bundle: bytes, name: str):
    files = unpack(bundle)
    for position in range(0, len(files[name]), 7):
        data = bytearray(files[name])
        data[position] ^= 1
        assert ("changed", name) in problems(verify_bundle(pack(files | {name: data}), RING))


def test_answer_of_another_request_is_refused(authority: LocalAuthority, bundle: bytes):
    old = unpack(bundle)[STAMP]
    with authority.serving(old), pytest.raises(TimestampError, match="another request"):
        Authority(authority.url).stamp(b"manifest")


@pytest.mark.parametrize("answer", [b"", b"<html>", b"\x30\x03\x02\x01\x02"])
def test_answer_that_is_no_time_stamp_is_refused(authority: LocalAuthority, answer: bytes):
    with authority.serving(answer), pytest.raises(TimestampError, match="cannot be used"):
        Authority(authority.url).stamp(b"manifest")


def test_authority_that_is_away_is_named():
    with pytest.raises(TimestampError, match="cannot be asked"):
        Authority("http://127.0.0.1:9/tsa").stamp(b"manifest")


def test_file_without_certificates_is_refused(tmp_path: Path):
    file = tmp_path / "ca.pem"
    file.write_text("none")
    with pytest.raises(ConfigError, match="TIMESTAMP_CA_FILE"):
        authority_of(Cases(timestamp_url="http://127.0.0.1", timestamp_ca_file=file))
