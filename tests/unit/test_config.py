import pytest

from monitor import config
from monitor.errors import ConfigError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_setting_has_a_default():
    assert config.load().decisions.shadow


def test_environment_overrides_the_file(tmp_path, monkeypatch):
    (tmp_path / config.DEFAULT_FILE).write_text('kafka = "file:9092"\nrows = 20000\n')
    monkeypatch.setenv("XM_KAFKA", "environment:9092")
    settings = config.load()
    assert (settings.kafka, settings.rows) == ("environment:9092", 20_000)


def test_environment_sets_nested_settings(monkeypatch):
    monkeypatch.setenv("XM_DECISIONS__SHADOW", "false")
    assert not config.load().decisions.shadow


def test_wrong_value_names_its_setting(monkeypatch):
    monkeypatch.setenv("XM_WEB_PORT", "many")
    with pytest.raises(ConfigError, match="XM_WEB_PORT"):
        config.load()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('kafak = "a:1"', r"kafak in .*\.toml is not a setting. Did you mean kafka\?"),
        ("[decisions]\nshaddow = false", "decisions.shaddow in .* mean decisions.shadow"),
        ("shadow = false", "mean decisions.shadow"),
        ("nonsense = 1", r"nonsense in .* is not a setting\.$"),
        ("web_port = 0", r"Setting web_port in .*\.toml cannot be used: .* greater than"),
    ],
)
def test_wrong_setting_in_file_names_file(tmp_path, text, complaint):
    (tmp_path / config.DEFAULT_FILE).write_text(f"{text}\n")
    with pytest.raises(ConfigError, match=complaint) as error:
        config.load()
    assert "XM_" not in str(error.value)


def test_wrong_setting_in_environment_names_variable(tmp_path, monkeypatch):
    (tmp_path / config.DEFAULT_FILE).write_text("rows = 20000\n")
    monkeypatch.setenv("XM_DECISIONS__SHADDOW", "false")
    with pytest.raises(ConfigError, match=r"^XM_DECISIONS__SHADDOW is .*XM_DECISIONS__SHADOW\?"):
        config.load()


def test_unknown_variables_are_reported(monkeypatch):
    for name in ("XM_KAFKAA", "XM_SHADOW", "XM_CONFIG", "XM_ROWS", "XM_TOPICS__REQUESTS"):
        monkeypatch.setenv(name, "x")
    assert config.unknown_variables() == [
        "XM_KAFKAA is not a setting and has no effect. Did you mean XM_KAFKA?",
        "XM_SHADOW is not a setting and has no effect. Did you mean XM_DECISIONS__SHADOW?",
    ]


def test_broken_file_is_named(tmp_path):
    (tmp_path / config.DEFAULT_FILE).write_text("kafka = \n")
    with pytest.raises(ConfigError, match=config.DEFAULT_FILE):
        config.load()


def test_missing_file_is_named(monkeypatch):
    monkeypatch.setenv("XM_CONFIG", "/nowhere.toml")
    with pytest.raises(ConfigError, match="which is not a file"):
        config.load()


def test_address_without_a_port_is_rejected(monkeypatch):
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
