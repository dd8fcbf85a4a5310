"""A TAXII 2.1 server for tests: medallion, with collections in memory.

`python -m tests.support.taxii CONFIG PORT [CERTIFICATE KEY]` runs it.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

from tests.support.servers import Server

USER, PASSWORD = "partner", "the right one"
READ_ONLY = "365fed99-08fa-4fcd-a1b3-fb247eb41d01"
_COLLECTIONS = [f"472c94ae-3113-4e3e-a4dd-{i:012x}" for i in range(50)]


class Medallion(Server):
    """A server with one API root, many collections to write to, and one that is read only.

    Args:
        most_bytes: of a request.
        page: objects per answer.
        certificate: its file and its key's, for TLS.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most_bytes: int = 100_000,
        page: int = 20,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        super().__init__(folder)
        self._certificate = certificate
        self._unused = iter(_COLLECTIONS)
        self._config = folder / "medallion.json"
        data = folder / "data.json"
        data.write_text(json.dumps(_data(most_bytes)))
        backend = {
            "module": "medallion.backends.memory_backend",
            "module_class": "MemoryBackend",
            "filename": str(data),
        }
        config = {
            "backend": backend,
            "users": {USER: PASSWORD},
            "taxii": {"max_page_size": page},
        }
        self._config.write_text(json.dumps(config))

    def command(self) -> list[str]:
        program = [sys.executable, "-m", "tests.support.taxii", str(self._config), str(self.port)]
        return [*program, *map(str, self._certificate or ())]

    def launch(self) -> None:
        folder, self.folder = self.folder, Path(__file__).parents[2]  # to import this module
        try:
            super().launch()
        finally:
            self.folder = folder

    @property
    def log(self) -> Path:
        return self._config.with_name("log.txt")

    def ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def fresh(self) -> str:
        """The URL of an empty collection."""
        return self.url(next(self._unused))

    def url(self, collection: str) -> str:
        scheme, host = ("https", "localhost") if self._certificate else ("http", "127.0.0.1")
        return f"{scheme}://{host}:{self.port}/root/collections/{collection}/"


def _data(most_bytes: int) -> dict[str, Any]:
    media = ["application/stix+json;version=2.1"]

    def collection(id: str, writable: bool) -> dict[str, Any]:
        return {
            "id": id,
            "title": "Extraction",
            "can_read": True,
            "can_write": writable,
            "media_types": media,
            "objects": [],
            "manifest": [],
        }

    information = {
        "title": "Partners",
        "versions": ["application/taxii+json;version=2.1"],
        "max_content_length": most_bytes,
    }
    return {
        "/discovery": {"title": "Server", "api_roots": ["/root/"]},
        "root": {
            "information": information,
            "status": [],
            "collections": [
                *(collection(id, True) for id in _COLLECTIONS),
                collection(READ_ONLY, False),
            ],
        },
    }


def main() -> None:
    from medallion import application_instance, register_blueprints, set_config

    config, port, *certificate = sys.argv[1:]
    loaded = json.loads(Path(config).read_text())
    for part in ("users", "taxii", "backend"):
        set_config(application_instance, part, loaded)
    register_blueprints(application_instance)
    tls = (certificate[0], certificate[1]) if certificate else None
    application_instance.run("127.0.0.1", int(port), ssl_context=tls, threaded=True)


if __name__ == "__main__":
    main()
