from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.config import KafkaSecurity
from monitor.errors import ConfigError
from pipelines.kafka.tokens import AsyncTokens, Endpoint, TokenError, source_of
from tests.support.tokens import CLIENT, SECRET, TokenServer, token, token_server


@pytest.fixture
def endpoint() -> Iterator[TokenServer]:
    with token_server() as server:
        yield server


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def granted(endpoint: TokenServer, **chosen: Any) -> KafkaSecurity:
    login = {"token_url": endpoint.url, "client_id": CLIENT, "client_secret": SECRET}
    return KafkaSecurity(protocol="sasl_ssl", mechanism="OAUTHBEARER", **{**login, **chosen})


def from_file(file: Path) -> KafkaSecurity:
    return KafkaSecurity(protocol="sasl_ssl", mechanism="OAUTHBEARER", token_file=file)


def test_file_is_read_again_for_each_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    source = source_of(from_file(file))
    for text in ("one", "two\n"):
        file.write_text(text)
        assert source() == text.strip()


@pytest.mark.parametrize("text", ["", " \n", "two\nlines", "with\x01control", "é"])
def test_file_without_a_token_is_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"TOKEN_FILE names .*token, which holds no token"):
        source_of(from_file(file))()


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        source_of(from_file(tmp_path / "none"))()


def test_endpoint_is_asked_for_scope_and_once_per_lifetime(endpoint: TokenServer) -> None:
    clock = Clock()
    tokens = Endpoint(granted(endpoint, scope="kafka write"), clock)
    first = tokens.token()
    clock.now = 479.0
    assert tokens.token() == first
    clock.now = 481.0  # four fifths of 600 s
    tokens.token()
    assert endpoint.forms == 2 * [{"grant_type": ["client_credentials"], "scope": ["kafka write"]}]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, r"refuses it \(401 invalid_client\): correct .*CLIENT_SECRET"),
        ((500, {}), r"refuses it \(500 no reason\)"),
        ((200, {"token": "other"}), "grants none: it must be one line"),
        ((200, {"access_token": "with\x01control"}), "grants none"),
        ((302, {"location": "http://127.0.0.1:9/"}), r"refuses it \(302"),
    ],
)
def test_refusal_names_reason_and_no_secret(
    endpoint: TokenServer, answer: tuple[int, dict[str, object]] | None, reason: str
) -> None:
    endpoint.answer = answer
    tokens = Endpoint(granted(endpoint, client_secret="wr0ng"), Clock())
    for _ in range(2):  # the second time from memory
        with pytest.raises(ConfigError, match=reason) as refused:
            tokens.token()
        assert "wr0ng" not in str(refused.value)
        assert "d3IwbmcK" not in str(refused.value)
    assert len(endpoint.forms) == 1


def test_endpoint_that_is_away_is_named() -> None:
    with token_server() as away:
        security = granted(away)
    with pytest.raises(ConfigError, match=r"does not answer .*refused"):
        Endpoint(security).token()


@pytest.mark.parametrize("seconds", [100.0, "100", None])
def test_lifetime_is_that_of_answer_or_of_token(
    endpoint: TokenServer, seconds: float | str | None
) -> None:
    endpoint.answer = (200, {"access_token": token(seconds=100.0), "expires_in": seconds})
    clock = Clock()
    start = clock.now = time.time()
    tokens = Endpoint(granted(endpoint), clock)
    for later, asked in ((0.0, 1), (70.0, 1), (90.0, 2)):
        clock.now = start + later
        tokens.token()
        assert len(endpoint.forms) == asked


def test_failure_is_logged_once_and_retried_by_clients(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = AsyncTokens(source_of(from_file(tmp_path / "none")), {})
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            with pytest.raises(TokenError):
                asyncio.run(tokens.token())
    assert caplog.text.count("kafka_token_missing") == 1


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({}, "either token_file or token_url"),
        ({"token_file": "t", "token_url": "https://idp/"}, "either token_file or token_url"),
        ({"token_url": "https://idp/", "client_id": "m"}, "client_secret"),
        ({"token_url": "http://idp/", "client_id": "m", "client_secret": "s"}, "use https"),
        ({"token_url": "https://m:s@idp/"}, "put the login into client_id"),
        ({"token_file": "t", "scope": "kafka"}, "need token_url"),
        ({"token_file": "t", "user": "monitor"}, "does not use user"),
        ({"token_file": "t", "extensions": {"auth": "x"}}, "no name of an extension"),
        ({"token_file": "t", "extensions": {"pool": "a\x01b"}}, "not printable"),
        ({"token_file": "t", "mechanism": "PLAIN"}, "need the mechanism OAUTHBEARER"),
    ],
)
def test_contradictions_are_rejected(chosen: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        KafkaSecurity(**{"protocol": "sasl_ssl", "mechanism": "OAUTHBEARER", **chosen})
