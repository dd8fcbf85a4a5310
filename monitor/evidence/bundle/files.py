"""The files of a bundle.

- `manifest.dsse.json`: the signed manifest, an in-toto Statement (v1) with the digest of each file.
- `chain.jsonl`: the entries of the case as they are stored, one signed envelope per line.
- `public-keys.json`: the ring of public keys. The key that signed the manifest vouches for them.
- `timestamp.tsr`: an RFC 3161 response over the manifest; `timestamp.dsse.json`: its signed digest.
- All others are documents.

Every byte is covered: documents by the manifest, the manifest by its signature, the time stamp by a
signature of its own, and the container by building it again.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from monitor.errors import EvidenceError, InputError
from monitor.evidence import dsse
from monitor.evidence.bundle.container import FIRST, pack, unpack
from monitor.evidence.bundle.timestamp import Authority
from monitor.evidence.chain import check, read_entry
from monitor.evidence.ring import Ring

MANIFEST, STAMP_SEAL, STAMP = FIRST
CHAIN, KEYS = "chain.jsonl", "public-keys.json"
_STATEMENT = "application/vnd.in-toto+json"
_SEALED = "application/vnd.extraction-monitor.time-stamp+json"
_PREDICATE = "https://in-toto.io/attestation/extraction-monitor/case-bundle/v1"
_LARGEST = 1 << 30  # bytes of a bundle


class Subject(msgspec.Struct, frozen=True):
    """A file and its digests, by algorithm."""

    name: str
    digest: dict[str, str]


class Predicate(msgspec.Struct, frozen=True):
    """What the manifest says about the bundle.

    Attributes:
        entries: of the chain.
        head: digest of its newest entry.
        created_at: wall-clock time, epoch seconds.
        program: version of this package.
        authority: URL of the time stamp authority; empty if the bundle has no time stamp.
    """

    case: str
    entries: int
    head: str
    created_at: float
    program: str
    authority: str = ""


class Statement(msgspec.Struct, frozen=True):
    """An in-toto Statement, v1."""

    subject: list[Subject]
    predicate: Predicate
    type: Literal["https://in-toto.io/Statement/v1"] = msgspec.field(
        default="https://in-toto.io/Statement/v1", name="_type"
    )
    predicate_type: Literal["https://in-toto.io/attestation/extraction-monitor/case-bundle/v1"] = (
        msgspec.field(default=_PREDICATE, name="predicateType")  # type: ignore[arg-type]
    )


class StampSeal(msgspec.Struct, frozen=True):
    """SHA-256 of the manifest and of the time stamp over it, hexadecimal."""

    manifest: str
    timestamp: str


class Contents(NamedTuple):
    """What a bundle holds, not verified.

    Attributes:
        files: documents by name, without the chain and the keys.
        chain: the lines of the case, oldest first.
    """

    statement: Statement
    files: dict[str, bytes]
    chain: list[bytes]


def write_bundle(
    path: Path,
    files: Mapping[str, bytes],
    chain: Sequence[bytes],
    signer: dsse.Signs,
    ring: Ring,
    authority: Authority | None = None,
) -> str:
    """Write a bundle. Returns the SHA-256 of its signed manifest, hexadecimal.

    Args:
        files: documents by name.
        chain: the lines of the case, oldest first.
        ring: the deployment's public keys.
        authority: gives the time stamp; default: none.

    Raises:
        EvidenceError: if the chain is not whole.
        InputError: if a name is reserved, or the file cannot be written.
        TimestampError: if the authority gives no time stamp.
    """
    report = check(chain, ring)
    if not report.ok:
        raise EvidenceError(f"The case is not whole: {report.problems[0].text}")
    reserved = {CHAIN, KEYS, *FIRST} & files.keys()
    if reserved:
        raise InputError(f"{min(reserved)} is a name of the bundle's own: use another.")
    content = dict(files) | {CHAIN: b"".join(b"%b\n" % line for line in chain)}
    content[KEYS] = ring.encode()
    predicate = Predicate(
        report.case,
        report.entries,
        report.head,
        time.time(),
        version("extraction-monitor"),
        authority.url if authority else "",
    )
    subjects = [Subject(name, {"sha256": _sha256(content[name])}) for name in sorted(content)]
    statement = msgspec.json.encode(Statement(subjects, predicate))
    manifest = dsse.sign(statement, _STATEMENT, signer)
    content[MANIFEST] = manifest
    if authority is not None:
        content[STAMP] = stamp = authority.stamp(manifest)
        seal = msgspec.json.encode(StampSeal(_sha256(manifest), _sha256(stamp)))
        content[STAMP_SEAL] = dsse.sign(seal, _SEALED, signer)
    _write(path, pack(content))
    return _sha256(manifest)


def read_bundle(path: Path) -> bytes:
    """The bytes of a bundle.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(f"Cannot read the bundle {path}: {error.strerror}.") from error
    if len(data) > _LARGEST:
        raise InputError(f"{path} is larger than 1 GiB: it is not a bundle.")
    return data


def contents(data: bytes) -> Contents:
    """What a bundle holds. Verify it first, see `verify.py`.

    Raises:
        InputError: if it is not a bundle, or is damaged.
        EvidenceError: if its manifest or its chain cannot be read.
    """
    files = {name: content for name, content in unpack(data).items() if content is not None}
    if MANIFEST not in files or CHAIN not in files:
        raise InputError("The file is not a bundle of a case, or is damaged.")
    statement = read_statement(dsse.decode(files[MANIFEST], _STATEMENT))
    chain = lines_of(files[CHAIN])
    for line in chain:
        read_entry(line)
    documents = {name: files[name] for name in files if name not in (CHAIN, KEYS, *FIRST)}
    return Contents(statement, documents, chain)


def read_statement(envelope: dsse.Envelope) -> Statement:
    """The manifest in its envelope."""
    try:
        return msgspec.json.decode(envelope.payload, type=Statement)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EvidenceError(f"The manifest cannot be read: {error}.") from None


def read_manifest(data: bytes) -> dsse.Envelope:
    """The envelope of a manifest."""
    return dsse.decode(data, _STATEMENT)


def read_stamp_seal(data: bytes) -> tuple[dsse.Envelope, StampSeal]:
    """The signed digests of a time stamp and of what it is over."""
    envelope = dsse.decode(data, _SEALED)
    try:
        return envelope, msgspec.json.decode(envelope.payload, type=StampSeal)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EvidenceError(f"The time stamp's digests cannot be read: {error}.") from None


def lines_of(chain: bytes) -> list[bytes]:
    """The lines of `chain.jsonl`."""
    return chain.removesuffix(b"\n").split(b"\n") if chain else []


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: bytes) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror}.") from error
    finally:
        new.unlink(missing_ok=True)
