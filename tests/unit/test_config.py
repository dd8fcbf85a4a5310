import pytest

from monitor import config
from monitor.errors import ConfigError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_everything_has_a_default():
    assert config.load().decisions.shadow


def test_the_environment_overrides_the_file(tmp_path, monkeypatch):
    (tmp_path / config.DEFAULT_FILE).write_text('kafka = "file:9092"\nrows = 20000\n')
    monkeypatch.setenv("XM_KAFKA", "environment:9092")
    settings = config.load()
    assert (settings.kafka, settings.rows) == ("environment:9092", 20_000)


def test_nested_settings_are_reached_from_the_environment(monkeypatch):
    monkeypatch.setenv("XM_DECISIONS__SHADOW", "false")
    assert not config.load().decisions.shadow


def test_a_wrong_value_names_its_setting(monkeypatch):
    monkeypatch.setenv("XM_WEB_PORT", "many")
    with pytest.raises(ConfigError, match="XM_WEB_PORT"):
        config.load()


def test_a_misspelt_setting_in_the_file_is_named(tmp_path):
    (tmp_path / config.DEFAULT_FILE).write_text('kafak = "a:1"\n')
    with pytest.raises(ConfigError, match="kafak"):
        config.load()


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / config.DEFAULT_FILE).write_text("kafka = \n")
    with pytest.raises(ConfigError, match=config.DEFAULT_FILE):
        config.load()


def test_a_missing_file_is_named(monkeypatch):
    monkeypatch.setenv("XM_CONFIG", "/nowhere.toml")
    with pytest.raises(ConfigError, match="which is no file"):
        config.load()


def test_an_address_without_a_port_is_refused(monkeypatch):
    monkeypatch.setenv("XM_KAFKA", "localhost")
    with pytest.raises(ConfigError, match="host:port"):
        config.load()


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({"protocol": "sasl_ssl", "user": "monitor"}, "needs user, and password"),
        ({"user": "monitor", "password": "s3cret"}, "plaintext does not log in"),
        ({"protocol": "sasl_plaintext", "ca_file": "ca.pem"}, ""),
        ({"protocol": "ssl", "key_file": "key.pem"}, "key_file needs cert_file"),
    ],
)
def test_kafka_security_rejects_contradictions(chosen: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=f"XM_KAFKA_SECURITY.*{reason}") as rejected:
        config.load(kafka_security=chosen)
    assert "s3cret" not in str(rejected.value)
