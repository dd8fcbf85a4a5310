import pytest

from monitor.config import Settings
from monitor.errors import ConfigError
from monitor.identity import Identity, from_settings

SECRET = b"0123456789abcdef"


def test_same_secret_gives_the_same_pseudonym():
    assert Identity(SECRET).key("sk-1") == Identity(SECRET).key("sk-1")


def test_other_secret_gives_another_pseudonym():
    assert Identity(SECRET).key("sk-1") != Identity(SECRET[::-1]).key("sk-1")


def test_pseudonym_does_not_contain_the_key():
    assert "sk-1" not in Identity(SECRET).key("sk-1")


def test_plain_identity_keeps_keys():
    assert Identity(SECRET, plain=True).key("sk-1") == "sk-1"


def test_any_string_can_be_a_key():
    assert Identity(SECRET).key("\ud800").startswith("k_")


def test_derived_keys_differ_by_purpose_and_secret():
    purposes = ("ip", "network", "prompt")
    keys = [Identity(secret).derive(each) for secret in (SECRET, SECRET[::-1]) for each in purposes]
    assert len(set(keys)) == 6
    assert {len(key) for key in keys} == {16}


def test_derived_keys_are_stable():
    """Stored hashes stay comparable only as long as their keys do not change."""
    assert Identity(SECRET).derive("ip").hex() == "60c35d6832e748a3d43e67290595f2bf"


def test_short_secret_is_refused_with_a_remedy():
    with pytest.raises(ConfigError, match="openssl rand"):
        Identity(b"short")


def test_missing_secret_is_refused_with_a_remedy(monkeypatch):
    monkeypatch.delenv("XM_IDENTITY_SECRET", raising=False)
    with pytest.raises(ConfigError, match="set XM_IDENTITY_SECRET"):
        from_settings(Settings())


def test_secret_can_be_in_a_file(tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(SECRET + b"\n")
    found = from_settings(Settings(identity_secret_file=file))
    assert found.key("sk-1") == Identity(SECRET).key("sk-1")


def test_empty_secret_file_is_named(tmp_path):
    file = tmp_path / "secret"
    file.touch()
    with pytest.raises(ConfigError, match="which is empty"):
        from_settings(Settings(identity_secret_file=file))
