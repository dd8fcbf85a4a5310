"""TLS of the HTTP services: the server's certificate, and a CA that clients must be signed by."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from monitor.errors import ConfigError
from pipelines.web.watched import Watched

log = logging.getLogger(__name__)


class ServerTls:
    """The TLS of a server.

    Args:
        cert_file: certificate chain, PEM.
        key_file: its key, if not in the same file.
        client_ca_file: CA of client certificates, PEM. With it, a client without a certificate of
            this CA cannot connect (mTLS).
        prefix: of the settings, for errors, such as `XM_SERVE__`.

    Attributes:
        context: for new connections.

    Raises:
        ConfigError: if a file cannot be used.
    """

    def __init__(
        self, cert_file: Path, key_file: Path | None, client_ca_file: Path | None, prefix: str
    ) -> None:
        self._cert_file, self._key_file, self._prefix = cert_file, key_file, prefix
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._load()
        self._watched = [Watched(file) for file in (cert_file, key_file) if file is not None]
        if client_ca_file is not None:
            try:
                self.context.load_verify_locations(client_ca_file)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(
                    f"{prefix}TLS_CLIENT_CA_FILE names {client_ca_file}, which has no usable CA "
                    f"certificate ({_reason(error)})."
                ) from error
            self.context.verify_mode = ssl.CERT_REQUIRED

    def refresh(self) -> None:
        """Load the certificate again if it has changed; new connections use it."""
        try:
            if sum(file.changed() for file in self._watched):
                self._load()
                log.info("certificate_read file=%s", self._cert_file)
        except (ConfigError, OSError) as error:
            log.error("certificate_not_read reason=%r", str(error))

    def _load(self) -> None:
        try:
            self.context.load_cert_chain(self._cert_file, self._key_file, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            files = [str(file) for file in (self._cert_file, self._key_file) if file is not None]
            raise ConfigError(
                f"{self._prefix}TLS_CERT_FILE and {self._prefix}TLS_KEY_FILE name "
                f"{' and '.join(files)}, which are not a certificate and its key "
                f"({_reason(error)})."
            ) from error


def server_tls(
    cert_file: Path | None, key_file: Path | None, client_ca_file: Path | None, prefix: str
) -> ServerTls | None:
    """The TLS that the settings ask for; `None` for plain HTTP.

    Raises:
        ConfigError: if a file cannot be used, or one that others need is missing.
    """
    if cert_file is not None:
        return ServerTls(cert_file, key_file, client_ca_file, prefix)
    if key_file or client_ca_file:
        raise ConfigError(
            f"{prefix}TLS_CERT_FILE is not set, but another TLS setting is: name a certificate."
        )
    return None


def _reason(error: OSError) -> str:
    return (isinstance(error, ssl.SSLError) and error.reason) or error.strerror or str(error)
