import pytest

from monitor.config import Settings
from monitor.config.sharing import Sharing
from monitor.errors import ConfigError
from monitor.sharing.salt import Salt, salt_of

SALT = Salt(b"agreed between partners")
SYSTEM = "You are a careful assistant for tax law."


def test_partners_with_one_salt_get_the_same_hashes():
    other = Salt(b"agreed between partners")
    assert other.id == SALT.id
    assert other.network("198.51.100.7") == SALT.network("198.51.100.200") != ""
    assert other.system(SYSTEM) == SALT.system(f"  {SYSTEM}\n") != ""
    assert other.tls("T13d1516h2_8DAAF6152771") == SALT.tls("t13d1516h2_8daaf6152771") != ""


def test_another_salt_has_another_id_and_other_hashes():
    other = Salt(b"agreed with other partners")
    assert other.id != SALT.id
    assert other.network("198.51.100.7") != SALT.network("198.51.100.7")


def test_network_has_one_spelling():
    same = ["2001:db8:7::1", "2001:0DB8:0007:0:ffff::", "2001:db8:7:9::"]
    assert len({SALT.network(each) for each in same}) == 1
    assert SALT.network("::ffff:198.51.100.7") == SALT.network("198.51.100.7")


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "192.168.1.9", "127.0.0.1", "100.64.0.1", "::1", "fe80::1", "", "x"]
)
def test_network_that_is_not_public_has_no_hash(address):
    assert SALT.network(address) == ""


def test_kinds_do_not_share_hashes():
    assert SALT.tls(SYSTEM.lower()) != SALT.system(SYSTEM.lower())


def test_template_hash_ignores_what_is_filled_in():
    one, other, third, short = SALT.templates(
        [
            "Translate the following sentence into German: The cat sleeps.",
            "Translate the following sentence into German: Rain fell on Bern.",
            "List all the prime numbers below the given limit and explain each one: 90",
            "Hi",
        ]
    )
    assert one == other != third
    assert short == ""


def test_short_salt_is_refused():
    with pytest.raises(ConfigError, match="openssl rand"):
        Salt(b"short")


def test_settings_without_a_salt_share_nothing():
    assert salt_of(Settings()) is None


def test_salt_is_read_from_its_file(tmp_path):
    file = tmp_path / "salt"
    file.write_bytes(b"agreed between partners\n")
    found = salt_of(Settings(sharing=Sharing(salt_file=file)))
    assert found is not None
    assert found.id == SALT.id
