import numpy as np
import pytest

from monitor.errors import StoreError
from monitor.kernels.zeros import compact
from monitor.records.migrations import EARLIER, REHASHED, RENAMED, read
from monitor.records.profile import (
    EXCLUDED,
    OWN,
    PER_LEVEL,
    RECORD,
    RECORD_VERSION,
    SHORT,
    as_words,
    blank,
)
from monitor.store.record_block import read_all


def filled(layout):
    """A record whose every field holds something that fits any width."""
    record = np.zeros(1, layout)
    for i, name in enumerate(layout.names):
        record[name] = i + 1
    return record


def test_present_record_is_read_unchanged():
    record = filled(RECORD)
    record["version"] = RECORD_VERSION
    assert read(record.tobytes()).tobytes() == record.tobytes()


def stored(records):
    """Each record in the form in which it is stored."""
    data, ends = compact(as_words(records), np.arange(len(records)))
    return [part.tobytes() for part in np.split(data, ends[:-1])]


def test_stored_records_are_read_unchanged():
    records = np.concatenate([filled(RECORD), [blank()]])
    records["version"] = RECORD_VERSION
    values = stored(records)
    assert len(values[1]) < 100 < len(values[0])
    assert [read(value).tobytes() for value in values] == [each.tobytes() for each in records]


def test_records_of_all_forms_are_read_together():
    old = filled(EARLIER[3])
    old["version"] = 3
    present = filled(RECORD)
    present["version"] = RECORD_VERSION
    values = [None, old.tobytes(), *stored(present), present.tobytes()]
    expected = [blank(), read(old.tobytes()), present[0], present[0]]
    assert [each.tobytes() for each in read_all(values)] == [each.tobytes() for each in expected]


def test_damaged_stored_record_is_refused():
    (value,) = stored(filled(RECORD))
    for damaged in (value[:-4], value[:-1], value + b"\0\0\0\0", value[:4], value[:2]):
        for reading in (read, lambda data: read_all([None, data])):
            with pytest.raises(StoreError, match="unknown version"):
                reading(damaged)


@pytest.mark.parametrize("version", EARLIER)
def test_earlier_record_keeps_the_fields_of_both_versions(version):
    old = filled(EARLIER[version])
    old["version"] = version
    new = read(old.tobytes())
    assert new["version"] == RECORD_VERSION
    kept = {name: RENAMED.get(name, name) for name in EARLIER[version].names if name != "version"}
    known = {field for field in RECORD.names if version >= REHASHED.get(field, 0)}
    kept = {name: field for name, field in kept.items() if field in known}
    if version < 3:
        assert new["day"] == -1
        del kept["day"]
    converted = {"short_head", "short_requests", "short_tokens", "day_peak"}
    for name, field in kept.items():
        if field in converted:
            continue
        size = min(new[field].size, old[0][name].size)
        assert (new[field].ravel()[:size] == old[0][name].flat[0]).all(), name
        assert not new[field].ravel()[size:].any(), name
    assert len(new["own_mean"]) == OWN
    missing = set(RECORD.names) - set(kept.values()) - {"version", "day"}
    assert not any(new[field].any() for field in missing)


@pytest.mark.parametrize("version", EARLIER)
def test_blank_earlier_record_becomes_a_blank_record(version):
    old = np.zeros(1, EARLIER[version])
    old["version"] = version
    expected = blank()
    expected["day"] = read(old.tobytes())["day"]
    assert read(old.tobytes()).tobytes() == expected.tobytes()


@pytest.mark.parametrize("version", [3, 4])
def test_excluded_record_stays_excluded_at_new_levels(version):
    old = np.zeros(1, EARLIER[version])
    old["version"], old["day_peak"] = version, np.inf
    assert (read(old.tobytes())["day_peak"] == EXCLUDED).all()


def test_day_peaks_become_bins():
    old = np.zeros(1, EARLIER[5])
    old["version"], old["day_peak"][0, :3] = 5, (0.2, 7.6, 30.0)
    assert read(old.tobytes())["day_peak"][:3].tolist() == [0, 7.5 * PER_LEVEL, 30 * PER_LEVEL]


def test_panes_of_ten_seconds_keep_their_times_and_counts():
    old = np.zeros(1, EARLIER[5])
    old["version"], old["short_head"] = 5, 1000  # 10,000 s to 10,010 s
    for pane, requests in ((1000, 3), (999, 5), (980, 7)):
        old["short_requests"][0, pane % 30], old["short_tokens"][0, pane % 30] = requests, 2.0
    new = read(old.tobytes())
    counts = {pane: new["short_requests"][pane % SHORT.panes] for pane in (666, 653)}
    assert (new["short_head"], counts) == (666, {666: 8, 653: 7})
    assert new["short_tokens"].sum() == 6.0


def test_renamed_fields_are_in_the_record_and_in_no_earlier_one():
    assert set(RENAMED.values()) <= set(RECORD.names)
    earlier = {name for version in (1, 2, 3) for name in EARLIER[version].names}
    assert set(RENAMED) <= earlier
    assert not set(RENAMED.values()) & earlier


def test_counts_beyond_a_narrower_field_are_capped():
    old = filled(EARLIER[1])
    old["version"], old["middle_requests"], old["requests"] = 1, 100_000, 2**40
    assert (read(old.tobytes())["middle_requests"] == 2**16 - 1).all()
    assert read(old.tobytes())["requests"] == 2**32 - 1


@pytest.mark.parametrize("data", [b"", b"\x09\x00", blank().tobytes()[:-1]])
def test_bytes_that_are_no_record_are_refused(data):
    with pytest.raises(StoreError, match="the same version"):
        read(data)


def test_later_record_is_refused():
    record = blank()
    record["version"] = RECORD_VERSION + 1
    with pytest.raises(StoreError, match="the newest"):
        read(record.tobytes())
