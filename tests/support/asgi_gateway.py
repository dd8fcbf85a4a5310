"""A gateway of one's own: FastAPI with our middleware before a model server.

Run as `uvicorn tests.support.asgi_gateway:app`; MODEL_SERVER is the URL of the model server.
Without XM_GATEWAY__URL it runs without the middleware, to compare.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from prometheus_client import make_asgi_app
from starlette.background import BackgroundTask

from pipelines.gateways.asgi import ExtractionMonitor

server = httpx.AsyncClient(base_url=os.environ["MODEL_SERVER"], timeout=60)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with server:
        yield


app = FastAPI(lifespan=lifespan)
if "XM_GATEWAY__URL" in os.environ:
    app.add_middleware(ExtractionMonitor)
app.mount("/metrics", make_asgi_app())


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {}


@app.post("/v1/{path:path}")
async def forward(request: Request) -> StreamingResponse:
    copy = server.build_request("POST", request.url.path, content=await request.body())
    response = await server.send(copy, stream=True)
    return StreamingResponse(
        response.aiter_bytes(),
        response.status_code,
        media_type=response.headers["content-type"],
        background=BackgroundTask(response.aclose),
    )
