"""Bundles: whatever is done to one is named."""

from __future__ import annotations

import copy
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from monitor.errors import EvidenceError, InputError
from monitor.evidence.bundle.container import pack, unpack
from monitor.evidence.bundle.files import CHAIN, KEYS, MANIFEST, contents, write_bundle
from monitor.evidence.bundle.verify import Wrong, verify_bundle
from monitor.evidence.links import digest
from monitor.evidence.ring import Ring
from pipelines.show.cases.verify import show_bundle
from tests.support.chains import CASE, chain_of, new_signer

SIGNER, OLD = new_signer(), new_signer()
FILES = {"case.html": b"<p>case</p>", "graph/graph.svg": b"<svg/>", "report.pdf": b"%PDF-1.7"}
LINES = chain_of([OLD, SIGNER, SIGNER])
RING = Ring([SIGNER.public, OLD.public])
TRUSTED = Ring([SIGNER.public])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("bundle") / "case.zip"
    write_bundle(path, FILES, LINES, SIGNER, RING)
    return path.read_bytes()


def found(data: bytes, ring: Ring = TRUSTED) -> set[tuple[str, str]]:
    return {(each.kind, each.file) for each in verify_bundle(data, ring).problems}


def with_files(data: bytes, change: Callable[[dict[str, bytes]], object]) -> bytes:
    """The bundle with other files, in a container that is built as it should be."""
    files = unpack(data)
    change(files)
    return pack(files)


def test_bundle_holds_case_and_documents(bundle: bytes):
    held = contents(bundle)
    assert held.files == FILES
    assert held.chain == LINES
    assert held.statement.predicate.case == CASE


def test_whole_bundle_has_no_problems(bundle: bytes):
    report = verify_bundle(bundle, TRUSTED)
    assert report.ok
    assert (report.predicate.entries, report.predicate.head) == (3, digest(LINES[-1]))
    assert report.key == SIGNER.kid


def test_bundle_is_a_zip_file_that_others_read(bundle: bytes):
    with zipfile.ZipFile(io.BytesIO(bundle)) as container:
        assert container.testzip() is None
        assert container.namelist()[0] == MANIFEST


@settings(max_examples=400, deadline=None)
@given(position=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_any_changed_byte_is_found(bundle: bytes, position: float, change: int):
    data = bytearray(bundle)
    data[int(position * len(data))] ^= change
    try:
        report = verify_bundle(bytes(data), TRUSTED)
    except InputError:
        return
    assert not report.ok


def test_changed_document_is_named_in_a_damaged_container(bundle: bytes):
    assert found(bundle.replace(b"<svg/>", b"<svG/>")) == {("changed", "graph/graph.svg")}


def test_changed_document_is_named_in_a_new_container(bundle: bytes):
    data = with_files(bundle, lambda files: files.update({"case.html": b"<p>else</p>"}))
    assert found(data) == {("changed", "case.html")}


def test_missing_and_added_documents_are_named(bundle: bytes):
    data = with_files(bundle, lambda files: files.pop("report.pdf"))
    assert found(data) == {("missing", "report.pdf")}
    data = with_files(bundle, lambda files: files.update({"more.html": b""}))
    assert found(data) == {("added", "more.html")}


def test_changed_container_is_named(bundle: bytes):
    assert found(bundle + b"x") == {("container", "")}
    assert found(b"x" + bundle) == {("container", "")}


@pytest.mark.parametrize("name", ["../case.html", "/etc/passwd", "a\\b", "", ".hidden", "a//b"])
def test_name_that_leads_elsewhere_is_refused(name: str):
    with pytest.raises(InputError, match="cannot be the name"):
        pack({name: b""})


def test_other_key_is_named(bundle: bytes):
    assert ("key", MANIFEST) in found(bundle, Ring([new_signer().public]))


def test_manifest_of_another_bundle_is_named(bundle: bytes, tmp_path: Path):
    path = tmp_path / "other.zip"
    write_bundle(path, FILES, chain_of([SIGNER]), SIGNER, TRUSTED)
    other = contents_of(path.read_bytes())[MANIFEST]
    data = with_files(bundle, lambda files: files.update({MANIFEST: other}))
    assert {("changed", CHAIN), ("changed", KEYS), ("chain", CHAIN)} <= found(data)


def contents_of(data: bytes) -> dict[str, bytes]:
    return {name: content for name, content in unpack(data).items() if content is not None}


def test_shortened_chain_is_named(bundle: bytes):
    short = b"".join(b"%b\n" % line for line in LINES[:2])
    data = with_files(bundle, lambda files: files.update({CHAIN: short}))
    problems = verify_bundle(data, TRUSTED).problems
    assert any("truncated" in each.text for each in problems if each.kind == "chain")


def test_keys_of_the_bundle_count_only_under_a_trusted_signature(bundle: bytes):
    stranger = new_signer()
    forged = chain_of([stranger] * 3)

    def forge(files: dict[str, bytes]) -> None:
        files[CHAIN] = b"".join(b"%b\n" % line for line in forged)
        files[KEYS] = Ring([stranger.public]).encode()

    assert ("changed", KEYS) in found(with_files(bundle, forge))
    assert ("chain", CHAIN) in found(with_files(bundle, forge))


def test_bundle_signed_with_a_retired_key_is_refused(bundle: bytes):
    retired = msgspec.structs.replace(SIGNER.public, retired=1000.0)
    assert ("key", MANIFEST) in found(bundle, Ring([retired]))


def test_broken_chain_is_not_exported(tmp_path: Path):
    with pytest.raises(EvidenceError, match="not whole"):
        write_bundle(tmp_path / "case.zip", FILES, LINES[1:], SIGNER, RING)
    assert list(tmp_path.iterdir()) == []


def test_reserved_name_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"chain\.jsonl"):
        write_bundle(tmp_path / "case.zip", {CHAIN: b""}, LINES, SIGNER, RING)


@pytest.mark.parametrize("data", [b"", b"PK", b"x" * 100, b"PK\x05\x06" + bytes(18)])
def test_other_files_are_no_bundle(data: bytes):
    try:
        report = verify_bundle(data, TRUSTED)
    except InputError:
        return
    assert not report.ok


def test_files_that_share_bytes_do_not_fill_the_memory():
    """The directory lists the same large file many times under other names."""
    size, number = 100_000, 500
    local = zipfile.ZipInfo("a000", (1980, 1, 1, 0, 0, 0))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as container:
        container.writestr(local, bytes(size))
        for i in range(1, number):
            other = copy.copy(container.filelist[0])
            other.filename = f"a{i:03}"
            container.filelist.append(other)
        container.start_dir = container.fp.tell()
        container._didModify = True
    files = unpack(buffer.getvalue())
    assert sum(content is not None for content in files.values()) <= 1


def test_control_characters_of_a_bundle_do_not_reach_the_terminal(bundle: bytes):
    report = verify_bundle(bundle, TRUSTED)
    wrong = Wrong("added", "\x1b]0;title\x07.html", "\x1b[2J")
    console = Console(record=True, file=io.StringIO())
    show_bundle(msgspec.structs.replace(report, problems=[wrong]), console)
    assert "\x1b" not in console.export_text()
