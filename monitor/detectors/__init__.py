"""Detectors: each reads the records of keys and reports how improbable ordinary use is.

To add a detector, write its file and add it to DETECTORS; see `deploy/docs/contribute.md`.
"""

from monitor.detectors.automation import Automation
from monitor.detectors.base import Detector, Finding
from monitor.detectors.burst import Burst
from monitor.detectors.combined import Combined
from monitor.detectors.coverage import Coverage
from monitor.detectors.elicitation import Elicitation
from monitor.detectors.harvest import Harvest
from monitor.detectors.pivot import Pivot
from monitor.detectors.takeover import Takeover
from monitor.detectors.templates import Templates

DETECTORS: tuple[Detector, ...] = (
    Burst(),
    Coverage(),
    Elicitation(),
    Automation(),
    Pivot(),
    Templates(),
    Takeover(),
    Harvest(),
)
ALL_DETECTORS: tuple[Detector, ...] = (*DETECTORS, Combined(DETECTORS))
#: Detectors that judge the content of prompts. The others judge times, volumes and clients.
PROMPT_DETECTORS = ("coverage", "elicitation", "harvest")
#: Kinds of alerts, in the order of their slots in the record.
ALERT_KINDS = tuple(each.name for each in sorted(ALL_DETECTORS, key=lambda each: each.slot))

__all__ = [
    "ALERT_KINDS",
    "ALL_DETECTORS",
    "DETECTORS",
    "PROMPT_DETECTORS",
    "Automation",
    "Burst",
    "Combined",
    "Coverage",
    "Detector",
    "Elicitation",
    "Finding",
    "Harvest",
    "Pivot",
    "Takeover",
    "Templates",
]
