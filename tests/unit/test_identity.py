import pytest

from monitor.config import Settings
from monitor.errors import ConfigError
from monitor.identity import Identity, from_settings

SECRET = b"0123456789abcdef"


def test_the_same_secret_gives_the_same_pseudonym_after_a_restart():
    assert Identity(SECRET).key("sk-1") == Identity(SECRET).key("sk-1")


def test_another_secret_gives_another_pseudonym():
    assert Identity(SECRET).key("sk-1") != Identity(SECRET[::-1]).key("sk-1")


def test_a_pseudonym_does_not_show_its_key():
    assert "sk-1" not in Identity(SECRET).key("sk-1")


def test_keys_stay_as_they_are_where_that_is_asked_for():
    assert Identity(SECRET, plain=True).key("sk-1") == "sk-1"


def test_what_is_not_there_has_no_hash():
    hashes = Identity(SECRET).hashes(["r1", None, "", "r2", "r1", "\ud800"]).tolist()
    assert hashes[1] == hashes[2] == 0
    assert hashes[0] == hashes[4] != hashes[3]


def test_texts_that_differ_only_in_zeros_at_the_end_have_hashes_of_their_own():
    hashes = Identity(SECRET).hashes(["r", "r\0", "r\0\0"]).tolist()
    assert len(set(hashes)) == 3


def test_a_hash_depends_on_the_secret():
    assert Identity(SECRET).hashes(["r1"]) != Identity(SECRET[::-1]).hashes(["r1"])


def test_any_string_can_be_a_key():
    assert Identity(SECRET).key("\ud800").startswith("k_")


def test_a_short_secret_is_refused_with_a_remedy():
    with pytest.raises(ConfigError, match="openssl rand"):
        Identity(b"short")


def test_no_secret_is_refused_with_a_remedy(monkeypatch):
    monkeypatch.delenv("XM_IDENTITY_SECRET", raising=False)
    with pytest.raises(ConfigError, match="set XM_IDENTITY_SECRET"):
        from_settings(Settings())


def test_the_secret_can_be_in_a_file(tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(SECRET + b"\n")
    found = from_settings(Settings(identity_secret_file=file))
    assert found.key("sk-1") == Identity(SECRET).key("sk-1")


def test_an_empty_secret_file_is_named(tmp_path):
    file = tmp_path / "secret"
    file.touch()
    with pytest.raises(ConfigError, match="which is empty"):
        from_settings(Settings(identity_secret_file=file))
