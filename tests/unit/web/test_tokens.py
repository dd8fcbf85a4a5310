import hashlib
import logging
import subprocess
import sys

import pytest

from monitor.errors import ConfigError
from pipelines.web.tokens import Tokens, new_token


@pytest.fixture
def file(tmp_path):
    return tmp_path / "tokens"


def test_token_is_found_by_its_hash(file):
    token, line = new_token("alice", "change")
    file.write_text(f"# people\n\n{line}  # until June\n")
    found = Tokens(file).find(token)
    assert (found.name, found.right) == ("alice", "change")
    assert token not in file.read_text()
    assert line.endswith(hashlib.sha256(token.encode()).hexdigest())


def test_other_tokens_are_not_found(file):
    token, line = new_token("alice", "look")
    file.write_text(line)
    tokens = Tokens(file)
    for other in ("", token[:-1], f"{token} ", line, line.split()[2], "xm_\ud800"):
        assert tokens.find(other) is None
    assert Tokens(None).find(token) is None


def test_right_to_change_includes_look_ups(file):
    for right, permitted in (("look", [True, False]), ("change", [True, True])):
        token, line = new_token("alice", right)
        file.write_text(line)
        found = Tokens(file).find(token)
        assert [found.permits("look"), found.permits("change")] == permitted


def test_two_tokens_are_never_the_same():
    assert len({new_token("alice", "look")[0] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("alice change\n", "Line 1 of"),
        (f"alice admin {'0' * 64}\n", "Line 1 of"),
        (f"# people\nalice look {'0' * 63}\n", "Line 2 of"),
        (f"a look {'0' * 64}\na look {'1' * 64}\n", "repeats the name a"),
        ("al\u00fc\udcff", "UTF-8"),
    ],
)
def test_unusable_file_is_refused_with_the_line(file, text, says):
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=says):
        Tokens(file)


def test_missing_file_is_refused(file):
    with pytest.raises(ConfigError, match="No such file"):
        Tokens(file)


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "#a", "x" * 65])
def test_name_that_cannot_stand_in_the_file_is_refused(name):
    with pytest.raises(ConfigError, match="name"):
        new_token(name, "look")


def test_changed_file_is_read_again_and_a_broken_one_is_not(file, caplog):
    token, line = new_token("alice", "look")
    file.write_text("")
    tokens = Tokens(file)
    with caplog.at_level(logging.INFO):
        tokens.refresh()
        file.write_text(line)
        tokens.refresh()
        assert tokens.find(token)
        file.write_text("broken")
        tokens.refresh()
        tokens.refresh()
    assert tokens.find(token)
    assert [record.getMessage().split()[0] for record in caplog.records] == [
        "tokens_read",
        "tokens_not_read",
    ]


def test_command_prints_the_line_for_the_file_and_the_token_apart(file):
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli.main", "token", "alice", "--right", "change"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    file.write_text(done.stdout)
    assert Tokens(file).find(done.stderr.strip()).right == "change"
