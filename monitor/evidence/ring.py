"""The ring of public keys: who may have signed an entry, and when.

The ring is a JSON Web Key Set (RFC 7517) of Ed25519 keys (RFC 8037). Two members are added to each
key: `from`, when it began to sign, and `retired`, when it stopped. A key's id is its thumbprint
(RFC 7638), so it follows from the key itself. The ring holds nothing secret, but whoever can change
it can add a key of their own: get it from the deployment, not from the one who shows you a case.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from monitor.errors import ConfigError, EvidenceError, InputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

REMEDY = "install them with `pip install 'extraction-monitor[cases]'`"
CLOCK_SKEW = 300.0  # seconds by which the clocks of signers may differ
_BYTES = 32  # of a public key


class PublicKey(msgspec.Struct, frozen=True):
    """An Ed25519 public key as a JSON Web Key.

    Attributes:
        x: the key, base64url without padding.
        kid: its thumbprint.
        begin: when it began to sign, epoch seconds.
        retired: when it stopped; `None` while it signs.
    """

    x: str
    kid: str
    begin: float = msgspec.field(default=0.0, name="from")
    retired: float | None = None
    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    alg: Literal["EdDSA"] = "EdDSA"
    use: Literal["sig"] = "sig"

    @property
    def raw(self) -> bytes:
        """Its 32 bytes."""
        return base64.urlsafe_b64decode(self.x + "=" * (-len(self.x) % 4))


class KeySet(msgspec.Struct, frozen=True):
    """A JSON Web Key Set."""

    keys: list[PublicKey]


class Ring:
    """Public keys by id.

    Args:
        keys: in any order.

    Raises:
        InputError: if one is not an Ed25519 key, or its id is not its thumbprint.
    """

    def __init__(self, keys: Iterable[PublicKey] = ()) -> None:
        self._keys = {key.kid: key for key in keys}
        for key in self._keys.values():
            if key.kid != _kid_of(key):
                raise InputError(
                    f"The public key {key.kid!r} does not match its id: get the file of public "
                    "keys from the deployment again."
                )

    def __iter__(self) -> Iterator[PublicKey]:
        return iter(self._known().values())

    def __len__(self) -> int:
        return len(self._known())

    def get(self, kid: str) -> PublicKey | None:
        """The key of an id, if the ring has it."""
        return self._known().get(kid)

    def verifies(self, kid: str, signature: bytes, data: bytes) -> bool:
        """Whether a signature over data was made with the key of this id.

        Raises:
            EvidenceError: if the ring has no such key.
        """
        from cryptography.exceptions import InvalidSignature

        key = self.get(kid)
        if key is None:
            raise EvidenceError(f"The key {kid} is not in the ring of public keys.")
        try:
            _verifier(key.raw).verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def signer_of(self, signature: bytes, data: bytes) -> str | None:
        """The id of the key that made a signature, if it is in the ring."""
        return next((key.kid for key in self if self.verifies(key.kid, signature, data)), None)

    def _known(self) -> dict[str, PublicKey]:
        """The keys by id; a subclass may read them again."""
        return self._keys

    def encode(self) -> bytes:
        """The ring as JSON, oldest key first."""
        keys = sorted(self, key=lambda key: (key.begin, key.kid))
        return msgspec.json.format(msgspec.json.encode(KeySet(keys)), indent=2) + b"\n"


def public_key(raw: bytes, begin: float = 0.0) -> PublicKey:
    """A public key from its 32 bytes, with its id.

    >>> public_key(bytes.fromhex(
    ...     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")).kid
    'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k'
    """
    return PublicKey(_base64(raw), _thumbprint(raw), begin)


def decode_ring(data: bytes) -> Ring:
    """Read a ring: a key set in JSON, or public keys in PEM, which are valid at any time.

    Raises:
        InputError: if it is neither.
    """
    if data.lstrip().startswith(b"-----BEGIN"):
        return Ring(_pem_keys(data.strip()))
    try:
        return Ring(msgspec.json.decode(data, type=KeySet).keys)
    except msgspec.MsgspecError as error:
        raise InputError(
            f"this is not a set of Ed25519 public keys ({error}). `xm case key show --json` writes "
            "one."
        ) from None


def load_ring(files: Iterable[Path]) -> Ring:
    """Read the public keys of all files.

    Raises:
        InputError: if a file cannot be read or holds something else.
    """
    keys: list[PublicKey] = []
    for file in files:
        try:
            data = file.read_bytes()
        except OSError as error:
            raise InputError(f"Cannot read the public keys in {file}: {error.strerror}.") from error
        try:
            keys += decode_ring(data)
        except InputError as error:
            raise InputError(f"Cannot use the public keys in {file}: {error}") from None
    return Ring(keys)


def need_cryptography() -> None:
    """Check that the packages that sign and verify are installed.

    Raises:
        ConfigError: if they are not.
    """
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise ConfigError(f"Case files need more packages: {REMEDY}.") from None


def _pem_keys(data: bytes) -> Iterator[PublicKey]:
    need_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    end = b"-----END PUBLIC KEY-----"
    *blocks, rest = data.split(end)
    if rest:
        raise InputError("this is not a public key in PEM.")
    for block in blocks:
        try:
            key = load_pem_public_key(block.strip() + b"\n" + end + b"\n")
        except ValueError:
            raise InputError("this is not a public key in PEM.") from None
        if not isinstance(key, Ed25519PublicKey):
            raise InputError("this is not an Ed25519 key.")
        yield public_key(key.public_bytes_raw())


def _kid_of(key: PublicKey) -> str:
    try:
        raw = key.raw
    except ValueError:
        raw = b""
    if len(raw) != _BYTES or _base64(raw) != key.x:
        raise InputError(f"The public key {key.kid!r} is not an Ed25519 key.")
    return _thumbprint(raw)


def _thumbprint(raw: bytes) -> str:
    members = f'{{"crv":"Ed25519","kty":"OKP","x":"{_base64(raw)}"}}'
    return _base64(hashlib.sha256(members.encode()).digest())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@cache
def _verifier(raw: bytes) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(raw)
