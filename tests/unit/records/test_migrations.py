import numpy as np
import pytest

from monitor.errors import StoreError
from monitor.records.migrations import EARLIER, read
from monitor.records.profile import OWN, RECORD, VERSION, blank


def filled(layout):
    """A record whose every field holds something that fits any width."""
    record = np.zeros(1, layout)
    for i, name in enumerate(layout.names):
        record[name] = i + 1
    return record


def test_a_record_of_this_version_is_read_as_it_is():
    record = filled(RECORD)
    record["version"] = VERSION
    assert read(record.tobytes()).tobytes() == record.tobytes()


@pytest.mark.parametrize("version", EARLIER)
def test_a_record_of_an_earlier_version_keeps_what_both_know(version):
    old = filled(EARLIER[version])
    old["version"] = version
    new = read(old.tobytes())
    assert new["version"] == VERSION
    both = set(RECORD.names) & set(EARLIER[version].names) - {"version", "reserved", "spare", "day"}
    for name in both:
        kept = min(new[name].size, old[0][name].size)
        assert (new[name].ravel()[:kept] == old[0][name].flat[0]).all(), name
        assert not new[name].ravel()[kept:].any(), name
    assert len(new["own_mean"]) == OWN


def test_what_an_earlier_version_did_not_keep_starts_empty():
    old = filled(EARLIER[1])
    old["version"] = 1
    assert not read(old.tobytes())["meaning"].any()


def test_counts_beyond_the_width_of_a_field_stay_at_its_largest():
    old = filled(EARLIER[1])
    old["version"], old["short_requests"], old["requests"] = 1, 100_000, 2**40
    assert (read(old.tobytes())["short_requests"] == 2**16 - 1).all()
    assert read(old.tobytes())["requests"] == 2**32 - 1


@pytest.mark.parametrize("data", [b"", b"\x09\x00", blank().tobytes()[:-1]])
def test_bytes_that_are_no_record_are_refused(data):
    with pytest.raises(StoreError, match="the same version"):
        read(data)


def test_a_record_of_a_later_version_is_refused():
    record = blank()
    record["version"] = VERSION + 1
    with pytest.raises(StoreError, match="the newest"):
        read(record.tobytes())
