"""Detectors: each reads the records of keys and says how improbable ordinary use makes them."""

from monitor.detectors.automation import Automation
from monitor.detectors.base import Detector, Finding
from monitor.detectors.burst import Burst
from monitor.detectors.combined import Combined
from monitor.detectors.coverage import Coverage
from monitor.detectors.elicitation import Elicitation
from monitor.detectors.pivot import Pivot
from monitor.detectors.templates import Templates

DETECTORS: tuple[Detector, ...] = (
    Burst(),
    Coverage(),
    Elicitation(),
    Automation(),
    Pivot(),
    Templates(),
)
JUDGES: tuple[Detector, ...] = (*DETECTORS, Combined(DETECTORS))

__all__ = [
    "DETECTORS",
    "JUDGES",
    "Automation",
    "Burst",
    "Combined",
    "Coverage",
    "Detector",
    "Elicitation",
    "Finding",
    "Pivot",
    "Templates",
]
