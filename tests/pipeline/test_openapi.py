"""The OpenAPI document: valid, and every answer of the service is one that it describes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    use_after_free,
)

from monitor.evidence.ring import Ring
from pipelines.web.tokens import new_token
from tests.support.chains import new_signer
from tests.support.programs import DecisionService
from tests.support.servers import Redis

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    use_after_free,
]
TOKEN, LINE = new_token("schemathesis", "change")


@pytest.fixture(scope="module")
def service(
    own_redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DecisionService]:
    folder: Path = tmp_path_factory.mktemp("service")
    (folder / "tokens").write_text(LINE)
    retired = msgspec.structs.replace(new_signer().public, retired=2.0)
    ring = Ring([retired, new_signer().public])
    (folder / "public.json").write_bytes(ring.encode())
    environment = {
        "XM_REDIS_URL": own_redis.url,
        "XM_IDENTITY_SECRET": "known to this test only",
        "XM_SERVE__TOKENS_FILE": str(folder / "tokens"),
        "XM_SERVE__CHANGES_PER_MINUTE": "1000000",
        "XM_CASES__PUBLIC_KEYS_FILE": str(folder / "public.json"),
    }
    with DecisionService(folder, SimpleNamespace(environment=environment)) as service:  # type: ignore[arg-type]
        yield service


@pytest.fixture(scope="module")
def described(service: DecisionService) -> Any:
    return schemathesis.openapi.from_url(f"{service.url}/openapi.json")


FREE = [  # whatever a client sends is valid
    ("GET", "/v1/control"),
    ("GET", "/v1/evidence-keys"),
    *((method, path) for method in ("GET", "POST") for path in ("/v1/decision", "/v1/admit")),
]
STRICT = [
    ("POST", "/v1/decisions"),
    *(
        (method, path)
        for method in ("PUT", "DELETE")
        for path in ("/v1/decisions/{subject}", "/v1/allow/{subject}", "/v1/shadow", "/v1/kill")
    ),
]


def check(described: Any, method: str, path: str, mode: GenerationMode) -> None:
    """Call an operation with requests of a kind, and check that it answers as described."""

    @given(case=described[path][method].as_strategy(generation_mode=mode))
    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    def call(case: Any) -> None:
        case.call_and_validate(headers={"X-XM-Token": TOKEN}, checks=CHECKS)

    call()


@pytest.mark.parametrize(("method", "path"), [*FREE, *STRICT])
def test_every_answer_is_as_described(described: Any, method: str, path: str) -> None:
    check(described, method, path, GenerationMode.POSITIVE)


@pytest.mark.parametrize(("method", "path"), STRICT)
def test_every_invalid_request_is_refused(described: Any, method: str, path: str) -> None:
    check(described, method, path, GenerationMode.NEGATIVE)


def test_all_operations_are_tested(described: Any) -> None:
    found = {(each.ok().method.upper(), each.ok().path) for each in described.get_all_operations()}
    feed = ("GET", "/v1/decisions/feed")  # it does not end
    assert found == {*FREE, *STRICT, feed}
