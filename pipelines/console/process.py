"""The processes of the console: `xm console`."""

from __future__ import annotations

import asyncio
import logging
import logging.config

import uvicorn

from monitor.config import Settings
from pipelines.console.access.sign_on import SignOn
from pipelines.console.app import application, services
from pipelines.console.reader.child import reading
from pipelines.web.logs import LOGGING

log = logging.getLogger(__name__)


def run_console(settings: Settings) -> None:
    """Serve the pages until SIGINT or SIGTERM.

    Raises:
        ConfigError: if a setting cannot be used.
    """
    logging.config.dictConfig(LOGGING)
    chosen = settings.console
    config = uvicorn.Config(
        application(services(settings), SignOn(settings)),
        host=chosen.host,
        port=chosen.port,
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
    )
    log.info("console_serving url=http://%s:%d", chosen.host, chosen.port)
    with reading(settings):
        asyncio.run(uvicorn.Server(config).serve())
