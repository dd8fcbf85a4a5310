"""TLS and login for every client of Kafka, from one set of settings.

| mechanism | login |
|---|---|
| none (`ssl`) | the client certificate, if the broker asks for one (mTLS) |
| `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` | `USER` and `PASSWORD` |
| `OAUTHBEARER` | a token (`tokens.py`) |

Kafka's clients report a refused login or an untrusted certificate as a broker that does not answer.
`check_login` opens one connection and reports the real reason.
"""

from __future__ import annotations

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiokafka.conn import AIOKafkaConnection, OAuthAuthenticator, collect_hosts
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from monitor.config import KafkaSecurity, secret
from monitor.errors import ConfigError
from pipelines.kafka.tokens import AsyncTokens, SyncTokens, TokenError, source_of

PLAINTEXT = KafkaSecurity()  # no TLS, no login
_PREFIX = "XM_KAFKA_SECURITY__"
_CHECK_MS = 5_000  # for a connection and its handshakes
_TOKEN_REMEDY = (
    "it has expired, or the broker expects another issuer, audience or scope; correct "
    f"{_PREFIX}TOKEN_FILE, or {_PREFIX}TOKEN_URL and {_PREFIX}SCOPE."
)


def client_options(bootstrap: str, security: KafkaSecurity) -> dict[str, Any]:
    """Arguments for a client of kafka-python: servers, TLS and login.

    Raises:
        ConfigError: if a file that the settings name cannot be used.
    """
    return _options(bootstrap, security, SyncTokens)


def async_options(bootstrap: str, security: KafkaSecurity) -> dict[str, Any]:
    """The same for a client of aiokafka."""
    return _options(bootstrap, security, AsyncTokens)


def _options(
    bootstrap: str, security: KafkaSecurity, tokens: type[SyncTokens | AsyncTokens]
) -> dict[str, Any]:
    options: dict[str, Any] = {
        "bootstrap_servers": bootstrap.split(","),
        "security_protocol": security.protocol.upper(),
    }
    if security.tls:
        options["ssl_context"] = _tls(security)
    if security.sasl:
        options["sasl_mechanism"] = security.mechanism
    if security.oauth:
        source = source_of(security)
        options["sasl_oauth_token_provider"] = tokens(source, security.extensions)
    elif security.sasl:
        password = secret(security.password, security.password_file, f"{_PREFIX}PASSWORD")
        options |= {
            "sasl_plain_username": security.user,
            "sasl_plain_password": (password or b"").decode(),
        }
    return options


def faust_options(bootstrap: str, security: KafkaSecurity) -> dict[str, Any]:
    """Arguments for a Faust app on the batch transport. Raises as `client_options` does."""
    from faust.auth import OAuthCredentials, SASLCredentials, SSLCredentials

    options = async_options(bootstrap, security)
    tls = options.get("ssl_context")
    credentials = None
    if security.oauth:
        tokens = options["sasl_oauth_token_provider"]
        credentials = OAuthCredentials(oauth_cb=tokens, ssl_context=tls)
    elif security.sasl:
        credentials = SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=tls,
        )
    elif security.tls:
        credentials = SSLCredentials(tls)
    return {
        "broker": [f"kafka-batch://{server}" for server in options["bootstrap_servers"]],
        "broker_credentials": credentials,
    }


async def check_login(bootstrap: str, security: KafkaSecurity) -> bool:
    """Connect and log in once.

    Returns:
        whether a server accepted. False if none answers: it may be starting.

    Raises:
        ConfigError: if a server refuses, with the reason.
    """
    options = async_options(bootstrap, security)
    for host, port, _ in collect_hosts(options.pop("bootstrap_servers")):
        connection = _Connection(host, port, request_timeout_ms=_CHECK_MS, **options)
        try:
            await connection.connect()
        except TokenError as error:
            raise ConfigError(str(error.__cause__)) from error
        except (KafkaError, OSError) as error:
            reason = _reason(error, security)
            if reason is None:
                continue
            raise ConfigError(f"Kafka at {host}:{port} {reason}") from error
        connection.close()
        return True
    return False


class _Connection(AIOKafkaConnection):  # type: ignore[misc]
    """A connection that waits for the broker's verdict on a token.

    aiokafka counts a token as accepted as soon as it is sent.
    """

    def authenticator_oauth(self) -> Any:
        return _OAuthVerdict(sasl_oauth_token_provider=self._sasl_oauth_token_provider)


class _OAuthVerdict(OAuthAuthenticator):  # type: ignore[misc]
    async def step(self, answer: bytes | None) -> Any:
        """What to send next. A broker answers a bad token with a reason, and ends the login after
        the client has confirmed it with the byte 1 (RFC 7628, section 3.2.3)."""
        if answer:
            return b"\x01", True
        return await super().step(answer)


def check_login_in_thread(bootstrap: str, security: KafkaSecurity) -> bool:
    """The same as `check_login`, for callers without an event loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(check_login(bootstrap, security))).result()


def _reason(error: Exception, security: KafkaSecurity) -> str | None:
    """Why a server refused and what to do, or `None` if it does not answer at all."""
    protocol = f"{_PREFIX}PROTOCOL (now {security.protocol})"
    match error:
        case SaslAuthenticationFailed() | AuthenticationFailedError() if security.oauth:
            return f"refused the token ({error.args[0]}): {_TOKEN_REMEDY}"
        case SaslAuthenticationFailed() | AuthenticationFailedError():
            return (
                f"refused the SASL login of user {security.user} with {security.mechanism} "
                f"({error.args[0]}): correct {_PREFIX}USER and {_PREFIX}PASSWORD."
            )
        case UnsupportedSaslMechanismError():
            return (
                f"does not support {security.mechanism}: set {_PREFIX}MECHANISM to one that its "
                "sasl.enabled.mechanisms lists."
            )
        case IllegalSaslStateError():
            return f"expects no SASL login on this port: correct {protocol}, or the port."
        case ssl.SSLCertVerificationError():
            return (
                f"has a certificate that fails verification ({error.verify_message}): set "
                f"{_PREFIX}CA_FILE to the certificate of its CA, and name the server in XM_KAFKA "
                "as the certificate does."
            )
        case KafkaConnectionError() if "CERTIFICATE" in str(error.__cause__):
            return (
                f"refused the client certificate: set {_PREFIX}CERT_FILE and {_PREFIX}KEY_FILE "
                "to one that its truststore accepts."
            )
        case KafkaConnectionError() | ssl.SSLError() | ConnectionResetError():
            return f"closes the connection: correct {protocol}, or the port."
    return None


def _tls(security: KafkaSecurity) -> ssl.SSLContext:
    key = "KEY" if security.key_file else "CERT"
    try:
        name = "CA"
        context = ssl.create_default_context(cafile=security.ca_file)
        if security.cert_file:
            name = "CERT"
            security.cert_file.read_bytes()  # the error for the key below does not say which file
            name = key
            value, file = security.key_password, security.key_password_file
            password = secret(value, file, f"{_PREFIX}KEY_PASSWORD")
            # Without a password OpenSSL would ask at the terminal.
            context.load_cert_chain(security.cert_file, security.key_file, lambda: password or b"")
    except OSError as error:  # ssl.SSLError is one
        file = getattr(security, f"{name.lower()}_file")
        raise ConfigError(
            f"{_PREFIX}{name}_FILE names {file}, which cannot be used ({error.strerror or error}): "
            "it is a PEM file, and an encrypted key needs its password."
        ) from error
    return context
