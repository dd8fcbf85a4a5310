"""The receiver: requests that clients send by HTTP.

| page | takes |
|---|---|
| `POST /v1/traces`, `POST /v1/logs` | OTLP/HTTP exports in protobuf or JSON, with `otel-genai` |
| `POST /v1/requests` | logs in the mapping's format: JSON lines, arrays, CSV, packed or not |

An answer with status 200 means that the spool has all of it; any other, that it has nothing. While
the spool is full the answer is 503 with `Retry-After`. Bodies may have a Content-Encoding. Whoever
may send here can report requests of any key, so a token or a client certificate is needed
wherever others can connect.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import NamedTuple

from aiohttp import web

from monitor.errors import InputError, RegistryUnavailableError
from monitor.requests.framing.elements import MAX_BYTES
from pipelines.forward import otlp
from pipelines.forward.intake import Intake
from pipelines.forward.keying import Keyed
from pipelines.forward.metrics import ForwardMetrics
from pipelines.forward.spool import SpoolError
from pipelines.traffic.files import LineFile
from pipelines.traffic.rejections import Rejections
from pipelines.web.tokens import Tokens

MAX_BODY = 64 << 20  # bytes of a request body, without its Content-Encoding
_MOST_UNPACKED = 256 << 20  # bytes of an upload's elements
_BODIES = 4  # read at a time
_BODY_SECONDS = 60.0  # to send a body
_RETRY_SECONDS = 5  # after which the spool may have room
_NO_EXPORT = {"empty", "not_json", "not_an_object", "undecodable"}
_MAPPING = "XM_MAPPING must name its format; `xm inspect FILE` finds it."
_BEARER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)


class Answer(NamedTuple):
    """What to answer: the status, and a sentence for a refusal."""

    status: int
    reason: str = ""
    found: Keyed | None = None


class Receiver:
    """Answers exports and uploads.

    Args:
        intake: takes the requests.
        tokens: that permit to send; `None`: everyone may.
        reads_otlp: whether the mapping reads OTLP.
        metrics: counts answers.
    """

    def __init__(
        self, intake: Intake, tokens: Tokens | None, reads_otlp: bool, metrics: ForwardMetrics
    ) -> None:
        self._intake, self._tokens, self._metrics = intake, tokens, metrics
        self._reads_otlp = reads_otlp
        self._bodies = asyncio.Semaphore(_BODIES)

    async def export(self, request: web.Request) -> web.Response:
        """Answer an OTLP export."""
        signal, media_type = request.path.rpartition("/")[2], request.content_type
        answer = await self._answer(request, self._take_export)
        if answer.status != 200:
            kind = otlp.JSON if media_type == otlp.JSON else otlp.PROTOBUF
            body = otlp.failure(answer.status, kind, answer.reason)
        else:
            kind, rejections = media_type, answer.found.rejections if answer.found else []
            reason = rejections[0].detail if rejections else ""
            body = otlp.success(signal, media_type, len(rejections), reason)
        return self._response(request, answer, body, kind)

    async def upload(self, request: web.Request) -> web.Response:
        """Answer an upload."""
        answer = await self._answer(request, self._take_upload)
        if answer.found is None:
            problem = {"title": "Not accepted", "status": answer.status, "detail": answer.reason}
            return self._response(request, answer, _json(problem), "application/problem+json")
        report = {"requests": answer.found.requests, "rejected": _rejected(answer.found)}
        return self._response(request, answer, _json(report), "application/json")

    async def _answer(
        self, request: web.Request, take: Callable[[str, bytes], Awaitable[Answer]]
    ) -> Answer:
        if not self._may_send(request):
            return Answer(401, "Send a token that may change, as Authorization: Bearer TOKEN.")
        async with self._bodies:
            try:
                async with asyncio.timeout(_BODY_SECONDS):
                    body = await request.read()
            except web.HTTPRequestEntityTooLarge:
                return Answer(413, f"A body may have {MAX_BODY >> 20} MB. Send several.")
            except TimeoutError:
                return Answer(408, f"The body did not come within {_BODY_SECONDS:.0f} seconds.")
            except web.RequestPayloadError:
                return Answer(400, "The body is not in its Content-Encoding.")
            try:
                return await take(request.content_type, body)
            except (SpoolError, RegistryUnavailableError) as error:
                return Answer(503, str(error))

    async def _take_export(self, media_type: str, body: bytes) -> Answer:
        if not self._reads_otlp:
            return Answer(404, "OTLP is not read with this mapping. Set XM_MAPPING=otel-genai.")
        if media_type not in (otlp.PROTOBUF, otlp.JSON):
            return Answer(415, f"Send {otlp.PROTOBUF} or {otlp.JSON}.")
        if len(body) > MAX_BYTES:
            return Answer(413, f"An export may have {MAX_BYTES >> 20} MB. Send smaller batches.")
        if body.strip() in (b"", b"{}"):
            return Answer(200)
        found = await self._intake.read([body])
        if found.rejections and _is_unreadable(found):
            return Answer(400, f"This is no OTLP export: {found.rejections[0].detail}.")
        await self._intake.accept("otlp", found)
        return Answer(200, found=found)

    async def _take_upload(self, _: str, body: bytes) -> Answer:
        try:
            values = await asyncio.to_thread(_elements, body)
        except InputError as error:
            return Answer(400, str(error))
        if values is None:
            return Answer(413, f"An upload may have {_MOST_UNPACKED >> 20} MB unpacked.")
        found = await self._intake.read(values)
        if not found.requests:
            why = ", ".join(_rejected(found)) or "it is empty"
            return Answer(400, f"The upload has no valid request: {why}. {_MAPPING}")
        await self._intake.accept("upload", found)
        return Answer(200, found=found)

    def _may_send(self, request: web.Request) -> bool:
        if self._tokens is None:
            return True
        presented = _BEARER.fullmatch(request.headers.get("Authorization", ""))
        token = self._tokens.find(presented[1]) if presented else None
        return token is not None and token.permits("change")

    def _response(
        self, request: web.Request, answer: Answer, body: bytes, media_type: str
    ) -> web.Response:
        self._metrics.answers.labels(request.path, answer.status).inc()
        headers = {"Content-Type": media_type}
        if answer.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if answer.status == 503:
            headers["Retry-After"] = str(_RETRY_SECONDS)
        return web.Response(body=body, status=answer.status, headers=headers)


def _elements(body: bytes) -> list[bytes] | None:
    """The elements of an upload; `None` if they are too large together.

    Raises:
        InputError: the upload is damaged, or in no format that is read.
    """
    values: list[bytes] = []
    size = 0
    with LineFile("the upload", opened=BytesIO(body)) as file:
        for batch in file.batches():
            size += sum(map(len, batch)) + len(batch)
            if size > _MOST_UNPACKED:
                return None
            values += [each for each in batch if each.strip()]
    return values


def _is_unreadable(found: Keyed) -> bool:
    """Whether nothing in an export can be read, so that it is no export."""
    return not found.requests and all(each.reason in _NO_EXPORT for each in found.rejections)


def _rejected(found: Keyed) -> list[str]:
    rejected = Rejections()
    rejected.add(found.rejections, lambda index: f"element {index + 1}")
    return rejected.lines()


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
