"""Keys that sign, and the ring of public keys."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from monitor.config import Cases, Settings
from monitor.errors import ConfigError, InputError
from monitor.evidence.dsse import decode, sign, verify
from monitor.evidence.keys import load_signer, new_key, ring_of, rotate_key, signer_of
from monitor.evidence.ring import Ring, decode_ring, load_ring
from tests.support.chains import new_signer


@pytest.fixture
def cases(tmp_path: Path) -> Cases:
    return Cases(key_file=tmp_path / "case.pem")


def pem_of(key: rsa.RSAPrivateKey | Ed25519PrivateKey, password: bytes = b"") -> bytes:
    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def test_new_key_is_only_for_its_owner(cases: Cases):
    public = new_key(cases)
    assert cases.key_file.stat().st_mode & 0o777 == 0o600
    assert load_signer(cases.key_file).kid == public.kid
    assert [key.kid for key in load_ring([cases.public_keys])] == [public.kid]


def test_new_key_does_not_replace_another(cases: Cases):
    new_key(cases)
    with pytest.raises(ConfigError, match="rotate"):
        new_key(cases)


def test_rotated_key_stays_in_the_ring_as_retired(cases: Cases):
    old = new_key(cases)
    new = rotate_key(cases)
    ring = ring_of(Settings(cases=cases))
    assert ring.get(old.kid).retired == pytest.approx(new.begin)
    assert ring.get(new.kid).retired is None
    assert signer_of(Settings(cases=cases)).kid == new.kid


def test_retired_key_does_not_sign(cases: Cases):
    new_key(cases)
    kept = cases.key_file.read_bytes()
    rotate_key(cases)
    cases.key_file.write_bytes(kept)
    with pytest.raises(ConfigError, match="retired"):
        signer_of(Settings(cases=cases))


def test_no_key_file_is_no_signer():
    assert signer_of(Settings()) is None


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620])
def test_key_that_others_can_read_is_refused(cases: Cases, mode: int):
    new_key(cases)
    cases.key_file.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_signer(cases.key_file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no key in PEM"),
        (pem_of(Ed25519PrivateKey.generate(), b"password"), "has a password"),
        (pem_of(rsa.generate_private_key(65537, 2048)), "not an Ed25519 key"),
    ],
)
def test_other_keys_are_refused(cases: Cases, content: bytes, message: str):
    cases.key_file.write_bytes(content)
    cases.key_file.chmod(0o600)
    with pytest.raises(ConfigError, match=message):
        load_signer(cases.key_file)


def test_missing_key_is_named(cases: Cases):
    with pytest.raises(ConfigError, match="xm case key new"):
        load_signer(cases.key_file)


def test_public_keys_read_as_written():
    keys = [new_signer().public, msgspec.structs.replace(new_signer().public, retired=5.0)]
    assert {*decode_ring(Ring(keys).encode())} == {*keys}


def test_public_key_in_pem_is_valid_at_any_time():
    key = Ed25519PrivateKey.generate().public_key()
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (found,) = decode_ring(pem)
    assert (found.raw, found.begin, found.retired) == (key.public_bytes_raw(), 0.0, None)


def test_public_key_under_the_id_of_another_is_refused():
    key = msgspec.structs.replace(new_signer().public, kid=new_signer().kid)
    with pytest.raises(InputError, match="does not match its id"):
        Ring([key])


def test_private_key_is_no_public_key():
    with pytest.raises(InputError):
        decode_ring(pem_of(Ed25519PrivateKey.generate()))


def test_running_process_signs_with_the_rotated_key_and_knows_it(
    cases: Cases, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("monitor.evidence.keys._LOOK_SECONDS", 0.0)
    old = new_key(cases)
    signer, ring = signer_of(Settings(cases=cases)), ring_of(Settings(cases=cases))
    before = sign(b"before", "text/plain", signer)
    new = rotate_key(cases)
    after = sign(b"after", "text/plain", signer)
    assert [decode(each, "text/plain").signature.keyid for each in (before, after)] == [
        old.kid,
        new.kid,
    ]
    for each in (before, after):
        verify(decode(each, "text/plain"), ring)
    assert ring.get(old.kid).retired is not None


def test_key_that_is_replaced_by_rubbish_stays_in_use(
    cases: Cases, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("monitor.evidence.keys._LOOK_SECONDS", 0.0)
    kept = new_key(cases)
    signer, ring = signer_of(Settings(cases=cases)), ring_of(Settings(cases=cases))
    cases.key_file.write_text("rubbish")
    cases.public_keys.write_text("rubbish")
    assert signer.kid == kept.kid
    assert ring.get(kept.kid) is not None


def test_table_of_keys_is_refused_with_the_command_that_writes_the_file():
    with pytest.raises(InputError, match="xm case key show --json"):
        decode_ring(b" key   from   retired\n")


def test_empty_name_of_the_key_file_is_refused():
    with pytest.raises(ConfigError, match="KEY_FILE"):
        new_key(Cases(key_file=Path("")))
    with pytest.raises(ConfigError, match="cannot be read"):
        signer_of(Settings(cases=Cases(key_file=Path(""))))
