import asyncio

import uvicorn
from uvicorn.server import ServerState

from pipelines.console import connection
from pipelines.console.connection import Connection


async def app(_scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def answer(port, *sent, pause=0.0):
    """What the server sends until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for data in sent:
            writer.write(data)
            await asyncio.sleep(pause)
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_connection_without_a_whole_head_is_closed(monkeypatch):
    monkeypatch.setattr(connection, "_HEAD_SECONDS", 0.1)
    config, state = uvicorn.Config(app, log_config=None), ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(config, state, {}), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    head = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 200000\r\n\r\n"
    cases = {
        "nothing": answer(port),
        "slow": answer(port, b"GET / HTTP/1.1\r\n", *[b"a: b\r\n"] * 20, pause=0.02),
        "large": answer(port, b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 20_000),
        "whole": answer(port, head + b"x" * 100_000, b"x" * 100_000, pause=0.15),
    }
    found = dict(zip(cases, await asyncio.gather(*cases.values()), strict=True))
    server.close()
    assert found["whole"].startswith(b"HTTP/1.1 200")
    assert [found[each] for each in ("nothing", "slow", "large")] == [b"", b"", b""]
