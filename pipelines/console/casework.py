"""Cases as the pages need them: opened when first used, as most pages need none."""

from __future__ import annotations

import secrets
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.config import Settings
from monitor.errors import ConfigError, InputError
from monitor.evidence.store import CaseStore
from pipelines.cases.access import case_store

if TYPE_CHECKING:
    from monitor.evidence.bundle.verify import BundleReport
    from pipelines.cases.review.rule import Review
    from pipelines.reports.export import Export

_KEPT = 20  # bundles, until the process ends
_WAITING = 4  # documents; more would hold up the pages


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was exported, and what a verification of the written file found."""

    case: str
    file: Path
    export: Export
    report: BundleReport


class Casework:
    """Reads and changes cases. Threads may share it.

    Args:
        settings: of the deployment; without a key to sign, cases can only be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bundles: OrderedDict[str, Bundle] = OrderedDict()
        self._waiting = threading.BoundedSemaphore(_WAITING)
        self._writing = threading.Lock()

    @cached_property
    def store(self) -> CaseStore:
        """The cases in Redis."""
        return case_store(self._settings)

    @cached_property
    def review(self) -> Review:
        """Writes letters, records appeals and rules."""
        from pipelines.cases.collect import Collector
        from pipelines.cases.review.rule import Review

        return Review(self._settings, self.store, Collector(self._settings).collect)

    def export(self, case: str, who: str, why: str) -> Bundle:
        """Write a case as a bundle, and verify the file that was written.

        Raises:
            ConfigError: if there is no key to sign it with.
        """
        from monitor.evidence.bundle.files import read_bundle
        from monitor.evidence.bundle.verify import verify_bundle
        from monitor.evidence.keys import signer_of
        from pipelines.reports.export import export

        signer = signer_of(self._settings)
        if signer is None:
            raise ConfigError(
                "There is no key to sign the bundle with: make one with `xm case key new` and name "
                "it in XM_CASES__KEY_FILE."
            )
        with self._turn():
            file = self._folder / f"{secrets.token_hex(16)}.zip"
            try:
                done = export(self.store, case, file, self._settings, signer, who=who, why=why)
                report = verify_bundle(read_bundle(file), self.store.ring)
            except BaseException:
                file.unlink(missing_ok=True)
                raise
            found = Bundle(case, file, done, report)
            self._bundles[done.manifest] = found
            if len(self._bundles) > _KEPT:
                _, oldest = self._bundles.popitem(last=False)
                oldest.file.unlink(missing_ok=True)
        return found

    def report(self, case: str, form: str) -> bytes:
        """The report on an incident, of the entries of a case and of what is in force now.

        Args:
            form: `md`, `html` or `pdf`.
        """
        from pipelines.reports.documents import incident_report
        from pipelines.reports.evidence import evidence_of
        from pipelines.reports.export import subjects, verified_lines, with_digests
        from pipelines.reports.in_force import look_up

        with self._turn():
            evidence = evidence_of(with_digests(verified_lines(self.store, case)))
            applies = look_up(self._settings, subjects(evidence.case))
            return incident_report(evidence, applies, form)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One document at a time: each takes seconds and memory.

        Raises:
            InputError: if too many wait for their turn.
        """
        if not self._waiting.acquire(blocking=False):
            raise InputError("Other documents are being written: try again in a minute.")
        try:
            with self._writing:
                yield
        finally:
            self._waiting.release()

    def bundle(self, case: str, manifest: str) -> Bundle | None:
        """A bundle of a case that this process has exported; `None` if it is gone.

        Args:
            manifest: SHA-256 of its manifest.
        """
        found = self._bundles.get(manifest)
        return found if found is not None and found.case == case else None

    @cached_property
    def _folder(self) -> Path:
        """Only this user may read it; it is removed when the process ends."""
        self._temporary = tempfile.TemporaryDirectory(prefix="xm-console-")
        return Path(self._temporary.name)
