"""Export a case as a bundle, and write reports to files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from monitor.alerting.changes import change_by, checked_text
from monitor.config import Settings
from monitor.errors import EvidenceError, InputError
from monitor.evidence.bundle.files import write_bundle
from monitor.evidence.bundle.timestamp import authority_of
from monitor.evidence.case import Case
from monitor.evidence.chain import check, read_entry
from monitor.evidence.entries import Entry, Exported, FactsTaken
from monitor.evidence.facts import Facts
from monitor.evidence.links import digest
from monitor.evidence.store import CaseStore
from pipelines.cases.collect import Collector
from pipelines.reports.documents import documents
from pipelines.reports.evidence import evidence_of
from pipelines.reports.in_force import look_up

if TYPE_CHECKING:
    from monitor.evidence.dsse import Signs

FORMATS = ("md", "html", "pdf")


class Export(msgspec.Struct, frozen=True):
    """A bundle that was written.

    Attributes:
        manifest: SHA-256 of the signed manifest.
        stamped: whether it has a time stamp.
    """

    case: str
    file: str
    entries: int
    manifest: str
    stamped: bool


def verified_lines(store: CaseStore, case: str) -> list[bytes]:
    """The entries of a case as stored, once the whole chain is verified.

    Raises:
        InputError: if there is no such case.
        EvidenceError: if anything is wrong with the chain.
    """
    lines = store.lines(case)
    if not lines:
        raise InputError(f"There is no case {case}: list them with `xm case list --all`.")
    report = check(lines, store.ring, case=case)
    if not report.ok:
        raise EvidenceError(
            f"Case {case} is not as it was signed, so no document is made of it. "
            f"{report.problems[0].text} Run `xm case verify {case}`."
        )
    return lines


def with_digests(lines: list[bytes]) -> list[tuple[Entry, str]]:
    """Entries, each with the SHA-256 of its line."""
    return [(read_entry(line), digest(line)) for line in lines]


def complete(store: CaseStore, case: str, settings: Settings, who: str) -> None:
    """Collect the facts of an open case in full, if the monitor recorded only those of a moment.

    While it records live, it reads nothing about other keys: neither what members share nor what
    is ordinary. Where Redis no longer has the subject, the case stays as it is.
    """
    evidence = evidence_of(with_digests(verified_lines(store, case)))
    whole = any(_is_whole(taken.facts) for _, taken in evidence.of(FactsTaken))
    if whole or evidence.case.status != "open":
        return
    with suppress(InputError):
        facts = Collector(settings).collect(evidence.case.subject)
        store.append(case, FactsTaken(facts), checked_text(who, "name"))


def _is_whole(facts: Facts) -> bool:
    if facts.type == "campaign":
        return any(each.nats for each in facts.members)
    return any(each.median is not None for finding in facts.findings for each in finding.numbers)


def export(
    store: CaseStore,
    case: str,
    out: Path,
    settings: Settings,
    signer: Signs,
    *,
    who: str,
    why: str,
) -> Export:
    """Write a case as a bundle, then record that in the case and in the audit.

    The entry about the export follows in the case, so the bundle itself does not contain it.
    """
    change, authority = change_by(who, "case", case, why), authority_of(settings.cases)
    complete(store, case, settings, who)
    lines = verified_lines(store, case)
    entries = with_digests(lines)
    files = documents(entries, look_up(settings, subjects(evidence_of(entries).case)))
    _make_folder(out.parent)
    manifest = write_bundle(out, files, lines, signer, store.ring, authority)
    change = msgspec.structs.replace(change, after={"export": manifest})
    store.append(case, Exported(manifest, change.why), change.who, source=manifest, change=change)
    return Export(case, str(out), len(lines), manifest, authority is not None)


def subjects(case: Case) -> list[str]:
    """Everything that decisions on a case may be about."""
    return list(dict.fromkeys([case.subject, *case.members]))


def write_report(out: Path, name: str, report: Callable[[str], bytes]) -> list[Path]:
    """Write a report into a file of a known format, or in all formats into a folder.

    Args:
        name: of the files in a folder, without suffix.
        report: makes the report in one of the formats.

    Raises:
        InputError: if the format is unknown, or a file cannot be written.
    """
    suffix = out.suffix.removeprefix(".").lower()
    if out.is_dir() or not suffix:
        _make_folder(out)
        targets = [(out / f"{name}.{each}", each) for each in FORMATS]
    elif suffix in FORMATS:
        _make_folder(out.parent)
        targets = [(out, suffix)]
    else:
        raise InputError(f"{out} has an unknown format: name a .md, .html or .pdf, or a folder.")
    for file, format in targets:
        content = report(format)
        try:
            file.write_bytes(content)
        except OSError as error:
            raise InputError(f"Cannot write {file}: {error.strerror}.") from error
    return [file for file, _ in targets]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot make the folder {folder}: {error.strerror}.") from error
