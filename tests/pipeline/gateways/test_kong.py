"""Kong's plugin in Debian's nginx with Lua, with stand-ins for Kong's kit and HTTP client.

Kong itself cannot be installed from a package registry. The stand-ins have the functions that the
plugin calls, as Kong documents them; the monitor is a real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from multidict import CIMultiDict

from tests.support.decide import SECRET, Decide
from tests.support.gateways import SHIPPED, Ask, Gateway, ModelServer, asking, nginx, write_nginx
from tests.support.programs import DecisionService, Worker
from tests.support.servers import Redis

HTTP = """
return {
    new = function()
        return {
            set_timeout = function(self, milliseconds)
                self.milliseconds = milliseconds
            end,
            request_uri = function(self, url, options)
                local path = url:match("^http://[^/]+(/.*)$")
                for name, value in pairs(options.headers) do
                    ngx.req.set_header(name, value)
                end
                local answer = ngx.location.capture("/monitor" .. path)
                if answer.status == 502 or answer.status == 504 then
                    return nil, "no answer"
                end
                return { status = answer.status, headers = answer.header, body = answer.body }
            end,
        }
    end,
}
"""
CONFIG = """
load_module modules/ndk_http_module.so;
load_module modules/ngx_http_lua_module.so;
events {{}}
http {{
    lua_package_path "{folder}/?.lua;{plugin}/?.lua;;";
    server {{
        listen 127.0.0.1:{port};
        location /monitor/ {{
            internal;
            proxy_pass http://127.0.0.1:{monitor}/;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_read_timeout 5s;
        }}
        location / {{
            access_by_lua_block {{
                local credential = ngx.req.get_headers()["X-Test-Credential"]
                kong = {{
                    client = {{
                        get_credential = function() return credential and {{ id = credential }} end,
                        get_consumer = function() return nil end,
                    }},
                    request = {{
                        get_headers = function(most) return ngx.req.get_headers(most / 20) end,
                    }},
                    service = {{ request = {{ clear_header = ngx.req.clear_header }} }},
                    response = {{
                        exit = function(status, body, headers)
                            ngx.status = status
                            for name, value in pairs(headers) do ngx.header[name] = value end
                            ngx.print(body)
                            return ngx.exit(status)
                        end,
                    }},
                    log = {{ warn = function(...) ngx.log(ngx.WARN, ...) end }},
                }}
                require("handler"):access({{
                    url = "http://127.0.0.1:{monitor}/v1/admit", timeout = 250, closed = {closed},
                }})
            }}
            proxy_pass http://127.0.0.1:{api};
        }}
    }}
}}
"""


class KongPlugin(Gateway):
    """nginx that calls the plugin as Kong does."""

    closed = False

    def configure(self) -> None:
        (self.folder / "resty").mkdir()
        (self.folder / "resty/http.lua").write_text(HTTP)
        text = CONFIG.format(
            folder=self.folder,
            plugin=SHIPPED / "kong/extraction-monitor",
            port=self.port,
            monitor=self.monitor,
            api=self.api,
            closed=str(self.closed).lower(),
        )
        write_nginx(self.folder, text)

    def command(self) -> list[str]:
        return nginx(self.folder)


@pytest.fixture(scope="module")
def serve(own_redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DecisionService]:
    chosen = {"XM_IDENTITY_SECRET": SECRET, "XM_DECISIONS__SHADOW": "false"}
    worker = Worker(tmp_path_factory.mktemp("worker"), "127.0.0.1:9", own_redis.url, **chosen)
    with DecisionService(tmp_path_factory.mktemp("serve"), worker) as serve:
        yield serve


@pytest.fixture
async def ask(api: ModelServer, serve: DecisionService, tmp_path: Path) -> AsyncIterator[Ask]:
    async with asking(KongPlugin(tmp_path / "kong", api.port, serve.port)) as ask:
        yield ask


async def test_plugin_asks_about_the_credential_and_passes_on_the_answer(
    ask: Ask, decide: Decide, api: ModelServer
) -> None:
    decide("credential-1", "throttle", rate=2.0)
    headers = {"X-Test-Credential": "credential-1", "apikey": "sk-1"}
    async with asyncio.timeout(60):
        while (response := await ask(**headers)).status != 429:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert response.content_type == "application/problem+json"
    assert int(response.headers["Retry-After"]) >= 1
    served = len(api.served)
    assert (await ask(**headers)).status == 429
    assert len(api.served) == served
    assert (await ask(**headers | {"X-Test-Credential": "credential-2"})).status == 200
    assert (await ask(apikey="sk-1")).status == 200


async def test_blocked_key_cannot_hide_behind_other_headers(
    serve: DecisionService, decide: Decide, api: ModelServer, tmp_path: Path
) -> None:
    decide("sk-blocked", "block")
    gateway = KongPlugin(tmp_path / "kong", api.port, serve.port)
    async with asking(gateway) as ask:
        async with asyncio.timeout(60):
            while (await ask(apikey="sk-blocked")).status != 403:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        served = len(api.served)
        two = [("X-API-Key", "junk"), ("X-API-Key", "sk-blocked")]
        many = [*[("A", "1")] * 60, ("X-API-Key", "sk-blocked")]
        async with aiohttp.ClientSession() as session:
            for lines, status in ((two, 403), (many, 431)):
                async with session.get(gateway.url, headers=CIMultiDict(lines)) as response:
                    assert response.status == status
    assert len(api.served) == served


async def test_client_cannot_mark_its_request(ask: Ask, api: ModelServer) -> None:
    assert (await ask(apikey="sk-1", **{"X-XM-Mark": "m_2"})).status == 200
    assert "X-XM-Mark" not in api.headers[-1]


@pytest.mark.parametrize(("closed", "status"), [(False, 200), (True, 503)])
async def test_plugin_does_as_configured_while_the_monitor_is_away(
    api: ModelServer, tmp_path: Path, closed: bool, status: int
) -> None:
    plugin = KongPlugin(tmp_path / "kong", api.port, 9)
    plugin.closed = closed
    async with asking(plugin) as ask:
        assert (await ask(apikey="sk-1")).status == status
