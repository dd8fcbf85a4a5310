"""Reproduces the facts of a case: reads the offsets that it names again, and compares.

A key's requests go through the engine, a campaign's fingerprints through the linker, each in the
order of its partition, with the settings of the case and nothing from Redis. For a campaign all
requests go through the engine too, to check that its members' fingerprints follow from them.

What a replay cannot give again is said, and is no difference: messages older than the topic's
retention, another version of the program or a model, imported indicators.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import msgspec

from monitor.config import Settings
from monitor.errors import InputError
from monitor.evidence.facts import Facts, StreamRange
from monitor.identity import Identity
from monitor.requests.decoder import Decoder
from pipelines.cases.facts.campaign import IMPORTED_PREFIX
from pipelines.cases.facts.versions import with_detection
from pipelines.cases.reproduction.compare import Comparison, Row, compare, differing_versions
from pipelines.cases.reproduction.replays import (
    Replayed,
    fingerprints_from_requests,
    replay_campaign,
    replay_files,
    replay_key,
)
from pipelines.kafka.ranges import Range, RangeReader
from pipelines.traffic.recording import Recording

LARGE = 20_000  # keys of a population of which Redis gives no view as of one moment


class Reproduction(msgspec.Struct, frozen=True):
    """A replay of a case beside the case.

    Attributes:
        facts: of the replay.
        messages: that were read.
    """

    subject: str
    facts: Facts
    comparison: Comparison
    messages: int
    seconds: float


def reproduce(
    case: Facts,
    settings: Settings,
    identity: Identity,
    *,
    requests: bool = True,
    batch: int = 4_000,
) -> Reproduction:
    """Reproduce the facts of a case from Kafka.

    Args:
        settings: of the deployment; those of detection are taken from the case.
        requests: for a campaign, replay the requests too.
        batch: messages in a batch at most.

    Raises:
        InputError: if the case names no offsets, or the replay does not have its subject.
        ConfigError: if Kafka is down, refuses, or has no such partition.
    """
    begun = time.perf_counter()
    if not case.stream:
        raise InputError("The case names no offsets: reproduce it from files with --files.")
    used, unknown = with_detection(settings, case.versions)
    reader = RangeReader(used, batch)
    own = [each for each in case.stream if each.topic == case.stream[0].topic]
    others = [each for each in case.stream if each.topic != case.stream[0].topic]
    messages, rows = 0, list[Row]()
    if case.type == "campaign":
        found = replay_campaign(case, used, reader.batches(_ranges(own)))
    else:
        found = replay_key(case, used, identity, reader.batches(_ranges(own)))
    excuses = _excuses(case, found, list(reader.gone.values()))
    if requests and others:
        batches = reader.batches(_ranges(others))
        same, messages = fingerprints_from_requests(used, identity, batches, found.fingerprints)
        cut = any(each.first for each in others) or bool(reader.gone) or "" in excuses
        rows = _fingerprint_rows(found, same, cut=cut)
    notes = [*reader.gone.values(), *_notes(case, found, unknown)]
    compared = compare(case, found.facts, excuses)
    return Reproduction(
        case.subject,
        found.facts,
        Comparison([*compared, *rows], notes),
        found.messages + messages,
        time.perf_counter() - begun,
    )


def reproduce_files(
    case: Facts, settings: Settings, identity: Identity, files: Sequence[str]
) -> Reproduction:
    """Reproduce the facts of a case from a recording of its requests.

    A recording is one partition. So the baseline that is learned from it is not that of several
    partitions, and results that follow from it may differ.

    Raises:
        InputError: if a file cannot be read, or the subject is not in them.
    """
    begun = time.perf_counter()
    used, unknown = with_detection(settings, case.versions)

    def run(recording: Recording) -> Replayed:
        return replay_files(case, used, identity, recording)

    found = Recording(files, Decoder.of(used)).run(run)
    excuses = _excuses(case, found, [])
    linked = case.type == "campaign"  # its stream has a partition of fingerprints, too
    if len(case.stream) > 1 + linked:
        excuses.setdefault("", "the files are one partition, the case rests on several")
    compared = Comparison(compare(case, found.facts, excuses), _notes(case, found, unknown))
    seconds = time.perf_counter() - begun
    return Reproduction(case.subject, found.facts, compared, found.messages, seconds)


def _fingerprint_rows(found: Replayed, same: set[str], *, cut: bool) -> list[Row]:
    """Whether each member's last fingerprint follows from its requests.

    Args:
        cut: whether requests that it follows from may be missing.
    """
    why = "requests before the offsets count in it, or a version differs" if cut else ""
    return [
        Row("fingerprints", key, "on the topic", "from requests", "same")
        if key in same
        else Row(
            *("fingerprints", key, "on the topic", "another one from requests"),
            "unknown" if cut else "different",
            why,
        )
        for key in sorted(found.fingerprints)
    ]


def _excuses(case: Facts, found: Replayed, gone: Sequence[str]) -> dict[str, str]:
    """By group of values, or "" for all, why a replay cannot give the same ones."""
    excuses: dict[str, str] = {}
    if found.population > LARGE:
        excuses["ties"] = "the rows of other keys were read at a later moment"
    if gone:
        excuses[""] = "Kafka does not have all of the offsets any more"
    elif not case.complete:
        excuses[""] = "the offsets begin after the first request"
    elif _has_imports(case):
        excuses[""] = "indicators from partners counted, which the stream does not have"
    elif versions := differing_versions(case, found.facts):
        excuses[""] = f"another version: {', '.join(versions)}"
    return excuses


def _has_imports(case: Facts) -> bool:
    numbers = (number for finding in case.findings for number in finding.numbers)
    return any(number.name.startswith(IMPORTED_PREFIX) for number in numbers)


def _notes(case: Facts, found: Replayed, unknown: Sequence[str]) -> list[str]:
    """What could not be compared, in sentences."""
    notes = []
    if not case.complete:
        notes.append(
            "The offsets begin after the subject's first request, because Kafka had deleted the "
            "ones before: counts and probabilities of the replay are of fewer requests."
        )
    if versions := differing_versions(case, found.facts):
        notes.append(
            f"The case was made with another version of {', '.join(versions)}: differences may "
            "follow from that. To rule it out, install the program of that time and set "
            "XM_REFERENCE, XM_CONTENT, XM_TASKS and XM_CAMPAIGNS__WEIGHTS to the files of then."
        )
    if unknown:
        notes.append(f"This version has no setting {', '.join(unknown)}: its default was used.")
    if case.type != "campaign":
        notes.append(
            "Where a number is no level of the record, what is ordinary was read from other keys "
            "at that time: not compared."
        )
    if _has_imports(case):
        notes.append(
            "Indicators from partners counted, which reach the linker beside the stream: the "
            "replay is without them. The numbers of the finding list them."
        )
    return notes


def _ranges(stream: Iterable[StreamRange]) -> list[Range]:
    return [Range(each.topic, each.partition, each.first, each.end) for each in stream]
