#!/opt/extraction-monitor/bin/python -I
"""The health check of the image: asks /healthz of whatever the container's first process is.

`serve`, `forward`, `console` and all others each have a port of their own. With TLS the certificate
is not verified: the answer comes from this container.
"""

import os
import ssl
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path


def url(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """The page that shows the health of a command.

    Args:
        arguments: the command line of the first process.
        environment: its settings.
    """
    services = (
        ("serve", "SERVE", "6067"),
        ("forward", "FORWARD", "4318"),
        ("console", "CONSOLE", "6069"),
    )
    for command, section, port in services:
        if command in arguments:
            scheme = "https" if environment.get(f"XM_{section}__TLS_CERT_FILE") else "http"
            return f"{scheme}://127.0.0.1:{environment.get(f'XM_{section}__PORT', port)}/healthz"
    return f"http://127.0.0.1:{environment.get('XM_WEB_PORT', '6066')}/healthz"


def main() -> int:
    arguments = Path("/proc/1/cmdline").read_text().split("\0")
    context = ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(url(arguments, os.environ), timeout=2, context=context):
            return 0
    except OSError as error:
        print(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
