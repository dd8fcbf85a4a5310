"""TLS of the HTTP services: the server's certificate, and a CA that clients must be signed by."""

from __future__ import annotations

import ssl
from pathlib import Path

from monitor.errors import ConfigError


def server_context(
    cert_file: Path | None, key_file: Path | None, client_ca_file: Path | None, prefix: str
) -> ssl.SSLContext | None:
    """The TLS context of a server; `None` for plain HTTP.

    Args:
        cert_file: certificate chain, PEM.
        key_file: its key, if not in the same file.
        client_ca_file: CA of client certificates, PEM. With it, a client without a certificate of
            this CA cannot connect (mTLS).
        prefix: of the settings, for errors, such as `XM_SERVE__`.

    Raises:
        ConfigError: if a file cannot be used, or one that others need is missing.
    """
    if cert_file is None:
        if key_file or client_ca_file:
            raise ConfigError(
                f"{prefix}TLS_CERT_FILE is not set, but another TLS setting is: name a certificate."
            )
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, cert_file, key_file, prefix)
    if client_ca_file is not None:
        try:
            context.load_verify_locations(client_ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"{prefix}TLS_CLIENT_CA_FILE names {client_ca_file}, which has no usable CA "
                f"certificate ({_reason(error)})."
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def load_certificate(
    context: ssl.SSLContext, cert_file: Path, key_file: Path | None, prefix: str
) -> None:
    """Load the certificate, at the start or after it was renewed; new connections use it.

    Raises:
        ConfigError: if a file cannot be used.
    """
    try:
        context.load_cert_chain(cert_file, key_file, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        named = f"{cert_file} and {key_file}" if key_file else str(cert_file)
        raise ConfigError(
            f"{prefix}TLS_CERT_FILE and {prefix}TLS_KEY_FILE name {named}, which are not a "
            f"certificate and its key ({_reason(error)})."
        ) from error


def _reason(error: OSError) -> str:
    return (isinstance(error, ssl.SSLError) and error.reason) or error.strerror or str(error)
