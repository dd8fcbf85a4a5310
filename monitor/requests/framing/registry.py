"""A client of a Confluent-compatible schema registry (Confluent, Karapace, Redpanda, Apicurio).

Each schema is fetched once per process, when the first message with its id arrives. Batches are
decoded in a thread of their own, so a slow registry delays no lookup. While the registry fails,
`RegistryUnavailableError` stops the batch; the worker retries it and loses nothing. Only the answer
"there is no such schema" rejects a message.

Only the configured URL is asked: redirects are not followed.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

import msgspec

from monitor.config import Registry as Settings
from monitor.config import secret
from monitor.errors import RegistryUnavailableError
from monitor.requests.reasons import ElementError

_LONGEST = 8 << 20  # bytes of an answer
_MOST_REFERENCES = 256  # of one schema, direct and indirect
_ASK_AGAIN = 60.0  # seconds until an unknown id is asked for again
_PAUSE = 1.0  # seconds after a failure in which the registry is not asked
_UNKNOWN = (40401, 40402, 40403)  # no such subject, version, schema


class Reference(msgspec.Struct, frozen=True):
    """Another schema that a schema names, for example an imported file."""

    name: str
    subject: str
    version: int


class Schema(msgspec.Struct, frozen=True):
    """A schema as the registry answers it."""

    text: str = msgspec.field(name="schema")
    kind: str = msgspec.field(name="schemaType", default="AVRO")
    references: list[Reference] = []


class Resolved(NamedTuple):
    """A schema with all schemas that it names, by name, those that others need first."""

    schema: Schema
    references: dict[str, Schema]


class _Fault(msgspec.Struct):
    error_code: int


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Registry:
    """Fetches and keeps schemas.

    Args:
        settings: with a `url`.
        clock: seconds, rising.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        assert settings.url is not None
        self._url = settings.url.rstrip("/")
        self._timeout = settings.timeout_seconds
        self._clock = clock
        self._schemas: dict[int, Resolved] = {}
        self._unknown: dict[int, float] = {}
        self._failed = (float("-inf"), "")
        cafile = settings.ca_file and str(settings.ca_file)
        context = ssl.create_default_context(cafile=cafile)
        self._open = build_opener(_NoRedirects, HTTPSHandler(context=context)).open
        self._headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
        if settings.user:
            password = secret(settings.password, settings.password_file, "XM_REGISTRY__PASSWORD")
            login = b64encode(settings.user.encode() + b":" + (password or b"")).decode()
            self._headers["Authorization"] = f"Basic {login}"

    def __call__(self, number: int) -> Resolved:
        """The schema with an id.

        Raises:
            ElementError: if the registry has no such schema.
            RegistryUnavailableError: if it cannot be asked now.
        """
        if number in self._schemas:
            return self._schemas[number]
        now = self._clock()
        if now < self._unknown.get(number, now):
            raise _no_schema(number)
        since, reason = self._failed
        if now < since + _PAUSE:
            raise RegistryUnavailableError(reason)
        try:
            found = self._resolve(number)
        except RegistryUnavailableError as error:
            self._failed = (self._clock(), str(error))
            raise
        except ElementError:
            self._unknown = {i: at for i, at in self._unknown.items() if at > now}
            self._unknown[number] = now + _ASK_AGAIN
            raise
        self._schemas[number] = found
        return found

    def _resolve(self, number: int) -> Resolved:
        path, serialized = f"/schemas/ids/{number}", ""
        schema = self._get(path, number)
        if schema.kind == "PROTOBUF":  # a descriptor needs no compiler
            serialized = "?format=serialized"
            schema = self._get(path + serialized, number)
        references: dict[str, Schema] = {}
        self._collect(schema, serialized, number, references, set())
        return Resolved(schema, references)

    def _collect(
        self,
        schema: Schema,
        query: str,
        number: int,
        found: dict[str, Schema],
        seen: set[str],
    ) -> None:
        for reference in schema.references:
            if reference.name in seen:
                continue
            seen.add(reference.name)
            if len(seen) > _MOST_REFERENCES:
                raise ElementError("undecodable", f"schema {number} names too many schemas")
            subject = quote(reference.subject, safe="")
            path = f"/subjects/{subject}/versions/{reference.version}{query}"
            inner = self._get(path, number)
            self._collect(inner, query, number, found, seen)
            found[reference.name] = inner

    def _get(self, path: str, number: int) -> Schema:
        request = Request(self._url + path, headers=self._headers)
        try:
            with self._open(request, timeout=self._timeout) as answer:
                text = answer.read(_LONGEST + 1)
        except HTTPError as error:
            with error:
                raise self._error(error, number) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise RegistryUnavailableError(
                f"The schema registry at {self._url} cannot be asked: {reason}. "
                "Start it, or correct XM_REGISTRY__URL."
            ) from None
        try:
            if len(text) <= _LONGEST:
                return msgspec.json.decode(text, type=Schema)
        except ValueError:
            pass
        raise RegistryUnavailableError(
            f"{self._url}{path} does not answer with a schema. Point XM_REGISTRY__URL at a "
            "Confluent-compatible schema registry."
        )

    def _error(self, error: HTTPError, number: int) -> Exception:
        if error.code == 404:
            try:
                if msgspec.json.decode(error.read(_LONGEST), type=_Fault).error_code in _UNKNOWN:
                    return _no_schema(number)
            except (ValueError, OSError, HTTPException):
                pass
        remedy = "Correct XM_REGISTRY__URL."
        if error.code in (401, 403):
            remedy = "Correct XM_REGISTRY__USER and XM_REGISTRY__PASSWORD."
        elif error.code == 429 or error.code >= 500:
            remedy = "Look at its log."
        return RegistryUnavailableError(
            f"The schema registry at {self._url} answers {error.code}. {remedy}"
        )


def _no_schema(number: int) -> ElementError:
    return ElementError("undecodable", f"the schema registry has no schema {number}")
