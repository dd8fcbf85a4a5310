"""The OpenAPI 3.1 document of the decision service, made from its operations and their types."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import msgspec

from monitor.alerting.enforcement import SHADOW_KINDS
from pipelines.decide.pages.bodies import MOST_REASON
from pipelines.decide.pages.operations import Operation

_REF = "#/components/schemas/{name}"
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
_DECIDED: dict[str, Any] = {
    "type": "object",
    "required": ["decision", "reason", "until", "scope"],
    "properties": {
        "decision": {"enum": ["observe", "mark", "throttle", "challenge", "block"]},
        "reason": {"type": ["string", "null"]},
        "until": {"type": ["number", "null"]},
        "scope": {"enum": ["api_key", "account", "end_user", None]},
        "rate": {"type": "number"},
        "mark": {"type": "string"},
        "shadow": {"enum": ["mark", "throttle", "challenge", "block"]},
    },
}
_DESCRIPTIONS = {
    200: "Done", 400: "The request cannot be used, or names a key that cannot be read",
    401: "A token is needed; for look-ups: challenge the key",
    403: "The token permits less; for look-ups: block the key", 404: "There is no such page",
    409: "There is nothing to change", 413: "The body is too long",
    429: "Too many requests; see Retry-After", 503: "Redis is away",
    511: "Look-ups need a token",
}  # fmt: skip
_STATUSES = {
    "nothing": (400,),
    "look": (400, 401, 413, 429, 503),
    "read": (401,),
    "change": (400, 401, 403, 409, 413, 429, 503),
}
_LOOKUP_METHODS = ("get", "post")


def document(table: Iterable[Operation]) -> dict[str, Any]:
    """The OpenAPI document.

    Args:
        table: the operations; those of `/v1/decision` and `/v1/admit` are added.
    """
    table = list(table)
    used = {each for operation in table for each in (operation.body, operation.found) if each}
    kinds = sorted(used, key=lambda kind: kind.__name__)
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    by_kind = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in table:
        page = paths.setdefault(operation.path, {})
        page[operation.method.lower()] = _operation(operation, by_kind)
    for path, summary, more in (
        ("/v1/decision", "What applies to the key of a request", ()),
        ("/v1/admit", "The same, counting the requests of throttled keys", (429,)),
    ):
        paths[path] = {method: _lookup(path, method, summary, more) for method in _LOOKUP_METHODS}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "extraction-monitor: decision service",
            "version": version("extraction-monitor"),
        },
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _PROBLEM, "Decided": _DECIDED},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-XM-Token"},
            },
        },
    }


def _operation(operation: Operation, by_kind: dict[Any, Any]) -> dict[str, Any]:
    parameters = [
        _parameter("path", name, {"type": "string", "pattern": "^[kaupn]_[0-9a-f]{24}$"})
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    if operation.reason:
        reason = {"type": "string", "minLength": 1, "maxLength": MOST_REASON}
        parameters.append(_parameter("query", "reason", reason))
    if operation.kind:
        kind = {"type": "string", "enum": list(SHADOW_KINDS)}
        parameters.append(_parameter("query", "kind", kind) | {"required": False})
    content = (
        {"application/json": {"schema": by_kind[operation.found]}}
        if operation.found
        else {"text/event-stream": {"schema": {"type": "string"}}}
    )
    result: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method} {operation.path}",
        "parameters": parameters,
        "responses": {"200": {"description": "Done", "content": content}}
        | _problems(_STATUSES[operation.needs]),
        "security": [{"bearer": []}, {"header": []}]
        + ([{}] if operation.needs in ("nothing", "look") else []),
    }
    if operation.body:
        schema = {"application/json": {"schema": by_kind[operation.body]}}
        result["requestBody"] = {"required": True, "content": schema}
    return result


def _lookup(path: str, method: str, summary: str, more: tuple[int, ...]) -> dict[str, Any]:
    key = _parameter("header", "X-API-Key", {"type": "string"}) | {"required": False}
    decided = {"schema": {"$ref": _REF.format(name="Decided")}}
    return {
        "summary": summary,
        "operationId": f"{method} {path}",
        "parameters": [key],
        "responses": {
            "200": {"description": "Let the request pass", "content": {"application/json": decided}}
        }
        | _problems((400, 401, 403, *more, 503, 511)),
        "security": [{}, {"header": []}],
    }


def _problems(statuses: Iterable[int]) -> dict[str, Any]:
    schema = {"schema": {"$ref": _REF.format(name="Problem")}}
    return {
        str(status): {
            "description": _DESCRIPTIONS[status],
            "content": {"application/problem+json": schema},
        }
        for status in statuses
    }


def _parameter(place: str, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"in": place, "name": name, "required": True, "schema": schema}
