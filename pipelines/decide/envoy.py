"""Envoy's external authorization over gRPC: `envoy.service.auth.v3.Authorization/Check`.

The answer is that of `/v1/admit`: requests of throttled keys are counted here, because Envoy cannot
limit by a rate that an answer carries.

- Pass: the request goes on with `X-XM-Decision` and, under a decision, `X-XM-Subject` and others.
  What a client sends under these names is overwritten or removed.
- Refuse: the client gets the status, the headers and the problem document.
- `context_extensions` of a route may name the account and the end user (`account`, `end_user`), or
  a header with them that Envoy sets itself (`account_header`, `end_user_header`). `X-XM-Account`
  and `X-XM-End-User` of a client are ignored: it would use up the rate of another's account.
- A call without a token that is needed, or above the limit, fails as a call. Envoy then does what
  its `failure_mode_allow` says, as if the service were away.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from monitor import config
from monitor.errors import ConfigError
from pipelines.decide.envoy_messages import message
from pipelines.decide.guard import TOKEN_HEADER, Guard
from pipelines.decide.service import ACCOUNT_HEADER, END_USER_HEADER, DecisionService
from pipelines.gateways.answers import Answer

log = logging.getLogger(__name__)

_SERVICE = "envoy.service.auth.v3.Authorization"
_OURS = ("x-xm-decision", "x-xm-subject", "x-xm-rate", "x-xm-mark", "x-xm-shadow")
_INTERNAL = (*_OURS, "cache-control")  # what a refused client does not get
_OVERWRITE = 2  # HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
_CODES = {400: 3, 401: 16, 403: 7, 429: 8, 503: 14}  # google.rpc.Code by HTTP status
_LONGEST = 1 << 20  # bytes of a message

CheckRequest, CheckResponse = message("CheckRequest"), message("CheckResponse")


class EnvoyServer:
    """Answers Envoy's calls.

    Args:
        service: answers them.
        guard: permits them.
        settings: where to listen.

    Raises:
        ConfigError: if the address or the certificate cannot be used.
    """

    def __init__(self, service: DecisionService, guard: Guard, settings: config.Serve) -> None:
        self._service, self._guard = service, guard
        self._server = grpc.aio.server(options=[("grpc.max_receive_message_length", _LONGEST)])
        check = grpc.unary_unary_rpc_method_handler(
            self._check,
            request_deserializer=CheckRequest.FromString,
            response_serializer=CheckResponse.SerializeToString,
        )
        handlers = grpc.method_handlers_generic_handler(_SERVICE, {"Check": check})
        self._server.add_generic_rpc_handlers((handlers,))
        address = f"{settings.host}:{settings.grpc_port}"
        credentials = _credentials(settings)
        try:
            if credentials is None:
                self._server.add_insecure_port(address)
            else:
                self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise ConfigError(
                f"Cannot listen on {address} for gRPC: choose another port with "
                "XM_SERVE__GRPC_PORT."
            ) from error

    async def start(self) -> None:
        """Begin to answer."""
        await self._server.start()

    async def stop(self) -> None:
        """Answer open calls for a second, then stop."""
        await self._server.stop(1.0)

    async def _check(self, request: Any, context: Any) -> Any:
        token = dict(context.invocation_metadata() or ()).get(TOKEN_HEADER)
        refusal = self._guard.lookup(_address(context.peer()), token)
        if refusal is not None:
            limited = refusal.status == 503
            code = (
                grpc.StatusCode.RESOURCE_EXHAUSTED if limited else grpc.StatusCode.UNAUTHENTICATED
            )
            await context.abort(code, refusal.detail)
        asked = request.attributes
        headers = list(_headers(asked.request.http))
        headers += _named(asked.context_extensions, dict(headers))
        query = _text(asked.request.http.path).partition("?")[2]
        return _response(self._service.answer(headers, query, admit=True))


def _headers(request: Any) -> Iterator[tuple[str, str]]:
    """The header lines of the client's request, without those that only a gateway may set."""
    lines = [(name, _text(value)) for name, value in request.headers.items()]
    lines += [
        (each.key, _text(each.value or each.raw_value)) for each in request.header_map.headers
    ]
    return (line for line in lines if line[0].lower() not in (ACCOUNT_HEADER, END_USER_HEADER))


def _named(extensions: Any, headers: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The account and the end user, as Envoy's configuration names them or a header with them."""
    for name, header in (("account", ACCOUNT_HEADER), ("end_user", END_USER_HEADER)):
        value = _text(extensions.get(name, b""))
        if value := value or headers.get(_text(extensions.get(f"{name}_header", b"")), ""):
            yield header, value


def _text(value: bytes) -> str:
    """What a client wrote, which may be no UTF-8, as in other look-ups."""
    return value.decode("utf-8", "surrogateescape")


def _response(answer: Answer) -> Any:
    """An answer as Envoy reads it."""
    response = CheckResponse()
    if answer.status == 200:
        added = {name: value for name, value in answer.headers.items() if name.lower() in _OURS}
        _add(response.ok_response.headers, added)
        kept = {name.lower() for name in added}
        response.ok_response.headers_to_remove.extend(each for each in _OURS if each not in kept)
        response.status.code = 0
        return response
    response.status.code = _CODES.get(answer.status, 2)
    denied = response.denied_response
    denied.status.code = answer.status
    denied.body = answer.content.decode()
    _add(
        denied.headers,
        {name: value for name, value in answer.headers.items() if name.lower() not in _INTERNAL},
    )
    return response


def _add(headers: Any, values: dict[str, str]) -> None:
    for name, value in values.items():
        option = headers.add(append_action=_OVERWRITE)
        option.header.key, option.header.value = name.lower(), value.encode()


def _address(peer: str) -> str:
    """The address in `ipv4:10.0.0.1:4711` or `ipv6:%5B::1%5D:4711`."""
    return peer.partition(":")[2].rpartition(":")[0]


def _credentials(settings: config.Serve) -> Any:
    """TLS as the settings say; `None` for plain HTTP/2."""
    if settings.tls_cert_file is None:
        return None
    chain = _read(settings.tls_cert_file)
    key = _read(settings.tls_key_file or settings.tls_cert_file)
    authority = settings.tls_client_ca_file and _read(settings.tls_client_ca_file)
    return grpc.ssl_server_credentials(
        [(key, chain)], authority, require_client_auth=authority is not None
    )


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.") from error
