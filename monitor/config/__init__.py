"""Settings: what an operator can set, one class per section of the file."""

from monitor.config.actions import Decisions, Gateway
from monitor.config.cases import Cases
from monitor.config.connections import KafkaSecurity, Registry, secret
from monitor.config.detection import Campaigns, Detection, Topics
from monitor.config.forward import Forward
from monitor.config.receivers import Receivers, Route
from monitor.config.serve import Serve
from monitor.config.settings import DEFAULT_FILE, Settings, load, unknown_variables
from monitor.config.sharing import Sharing
from monitor.config.tracing import Tracing

__all__ = ["DEFAULT_FILE", "Campaigns", "Cases", "Decisions", "Detection", "Forward", "Gateway"]
__all__ += ["KafkaSecurity", "Receivers", "Registry", "Route", "Serve", "Settings", "Sharing"]
__all__ += ["Topics", "Tracing", "load", "secret", "unknown_variables"]
