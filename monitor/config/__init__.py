"""Settings: what an operator can set, one class per section of the file.

A name is imported when it is first used: the classes need pydantic, which the command line's help
does not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monitor.config.actions import Decisions, Gateway
    from monitor.config.cases import Cases
    from monitor.config.connections import KafkaSecurity, Registry, secret
    from monitor.config.detection import Campaigns, Detection, Topics
    from monitor.config.environment import unknown_variables
    from monitor.config.forward import Forward
    from monitor.config.receivers import Receivers, Route
    from monitor.config.serve import Console, Serve
    from monitor.config.settings import DEFAULT_FILE, Settings, load
    from monitor.config.sharing import Sharing
    from monitor.config.tracing import Tracing

_MODULES = {
    "actions": ("Decisions", "Gateway"),
    "cases": ("Cases",),
    "connections": ("KafkaSecurity", "Registry", "secret"),
    "detection": ("Campaigns", "Detection", "Topics"),
    "environment": ("unknown_variables",),
    "forward": ("Forward",),
    "receivers": ("Receivers", "Route"),
    "serve": ("Console", "Serve"),
    "settings": ("DEFAULT_FILE", "Settings", "load"),
    "sharing": ("Sharing",),
    "tracing": ("Tracing",),
}

__all__ = ["DEFAULT_FILE", "Campaigns", "Cases", "Console", "Decisions", "Detection", "Forward"]
__all__ += ["Gateway", "KafkaSecurity", "Receivers", "Registry", "Route", "Serve", "Settings"]
__all__ += ["Sharing", "Topics", "Tracing", "load", "secret", "unknown_variables"]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
