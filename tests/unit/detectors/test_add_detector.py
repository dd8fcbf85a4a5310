"""The worked example of `deploy/docs/contribute.md`: a new detector, from file to alert."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from monitor.batch import Batch
from monitor.config import Settings
from monitor.detectors import DETECTORS
from monitor.detectors.base import Evidence, Finding, first_seen
from monitor.engine import Engine
from monitor.identity import Identity
from monitor.records.baseline import Baseline
from monitor.records.profile import Profile
from monitor.store.memory import MemoryStore
from tests.support.requests import request


class ManyAddresses:
    """One key from many client addresses: a key that is shared or resold.

    Most keys have one address. Each further address is half as probable.
    """

    name = "many_addresses"  # the kind of its alerts
    slot = 7  # the first free slot of the record; stored records depend on it
    levels = ()  # those of the record that it compares with the baseline
    evidence: ClassVar = {"addresses": Evidence("count", "client addresses")}

    def __call__(self, keys: Profile, baseline: Baseline) -> Finding:
        """Evaluate n keys at once."""
        addresses = keys.distinct("addresses")
        p = 0.5 ** np.maximum(addresses - 1.0, 0.0)
        return Finding(p, first_seen(keys), lambda: {"addresses": addresses})

    def summary(self, evidence: Mapping[str, float]) -> str:
        """The line that a pager shows."""
        return f"requests from {evidence['addresses']:,.0f} client addresses"


def alerts_of(*requests):
    settings, identity = Settings(), Identity(b"0123456789abcdef", plain=True)
    detectors = (*DETECTORS, ManyAddresses())  # in production: the list in detectors/__init__.py
    engine = Engine(settings, identity, MemoryStore(), detectors=detectors)
    engine.assign("requests:0")
    return engine.observe(Batch("requests:0", range(len(requests)), list(requests))).alerts


def test_new_detector_alerts_on_a_shared_key():
    values = [request("sk-shared", i, ip=f"192.0.2.{i}") for i in range(60)]
    alerts = [alert for alert in alerts_of(*values) if alert.kind == "many_addresses"]
    assert [alert.severity for alert in alerts][-1] == "critical"
    assert "client addresses" in alerts[-1].summary
    assert 20 < alerts[-1].evidence["addresses"] < 70


def test_new_detector_ignores_a_key_with_one_address():
    values = [request("sk-plain", i, ip="192.0.2.1") for i in range(60)]
    assert "many_addresses" not in {alert.kind for alert in alerts_of(*values)}
