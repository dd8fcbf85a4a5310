"""Verifies a bundle with nothing but its bytes and a public key, and names what was changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

from monitor.errors import EvidenceError, InputError
from monitor.evidence import dsse
from monitor.evidence.bundle import timestamp
from monitor.evidence.bundle.container import FIRST, pack, unpack
from monitor.evidence.bundle.files import (
    CHAIN,
    KEYS,
    MANIFEST,
    STAMP,
    STAMP_SEAL,
    Predicate,
    lines_of,
    read_manifest,
    read_stamp_seal,
    read_statement,
)
from monitor.evidence.chain import check
from monitor.evidence.links import untimely
from monitor.evidence.ring import Ring, decode_ring

Files = dict[str, bytes | None]


class Wrong(msgspec.Struct, frozen=True):
    """What is wrong with a bundle.

    Attributes:
        kind: `changed`, `missing`, `added`, `key`, `chain`, `timestamp` or `container`.
        file: in the bundle; empty for the container.
    """

    kind: str
    file: str
    text: str


class BundleReport(msgspec.Struct, frozen=True):
    """The result of a verification.

    Attributes:
        predicate: what the manifest says about the bundle; `None` if it cannot be read.
        manifest: SHA-256 of the signed manifest.
        key: id of the key that signed it.
        documents: files that the manifest lists.
        stamped_at: time of the time stamp, epoch seconds; `None` without one.
        stamp_verified: whether it was verified with the certificate of its authority.
    """

    predicate: Predicate | None
    manifest: str
    key: str
    documents: int
    stamped_at: float | None
    stamp_verified: bool
    problems: list[Wrong]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify_bundle(data: bytes, ring: Ring, authorities: bytes = b"") -> BundleReport:
    """Verify a bundle.

    Args:
        data: the bundle.
        ring: public keys that the verifier trusts, at least the one that signed the manifest.
        authorities: root certificates of time stamp authorities, PEM; default: the time stamp is
            only covered by the bundle's own signature.

    Raises:
        InputError: if it is not a bundle, or its container is damaged.
    """
    files = unpack(data)
    problems = list(_rebuilt(data, files))
    manifest = files.get(MANIFEST)
    if manifest is None:
        kind = "changed" if MANIFEST in files else "missing"
        problems.append(Wrong(kind, MANIFEST, "There is no manifest, so nothing is verified."))
        return BundleReport(None, "", "", 0, None, False, problems)
    found = hashlib.sha256(manifest).hexdigest()
    try:
        envelope = read_manifest(manifest)
        statement = read_statement(envelope)
    except EvidenceError as error:
        problems.append(Wrong("changed", MANIFEST, str(error)))
        return BundleReport(None, found, "", 0, None, False, problems)
    predicate, kid = statement.predicate, envelope.signature.keyid
    trusted = ring
    try:
        dsse.verify(envelope, ring)
    except EvidenceError as error:
        kind = "changed" if ring.get(kid) else "key"
        problems.append(Wrong(kind, MANIFEST, str(error)))
    else:
        if wrong := untimely(kid, predicate.created_at, predicate.created_at, ring):
            problems.append(Wrong("key", MANIFEST, wrong))
        trusted = _with_vouched(ring, files.get(KEYS))
    digests = {each.name: each.digest.get("sha256", "") for each in statement.subject}
    problems += _documents(files, digests)
    problems += _chain(files.get(CHAIN), predicate, trusted)
    stamped = _Stamp(files, manifest, predicate, ring, authorities)
    problems += stamped.problems
    return BundleReport(predicate, found, kid, len(digests), stamped.at, stamped.verified, problems)


def _rebuilt(data: bytes, files: Files) -> Iterator[Wrong]:
    """Build the container again, unless a file in it is damaged."""
    whole = {name: content for name, content in files.items() if content is not None}
    if len(whole) < len(files):
        return
    try:
        built = pack(whole)
    except InputError as error:
        yield Wrong("container", "", str(error))
        return
    if built != data:
        pairs = enumerate(zip(built, data, strict=False))
        at = next((i for i, (a, b) in pairs if a != b), min(len(built), len(data)))
        yield Wrong("container", "", f"The container was changed at byte {at:,}.")


def _with_vouched(ring: Ring, keys: bytes | None) -> Ring:
    """The ring, with the keys for which the signer of the manifest vouches."""
    try:
        vouched = decode_ring(keys or b"")
    except InputError:
        return ring
    return Ring([*(key for key in vouched if ring.get(key.kid) is None), *ring])


def _documents(files: Files, digests: dict[str, str]) -> Iterator[Wrong]:
    for name, expected in digests.items():
        content = files.get(name)
        if name not in files:
            yield Wrong("missing", name, "The file is missing.")
        elif content is None or hashlib.sha256(content).hexdigest() != expected:
            yield Wrong("changed", name, "The file was changed.")
    for name in files.keys() - digests.keys() - {*FIRST}:
        yield Wrong("added", name, "The file was added: the manifest does not list it.")


def _chain(chain: bytes | None, predicate: Predicate, ring: Ring) -> Iterator[Wrong]:
    if chain is None:
        return
    report = check(lines_of(chain), ring, case=predicate.case, through=predicate.head)
    for each in report.problems:
        yield Wrong("chain", CHAIN, f"Entry {each.entry:,} ({each.kind}): {each.text}")
    if report.ok and report.entries != predicate.entries:
        text = f"The chain has {report.entries:,} entries, the manifest {predicate.entries:,}."
        yield Wrong("chain", CHAIN, text)


class _Stamp:
    """The time stamp of a bundle.

    Attributes:
        at: its time; `None` without one.
        verified: whether the authority's certificate was verified, too.
    """

    def __init__(
        self, files: Files, manifest: bytes, predicate: Predicate, ring: Ring, roots: bytes
    ) -> None:
        self.at: float | None = None
        self.verified = False
        self.problems: list[Wrong] = []
        present = {STAMP, STAMP_SEAL} & files.keys()
        if not predicate.authority:
            for name in sorted(present):
                self._wrong("added", name, "The bundle was made without a time stamp.")
            return
        for name in sorted({STAMP, STAMP_SEAL} - present):
            self._wrong("missing", name, "The time stamp is missing.")
        if len(present) == 2:
            self._read(files, manifest, ring, roots)

    def _read(self, files: Files, manifest: bytes, ring: Ring, roots: bytes) -> None:
        stamp, seal = files[STAMP], files[STAMP_SEAL]
        if stamp is None or seal is None:
            for name in (STAMP, STAMP_SEAL):
                if files[name] is None:
                    self._wrong("changed", name, "The file was changed.")
            return
        try:
            envelope, digests = read_stamp_seal(seal)
            dsse.verify(envelope, ring)
        except EvidenceError as error:
            self._wrong("changed", STAMP_SEAL, str(error))
            return
        if digests.manifest != hashlib.sha256(manifest).hexdigest():
            self._wrong("changed", STAMP_SEAL, "It belongs to another manifest.")
        if digests.timestamp != hashlib.sha256(stamp).hexdigest():
            self._wrong("changed", STAMP, "The file was changed.")
            return
        try:
            self.at = timestamp.verify(stamp, manifest, roots)
        except EvidenceError as error:
            self._wrong("timestamp", STAMP, str(error))
        else:
            self.verified = bool(roots)

    def _wrong(self, kind: str, file: str, text: str) -> None:
        self.problems.append(Wrong(kind, file, text))
