import pytest
from typer.testing import CliRunner

from monitor.errors import ConfigError
from pipelines.cli.operate.console import console_app as commands
from pipelines.console.access.users import Users, new_user
from pipelines.console.access.viewer import Viewer

HASH = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43


@pytest.fixture
def file(tmp_path):
    return tmp_path / "users"


def test_user_signs_on_with_the_token_only(file):
    token, line = new_user("alice@example.com", "analyst", ("acme/", "beta/"))
    file.write_text(f"# people\n\n{line}  # until June\nbob viewer * proxy\n")
    users = Users(file)
    viewer = users.verify("alice@example.com", token).viewer
    assert (viewer.name, viewer.role, viewer.tenants) == (
        "alice@example.com",
        "analyst",
        ("acme/", "beta/"),
    )
    assert token not in file.read_text()
    other, _ = new_user("alice@example.com", "analyst")
    assert users.verify("alice@example.com", other) is None
    assert users.verify("bob", token) is None
    assert users.verify("nobody", token) is None
    assert users.find("bob").viewer.role == "viewer"


def test_command_prints_a_line_and_keeps_the_token_apart(file):
    made = CliRunner().invoke(commands, ["user", "al", "--role", "admin", "--tenant", "acme/"])
    assert made.exit_code == 0
    file.write_text(made.stdout)
    token = made.stderr.strip()
    assert Users(file).verify("al", token).viewer == Viewer("al", "admin", ("acme/",))
    proxied = CliRunner().invoke(commands, ["user", "al", "--proxy"])
    assert (proxied.stdout, proxied.stderr) == ("al viewer * proxy\n", "")


def test_text_that_is_no_token_is_not_hashed(file, monkeypatch):
    file.write_text(f"alice admin * {HASH}\n")
    users = Users(file)
    monkeypatch.setattr("pipelines.console.access.users._HASHER", None)
    for text in ("", "x" * 1_000_000, "xm_\ud800" + "a" * 42, "xm_" + "a" * 42 + "\n"):
        assert users.verify("alice", text) is None


def test_unknown_user_costs_the_same_hash_as_a_wrong_token(file, monkeypatch):
    file.write_text(f"alice admin * {HASH}\nbob viewer * proxy\n")
    users, seen = Users(file), []

    class Hasher:
        def verify(self, hashed, _token):
            seen.append(hashed.rsplit("$", 2)[0])
            return True

    monkeypatch.setattr("pipelines.console.access.users._HASHER", Hasher())
    token = "xm_" + "a" * 43
    assert users.verify("nobody", token) is None
    assert users.verify("bob", token) is None
    assert users.verify("alice", token).viewer.name == "alice"
    assert seen == ["$argon2id$v=19$m=19456,t=2,p=1"] * 3


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("alice admin *\n", "Line 1 of"),
        ("alice root * proxy\n", "Line 1 of"),
        ("# people\nal/ice admin * proxy\n", "Line 2 of"),
        ("alice admin *,acme/ proxy\n", "Line 1 of"),
        ("alice admin * 9f86d081884c7d65\n", "Line 1 of"),
        (f"alice admin * {HASH.replace('m=19456', 'm=4194304')}\n", "Line 1 of"),
        (f"alice admin * {HASH.replace('argon2id', 'argon2i')}\n", "Line 1 of"),
        ("alice admin * proxy\nalice viewer * proxy\n", "repeats the name alice"),
    ],
)
def test_unusable_users_file_is_refused_with_the_line(file, text, error):
    file.write_text(text)
    with pytest.raises(ConfigError, match=error):
        Users(file)


@pytest.mark.parametrize(
    ("name", "tenants"), [("al ice", ()), ("a\nb", ()), ("a", ("*",)), ("a", ("x y",)), ("", ())]
)
def test_name_and_tenants_that_cannot_stand_in_the_file_are_refused(name, tenants):
    with pytest.raises(ConfigError):
        new_user(name, "viewer", tenants, token=False)


def test_changed_users_file_is_read_and_a_broken_one_keeps_the_users(file, caplog):
    file.write_text("alice admin * proxy\n")
    users = Users(file)
    file.write_text("alice viewer * proxy\nbob admin * proxy\n")
    users.refresh()
    assert users.find("alice").viewer.role == "viewer"
    file.write_text("secret-text\n")
    users.refresh()
    assert users.find("bob").viewer.role == "admin"
    assert "users_not_read" in caplog.text
    assert "secret-text" not in caplog.text
