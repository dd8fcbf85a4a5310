"""TLS and login for every client of Kafka, from one set of settings.

| `XM_KAFKA_SECURITY__…` | |
|---|---|
| `PROTOCOL` | `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl` |
| `CA_FILE` | certificates to trust, PEM; default: the system's |
| `CERT_FILE`, `KEY_FILE` | client certificate and its key, PEM |
| `MECHANISM` | `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512` |
| `USER`, `PASSWORD` or `PASSWORD_FILE` | the login |

Kafka's clients report a refused login or an untrusted certificate as a broker that does not answer.
`check_login` opens one connection and reports the real reason.
"""

from __future__ import annotations

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiokafka.conn import collect_hosts, create_conn
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

PLAINTEXT = KafkaSecurity()  # no TLS, no login
_PREFIX = "XM_KAFKA_SECURITY__"
_CHECK_MS = 5_000  # for a connection and its handshakes


def client_options(bootstrap: str, security: KafkaSecurity) -> dict[str, Any]:
    """Arguments for any client of aiokafka or kafka-python: servers, TLS and login.

    Raises:
        ConfigError: if a file that the settings name cannot be used.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": bootstrap.split(","),
        "security_protocol": security.protocol.upper(),
    }
    if security.tls:
        options["ssl_context"] = _tls(security)
    if security.sasl:
        password = secret(security.password, security.password_file, f"{_PREFIX}PASSWORD")
        options |= {
            "sasl_mechanism": security.mechanism,
            "sasl_plain_username": security.user,
            "sasl_plain_password": (password or b"").decode(),
        }
    return options


def faust_options(bootstrap: str, security: KafkaSecurity) -> dict[str, Any]:
    """Arguments for a Faust app on the batch transport. Raises as `client_options` does."""
    from faust.auth import SASLCredentials, SSLCredentials

    options = client_options(bootstrap, security)
    credentials = None
    if security.sasl:
        credentials = SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=options.get("ssl_context"),
        )
    elif security.tls:
        credentials = SSLCredentials(options["ssl_context"])
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
    options = client_options(bootstrap, security)
    for host, port, _ in collect_hosts(options.pop("bootstrap_servers")):
        try:
            connection = await create_conn(host, port, request_timeout_ms=_CHECK_MS, **options)
        except (KafkaError, OSError) as error:
            reason = _reason(error, security)
            if reason is None:
                continue
            raise ConfigError(f"Kafka at {host}:{port} {reason}") from error
        connection.close()
        return True
    return False


def check_login_in_thread(bootstrap: str, security: KafkaSecurity) -> bool:
    """The same as `check_login`, for callers without an event loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(check_login(bootstrap, security))).result()


def _reason(error: Exception, security: KafkaSecurity) -> str | None:
    """Why a server refused and what to do, or `None` if it does not answer at all."""
    protocol = f"{_PREFIX}PROTOCOL (now {security.protocol})"
    match error:
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
    context = ssl.create_default_context()
    try:
        if security.ca_file:
            context = ssl.create_default_context(cafile=security.ca_file)
        if security.cert_file:
            context.load_cert_chain(security.cert_file, security.key_file)
    except OSError as error:  # ssl.SSLError is one
        names = "CA_FILE, CERT_FILE or KEY_FILE"
        raise ConfigError(
            f"{_PREFIX}{names} cannot be used ({error.strerror or error}): each names a PEM file."
        ) from error
    return context
