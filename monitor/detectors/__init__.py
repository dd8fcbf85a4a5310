"""Detectors: each reads the records of keys and says how improbable ordinary use makes them."""

from monitor.detectors.base import Detector, Finding
from monitor.detectors.burst import Burst
from monitor.detectors.coverage import Coverage
from monitor.detectors.elicitation import Elicitation

DETECTORS: tuple[Detector, ...] = (Burst(), Coverage(), Elicitation())

__all__ = ["DETECTORS", "Burst", "Coverage", "Detector", "Elicitation", "Finding"]
