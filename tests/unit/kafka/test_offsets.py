"""Questions about offsets while Kafka does not answer."""

from __future__ import annotations

import socket

from monitor.config import Settings
from pipelines.kafka.offsets import Offsets


def _connections(server: socket.socket) -> int:
    """Connections that wait to be accepted; takes them."""
    server.settimeout(0.05)
    number = 0
    while True:
        try:
            server.accept()[0].close()
        except TimeoutError:
            return number
        number += 1


def test_broker_that_does_not_answer_is_asked_once() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        offsets = Offsets(Settings(kafka=f"127.0.0.1:{server.getsockname()[1]}"))
        assert offsets.earliest(["requests:0"]) == {}
        assert _connections(server) > 0
        assert offsets.ends(["requests:0"]) == {}
        assert not offsets.begins_before("requests:0", 0.0)
        assert _connections(server) == 0
