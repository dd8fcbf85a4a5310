"""The key that signs: Ed25519 (RFC 8032), in a file that only its owner reads.

Whoever has the file can sign entries. It is read when a process starts and when the file was
replaced, and never shown, logged or sent. A new key takes over by `rotate`: the old one is retired
in the ring of public keys and stays there, so that what it signed can still be verified.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from monitor.config import Cases, Settings
from monitor.errors import ConfigError, InputError
from monitor.evidence.ring import PublicKey, Ring, load_ring, public_key

log = logging.getLogger(__name__)

_VARIABLE = "XM_CASES__KEY_FILE"
_LOOK_SECONDS = 1.0  # between looks at whether a file was replaced
_FORBIDDEN_MODE = stat.S_IRWXO | stat.S_IWGRP  # Kubernetes gives a pod its secrets by group


class Signer:
    """Signs with one key.

    Attributes:
        public: its public key.
    """

    def __init__(self, key: Ed25519PrivateKey, begin: float = 0.0) -> None:
        self._key = key
        self.public = public_key(key.public_key().public_bytes_raw(), begin)

    @property
    def kid(self) -> str:
        """The id of the key."""
        return self.public.kid

    def sign(self, data: bytes) -> bytes:
        """The signature over data, 64 bytes."""
        return self._key.sign(data)

    def current(self) -> Signer:
        """The signer whose key is in use."""
        return self


class FileSigner(Signer):
    """Signs with the key in a file, and with its successor as soon as the file is replaced.

    Args:
        file: of the private key.

    Raises:
        ConfigError: see `load_signer`.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._changes = _Changes(file)
        self._current = load_signer(file)

    @property
    def public(self) -> PublicKey:  # type: ignore[override]
        """The public key in use."""
        return self.current().public

    def sign(self, data: bytes) -> bytes:
        return self.current().sign(data)

    def current(self) -> Signer:
        if self._changes.any():
            try:
                self._current = load_signer(self._file)
            except ConfigError as error:
                log.error("key_kept reason=%r", str(error))
        return self._current


class FileRing(Ring):
    """The public keys in a file, read again when the file is replaced, and that of the signer.

    Args:
        file: of public keys; it may not exist yet.
        signer: `None` if nothing is signed here.

    Raises:
        InputError: if the file cannot be used.
    """

    def __init__(self, file: Path | None, signer: Signer | None) -> None:
        self._file, self._signer = file, signer
        self._changes = _Changes(*[file] if file else [])
        super().__init__(self._read())

    def _read(self) -> list[PublicKey]:
        return list(load_ring([self._file] if self._file and self._file.exists() else []))

    def _known(self) -> dict[str, PublicKey]:
        if self._changes.any():
            try:
                self._keys = {key.kid: key for key in self._read()}
            except InputError as error:
                log.error("key_kept reason=%r", str(error))
        own = None if self._signer is None else self._signer.public
        return self._keys if own is None else {own.kid: own, **self._keys}


class _Changes:
    """Whether files were replaced, at most one look per second."""

    def __init__(self, *files: Path) -> None:
        self._files = files
        self._seen = self._states()
        self._due = time.monotonic() + _LOOK_SECONDS

    def any(self) -> bool:
        """Whether one was replaced since the last call that returned true."""
        now = time.monotonic()
        if now < self._due:
            return False
        self._due = now + _LOOK_SECONDS
        seen, self._seen = self._seen, self._states()
        return seen != self._seen

    def _states(self) -> list[tuple[int, int] | None]:
        return [_state(file) for file in self._files]


def _state(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def signer_of(settings: Settings) -> Signer | None:
    """The signer of a deployment; `None` if the settings name no key.

    Raises:
        ConfigError: if the key cannot be read, others may read it, or it was retired.
    """
    if settings.cases.key_file is None:
        return None
    signer = FileSigner(settings.cases.key_file)
    known = FileRing(settings.cases.public_keys, signer).get(signer.kid)
    if known is not None and known.retired is not None:
        raise ConfigError(
            f"{_VARIABLE} names a key that was retired: run `xm case key rotate`, or name its "
            "successor."
        )
    return signer


def ring_of(settings: Settings) -> Ring:
    """The deployment's public keys, and that of its private key if their file does not have it.

    Raises:
        ConfigError: if the private key cannot be read.
        InputError: if the file of public keys cannot be used.
    """
    return FileRing(settings.cases.public_keys, signer_of(settings))


def load_signer(file: Path) -> Signer:
    """Read a private key, PKCS #8 in PEM.

    Raises:
        ConfigError: if it cannot be read, others may read it, or it is not such a key.
    """
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            data = opened.read(1 << 16)
    except OSError as error:
        raise ConfigError(
            f"{_VARIABLE} names {file}, which cannot be read ({error.strerror}): correct it, or "
            "make a key with `xm case key new`."
        ) from error
    if mode & _FORBIDDEN_MODE:
        raise ConfigError(
            f"{_VARIABLE} names {file}, which others can read or its group can write (mode "
            f"{stat.S_IMODE(mode):04o}): run `chmod 600 {file}`, and rotate the key if others "
            "could have read it."
        )
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        reason = "it has a password" if isinstance(error, TypeError) else "it is no key in PEM"
        raise ConfigError(
            f"{_VARIABLE} names {file}, which cannot be used: {reason}. Make one with "
            "`xm case key new`."
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(
            f"{_VARIABLE} names {file}, which is not an Ed25519 key. Make one with "
            "`xm case key new`."
        )
    return Signer(key)


def new_key(settings: Cases) -> PublicKey:
    """Make the deployment's first key.

    Raises:
        ConfigError: if the settings name no file, or the key exists.
        InputError: if a file cannot be written.
    """
    private, public = _files(settings)
    if private.exists():
        raise ConfigError(f"{private} exists already: run `xm case key rotate` to replace it.")
    ring = load_ring([public] if public.exists() else [])
    return _replace(private, public, list(ring), time.time())


def rotate_key(settings: Cases) -> PublicKey:
    """Replace the deployment's key: retire it in the ring, and keep no copy of it.

    Raises:
        ConfigError: if there is no key to replace.
        InputError: if a file cannot be written.
    """
    private, public = _files(settings)
    signer, now = load_signer(private), time.time()
    keys = [
        msgspec.structs.replace(key, retired=now) if key.retired is None else key
        for key in FileRing(settings.public_keys, signer)
    ]
    return _replace(private, public, keys, now)


def _files(settings: Cases) -> tuple[Path, Path]:
    if settings.key_file is None or settings.public_keys is None:
        raise ConfigError(f"There is no file for the key: set {_VARIABLE}.")
    return settings.key_file, settings.public_keys


def _replace(private: Path, public: Path, older: list[PublicKey], now: float) -> PublicKey:
    """Write a new key. Its public key is written first, so that no entry lacks it."""
    key = Ed25519PrivateKey.generate()
    signer = Signer(key, now)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(public, Ring([*older, signer.public]).encode(), 0o644)
    _write(private, pem, 0o600)
    return signer.public


def _write(file: Path, data: bytes, mode: int) -> None:
    """Replace a file at once and durably."""
    new = file.with_name(f".{file.name}.new")
    try:
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(file)
    except OSError as error:
        raise InputError(f"Cannot write {file}: {error.strerror}.") from error
