"""What the topic of cases has: the row of each case and the digests of its entries."""

from __future__ import annotations

import logging

from monitor.errors import EvidenceError
from monitor.evidence.chain import open_entry
from monitor.evidence.dsse import decode
from monitor.evidence.links import PAYLOAD_TYPE, digest
from monitor.evidence.ring import Ring
from monitor.evidence.rows import CaseRow, row_after

log = logging.getLogger(__name__)


class Mirror:
    """Follows the topic, line by line, 100 bytes per entry.

    A line that is there twice counts once. One that is not signed by a key of the ring, or does not
    follow the newest one of its case, counts for nothing: whoever can write to the topic cannot
    change a case.

    Attributes:
        rows: as the entries add up to them, by case.
    """

    def __init__(self, ring: Ring) -> None:
        self.rows: dict[str, CaseRow] = {}
        self._ring = ring
        self._digests: dict[str, set[str]] = {}

    def add(self, line: bytes) -> str | None:
        """Add a line; the id of its case if it is the next entry of one."""
        head = digest(line)
        try:
            entry = open_entry(line, self._ring)
            known, row = self._digests.setdefault(entry.case, set()), self.rows.get(entry.case)
            if head in known:
                return None
            number, previous = (row.entries + 1, row.head) if row else (1, "")
            if (entry.number, entry.previous) != (number, previous):
                raise EvidenceError(
                    f"Entry {entry.number} of case {entry.case} does not follow entry {number - 1}."
                )
            self.rows[entry.case] = row_after(row, entry, len(line), head)
        except EvidenceError as error:
            log.error("case_message_ignored digest=%s reason=%r", head, str(error))
            return None
        known.add(head)
        return entry.case


def is_of_unknown_key(line: bytes, ring: Ring) -> bool:
    """Whether a line names a key that the ring lacks. The ring may be older than the key."""
    try:
        return ring.get(decode(line, PAYLOAD_TYPE).signature.keyid) is None
    except EvidenceError:
        return False
