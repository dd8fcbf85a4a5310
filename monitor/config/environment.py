"""XM_* variables of the environment that are not settings.

Kubernetes sets variables for each Service of a namespace, and Docker for linked containers. Those
of a Service whose name begins with "xm" look like settings: `XM_PORT=tcp://10.0.0.7:6066`,
`XM_SERVICE_HOST`, `XM_WEB_PORT_6066_TCP_ADDR`. They are known by their name and value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from monitor.config.settings import hint, names

_OTHERS = ("XM_CONFIG",)  # where the settings file is
_TESTS = "XM_TEST_"
_URL = r"(?:tcp|udp|sctp)://[\w.:\[\]-]+:\d+"
_SERVICE = [
    (re.compile(r"XM(?:_\w+)?_SERVICE_HOST"), re.compile(r"[\da-fA-F.:]+|None")),
    (re.compile(r"XM(?:_\w+)?_SERVICE_PORT(?:_\w+)?"), re.compile(r"\d+")),
    (re.compile(r"XM(?:_\w+)?_PORT"), re.compile(_URL)),
    (re.compile(r"XM(?:_\w+)?_PORT_\d+_(?:TCP|UDP|SCTP)"), re.compile(_URL)),
    (re.compile(r"XM(?:_\w+)?_PORT_\d+_\w+_PROTO"), re.compile("tcp|udp|sctp")),
    (re.compile(r"XM(?:_\w+)?_PORT_\d+_\w+_PORT"), re.compile(r"\d+")),
    (re.compile(r"XM(?:_\w+)?_PORT_\d+_\w+_ADDR"), re.compile(r"[\da-fA-F.:]+")),
    (re.compile(r"XM(?:_\w+)?_NAME"), re.compile(r"/[\w./-]+")),  # a link of Docker's
]


def unknown_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each XM_* variable that is neither a setting nor a container runtime's.

    Variables below a section (`XM_TOPICS__…`) are not among them: loading the settings rejects
    those.

    Args:
        environment: default: this process's.
    """
    known = {name.partition("__")[0] for name in names()}
    variables = os.environ if environment is None else environment
    return [
        f"{name} is not a setting and has no effect.{hint(name[3:].lower(), as_variable)}"
        for name, value in sorted(variables.items())
        if name.upper().startswith("XM_")
        and name not in _OTHERS
        and not name.startswith(_TESTS)
        and name[3:].lower().partition("__")[0] not in known
        and not is_of_runtime(name, value)
    ]


def is_of_runtime(name: str, value: str) -> bool:
    """Whether a container runtime sets such a variable for a service."""
    return any(form.fullmatch(name) and values.fullmatch(value) for form, values in _SERVICE)


def as_variable(path: str) -> str:
    """The variable of a setting such as `topics__requests`."""
    return f"XM_{path.upper()}"
