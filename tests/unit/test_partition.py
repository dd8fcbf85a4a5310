"""States of partitions, as this and earlier versions wrote them."""

import msgspec
import numpy as np
import pytest

from monitor.alerting.alerts import OpenAlert
from monitor.errors import StoreRefusedError
from monitor.partition import FlaggedAccount, Partition
from monitor.prompts.kernel import MEANING
from monitor.records.baseline import Reference
from monitor.records.baseline_mean import GROUPS
from monitor.records.profile import BINS

DAY = 20_000


def baseline_of_version(version):
    """The bytes of a baseline with one learned day, as a version wrote them."""
    levels = {1: 10, 2: 16, 3: 20}[version]
    histograms = np.zeros((2, levels, BINS), "<f4")
    histograms[0, :, 5], histograms[1, :, 7] = 1000.0, 3.0
    data = np.array([DAY, 0 if version < 3 else levels], "<i4").tobytes() + histograms.tobytes()
    if version == 1:
        return data
    words, counts = (32, 2) if version == 2 else (0, 1)
    rows = np.hstack(
        [np.full((GROUPS, MEANING), 2.0), np.zeros((GROUPS, words)), np.full((GROUPS, counts), 9.0)]
    )
    mean, today = rows.astype("<f4").tobytes(), rows.astype("<f8").tobytes()
    return data + msgspec.msgpack.encode([today, [(DAY, mean)], mean])


@pytest.mark.parametrize("version", [1, 2, 3])
def test_state_of_each_version_is_restored(version):
    alerted = {"k_1": [("burst", "warning")]}
    state = [version, 7, DAY * 86_400.0, baseline_of_version(version), alerted, []]
    partition = Partition("requests:0", 1, Reference.empty())
    partition.restore(msgspec.msgpack.encode(state))
    assert (partition.offset, partition.watermark) == (7, DAY * 86_400.0)
    assert partition.alerted == {"k_1": [("burst", "warning")]}
    baseline = partition.baseline
    assert (baseline.day, baseline.past[0].sum(), baseline.today[0].sum()) == (DAY, 1000.0, 3.0)
    if version > 1:
        assert (baseline.mean.pool.vectors == 2.0).all()
        assert (baseline.mean.today.prompts == 9.0).all()


@pytest.mark.parametrize("baseline", [b"", baseline_of_version(3)[:-1], b"\xff" * 90_000])
def test_unreadable_baseline_is_refused(baseline):
    state = msgspec.msgpack.encode([3, 7, 0.0, baseline, {}, []])
    with pytest.raises(StoreRefusedError, match="baseline in the state of requests:0"):
        Partition("requests:0", 1, Reference.empty()).restore(state)


@pytest.mark.parametrize(
    ("offset", "watermark", "sources"),
    [(-1, 0.0, []), (7, float("nan"), []), (7, 0.0, [("k_1", 0.0, 0)] * 10)],
)
def test_damaged_state_is_refused(offset, watermark, sources):
    state = [3, offset, watermark, baseline_of_version(3), {}, [], sources]
    with pytest.raises(StoreRefusedError, match=r"state of requests:0 .* is damaged"):
        Partition("requests:0", 1, Reference.empty()).restore(msgspec.msgpack.encode(state))


def test_snapshot_is_restored_unchanged():
    partition, again = (Partition("requests:0", 1, Reference.empty()) for _ in range(2))
    partition.offset = 9
    again.restore(partition.snapshot())
    assert again.snapshot() == partition.snapshot()


def test_state_of_a_later_version_is_refused():
    state = [4, 7, 0.0, b"", {}, []]
    with pytest.raises(StoreRefusedError):
        Partition("requests:0", 1, Reference.empty()).restore(msgspec.msgpack.encode(state))


def test_changed_alert_on_an_account_decides_on_its_keys_again():
    partition = Partition("requests:0", 1, Reference.empty())
    partition.accounts["a_1"] = FlaggedAccount(7, {"k_1": 50.0, "k_2": 60.0})
    partition.set_open_alerts("a_1", [OpenAlert("burst", "critical", "a_f00", 1_000.0)])
    account = partition.accounts["a_1"]
    assert [account.decided(key) for key in ("k_1", "k_2")] == [0.0, 0.0]
