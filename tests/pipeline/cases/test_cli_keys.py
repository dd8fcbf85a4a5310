"""`xm case key` and `xm case verify` on a bundle, and the page of public keys."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from monitor.config import Settings
from monitor.evidence.bundle.files import write_bundle
from monitor.evidence.keys import ring_of, signer_of
from monitor.evidence.ring import Ring
from tests.support.chains import chain_of, new_signer
from tests.support.commands import Xm
from tests.support.programs import DecisionService
from tests.support.servers import Redis


@pytest.fixture
def key_file(tmp_path: Path, xm: Xm, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "case.pem"
    monkeypatch.setenv("XM_CASES__KEY_FILE", str(file))
    assert xm("case", "key", "new").status == 0
    return file


@pytest.fixture
def bundle(key_file: Path, tmp_path: Path) -> Path:
    file, settings = tmp_path / "case.zip", Settings()
    signer = signer_of(settings)
    assert signer is not None
    lines = chain_of([signer] * 3, start=time.time())
    write_bundle(file, {"case.html": b"<p>case</p>"}, lines, signer, ring_of(settings))
    return file


def test_bundle_is_verified_with_the_public_key_alone(
    bundle: Path, key_file: Path, xm: Xm, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("XM_CASES__KEY_FILE")
    key_file.unlink()
    ended = xm("case", "verify", str(bundle), "--key", str(key_file.with_suffix(".public.json")))
    assert ended.status == 0
    assert "as it was signed" in ended.out


def test_changed_bundle_is_named_and_ends_with_status_1(bundle: Path, xm: Xm):
    bundle.write_bytes(bundle.read_bytes().replace(b"<p>case", b"<p>CASE"))
    ended = xm("case", "verify", str(bundle), "--json")
    assert ended.status == 1
    (problem,) = json.loads(ended.out)["problems"]
    assert (problem["kind"], problem["file"]) == ("changed", "case.html")


def test_bundle_of_another_deployment_is_refused(bundle: Path, tmp_path: Path, xm: Xm):
    stranger = tmp_path / "stranger.json"
    stranger.write_bytes(Ring([new_signer().public]).encode())
    ended = xm("case", "verify", str(bundle), "--key", str(stranger))
    assert ended.status == 1
    assert "not in the ring" in ended.out


def test_rotated_key_still_verifies_what_it_signed(bundle: Path, xm: Xm):
    assert xm("case", "key", "rotate").status == 0
    assert xm("case", "verify", str(bundle)).status == 0
    shown = json.loads(xm("case", "key", "show", "--json").out)["keys"]
    assert sorted(key["retired"] is None for key in shown) == [False, True]


def test_verify_without_any_key_says_what_to_do(bundle: Path, xm: Xm, monkeypatch):
    monkeypatch.delenv("XM_CASES__KEY_FILE")
    ended = xm("case", "verify", str(bundle))
    assert ended.status == 2
    assert "--key" in ended.error


@pytest.fixture
def service(own_redis: Redis, key_file: Path, tmp_path: Path) -> Iterator[DecisionService]:
    environment = {
        "XM_REDIS_URL": own_redis.url,
        "XM_IDENTITY_SECRET": "known to this test only",
        "XM_SERVE__LOOKUPS": "token",
        "XM_CASES__PUBLIC_KEYS_FILE": str(key_file.with_suffix(".public.json")),
    }
    with DecisionService(tmp_path, SimpleNamespace(environment=environment)) as service:  # type: ignore[arg-type]
        yield service


def test_page_of_public_keys_needs_no_token_and_follows_a_rotation(
    service: DecisionService, xm: Xm
):
    def keys() -> list[dict[str, object]]:
        with urllib.request.urlopen(f"{service.url}/v1/evidence-keys") as page:
            found: list[dict[str, object]] = json.load(page)["keys"]
            return found

    assert len(keys()) == 1
    assert xm("case", "key", "rotate").status == 0
    assert [key["retired"] is None for key in keys()] == [False, True]
