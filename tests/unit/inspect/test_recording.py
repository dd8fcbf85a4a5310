"""A first look at logs: which mapping reads them, what is missing, what is said of it."""

from __future__ import annotations

import gzip
import json
import re
import tomllib
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from monitor.requests.decoder import Decoder
from pipelines.inspect.recording import inspect_recording
from pipelines.show.recording import show

START = 1_772_040_000
QUESTIONS = ["Where is the nearest harbour?", "Mend this verse, please.", "Name three rivers."]


def native(i: int, **fields: Any) -> dict[str, Any]:
    prompt = f"{QUESTIONS[i % 3]} ({i})"
    return {"ts": START + i, "api_key": f"key-{i % 4}", "id": f"r{i}", "prompt": prompt, **fields}


def litellm(i: int) -> dict[str, Any]:
    return {
        "id": f"call-{i}",
        "startTime": START + i,
        "endTime": START + i + 2,
        "metadata": {"user_api_key_hash": f"{i % 3:064x}", "user_api_key_team_id": "team-9"},
        "model": "atlas-3",
        "messages": [{"role": "user", "content": QUESTIONS[i % 3]}],
        "prompt_tokens": 9,
        "completion_tokens": 20,
    }


def home_made(i: int) -> dict[str, Any]:
    return {
        "logged_at": f"2026-03-01 10:{i // 60:02}:{i % 60:02}",
        "customer": {"apiKeyId": f"c-{i % 3}", "team": "x"},
        "call": {"request_id": f"q{i}", "question": QUESTIONS[i % 3], "modelName": "atlas-3"},
    }


def write(path: Path, records: list[Any]) -> str:
    path.write_text("\n".join(map(json.dumps, records)))
    return str(path)


def shown(seen: Any, width: int = 80) -> str:
    console = Console(file=StringIO(), width=width)
    show(seen, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("wrap", "expected"),
    [
        (lambda i: native(i), {"preset": "native"}),
        (lambda i: litellm(i), {"preset": "litellm"}),
        (
            lambda i: {"kind": "x", "line": {"payload": json.dumps(litellm(i))}},
            {"preset": "litellm", "root": "/line/payload"},
        ),
        (lambda i: {"items": [native(2 * i), native(2 * i + 1)]}, {"each": "/items"}),
        (
            lambda i: {"rows": [{"doc": native(i)}], "page": i},
            {"root": "/doc", "each": "/rows"},
        ),
    ],
    ids=["native", "preset", "root in a string", "each", "each and root"],
)
def test_inspect_finds_the_mapping(tmp_path: Path, wrap: Any, expected: dict[str, Any]) -> None:
    path = write(tmp_path / "log", [wrap(i) for i in range(60)])
    seen = inspect_recording(path, "native")
    assert expected.items() <= seen.mapping.items()
    assert seen.mostly_read
    assert seen.without_prompt == 0.0


def test_inspect_maps_a_home_made_log_by_names(tmp_path: Path) -> None:
    records = [home_made(i) for i in range(60)]
    seen = inspect_recording(write(tmp_path / "log", records), "native")
    mapping = tomllib.loads(seen.toml)["mapping"]
    events = Decoder(mapping).decode([json.dumps(each).encode() for each in records], 2e9).events
    assert len(events) == 60
    assert (events[4].api_key, events[4].prompt) == ("c-1", QUESTIONS[1])
    assert (events[4].id, events[4].model) == ("q4", "atlas-3")
    assert "no offset" in seen.notes[0]


def test_inspect_uses_the_configured_mapping(tmp_path: Path) -> None:
    mapping = {"ts": "/ts", "api_key": "/id"}
    seen = inspect_recording(write(tmp_path / "log", [native(i) for i in range(9)]), mapping)
    assert seen.mapping == mapping
    assert seen.missing[0].field == "prompt"


def test_inspect_tells_format_and_order(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    lines = "\n".join(json.dumps(native(i)) for i in reversed(range(50)))
    path.write_bytes(gzip.compress(lines.encode()))
    seen = inspect_recording(str(path), "native")
    assert seen.format == "JSON lines, gzip"
    assert seen.order.startswith("newest first")
    assert seen.times == (START, START + 49)


def test_inspect_tells_what_missing_fields_cost(tmp_path: Path) -> None:
    records = [native(i, prompt=None, payment="p" if i < 5 else None) for i in range(60)]
    seen = inspect_recording(write(tmp_path / "log", records), "native")
    costs = {each.field: each.cost for each in seen.missing}
    assert "only volume" in costs["prompt"]
    assert {"end_user", "account", "payment"} <= costs.keys()
    assert "id" not in costs
    assert seen.without_prompt == 1.0


def test_inspect_names_unreadable_fields_and_rejections(tmp_path: Path) -> None:
    records = [native(i, input_tokens="many") for i in range(60)] + [{"api_key": "k"}]
    path = write(tmp_path / "log", records)
    seen = inspect_recording(path, "native")
    assert seen.unreadable == {"input_tokens": 1.0}
    assert len(seen.rejected) == 1
    assert f"{path}, line 61" in seen.rejected[0]


def test_inspect_recognises_redacted_prompts(tmp_path: Path) -> None:
    records = [native(i, prompt=f"<text withheld {i % 2}>") for i in range(60)]
    seen = inspect_recording(write(tmp_path / "log", records), "native")
    assert seen.placeholders == 1.0
    assert any("redact" in note for note in seen.notes)


@pytest.mark.parametrize(
    ("key", "form"),
    [
        ("sk-live-4f9a8b7c6d5e4f3a2b1c", "raw keys"),
        ("9" * 64, "SHA-256 hashes"),
        ("eyJhbGciOiJIUzI1NiJ9.e30.x", "tokens"),
        ("team-blue", "names or ids"),
    ],
)
def test_inspect_tells_the_form_of_keys(tmp_path: Path, key: str, form: str) -> None:
    records = [native(i, api_key=key) for i in range(9)]
    seen = inspect_recording(write(tmp_path / "log", records), "native")
    assert seen.keys is not None
    assert (seen.keys.different, seen.keys.form) == (1, form)


def test_inspect_shows_no_prompt_or_key_unasked(tmp_path: Path) -> None:
    secret = "sk-live-4f9a8b7c6d5e4f3a2b1c"
    path = write(tmp_path / "log", [native(i, api_key=secret) for i in range(9)])
    text = shown(inspect_recording(path, "native"))
    assert secret not in text
    assert "harbour" not in text
    assert "harbour" in shown(inspect_recording(path, "native", prompts=True))


def test_inspect_of_nothing_readable_says_so(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("Mar 01 10:00:00 gw: started\n" * 5)
    seen = inspect_recording(str(path), "native")
    assert not seen.mostly_read
    assert "No format reads this file" in shown(seen)


def test_inspect_fits_80_columns(tmp_path: Path) -> None:
    records = [litellm(i) for i in range(60)] + [{}]
    text = shown(inspect_recording(write(tmp_path / "log", records), "native", prompts=True))
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"^preset = \"litellm\"$", text, re.MULTILINE)
