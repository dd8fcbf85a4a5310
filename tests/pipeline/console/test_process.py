"""The processes of `xm console`, with TLS, and without Kafka."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import psutil

from monitor.config import Settings
from pipelines.demo.embedded import free_port
from tests.support.console import ConsoleProgram
from tests.support.redis_servers import Authority


def test_console_serves_over_tls_and_ends_with_its_reader(
    settings: Settings, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.sign("localhost")
    console = ConsoleProgram(
        tmp_path / "console",
        {"XM_REDIS_URL": settings.redis_url, "XM_KAFKA": f"127.0.0.1:{free_port()}"},
        XM_IDENTITY_SECRET="known to this test only",
        XM_CONSOLE__TLS_CERT_FILE=str(certificate),
        XM_CONSOLE__TLS_KEY_FILE=str(key),
    )
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with httpx.Client(verify=context, base_url=f"https://localhost:{console.port}") as client:

        def ready() -> bool:
            try:
                return client.get("/readyz").is_success
            except httpx.TransportError:
                return False

        console.ready = ready  # type: ignore[method-assign]
        with console:
            assert console.process is not None
            answer = client.get("/sign-in")
            children = psutil.Process(console.process.pid).children(recursive=True)
            console.kill()
        _, alive = psutil.wait_procs(children, timeout=30)
    assert answer.headers["set-cookie"].startswith("__Host-")
    assert "; Secure" in answer.headers["set-cookie"]
    assert "max-age" in answer.headers["strict-transport-security"]
    assert children
    assert alive == []
