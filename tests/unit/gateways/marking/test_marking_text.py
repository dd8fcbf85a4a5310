"""Marks in streamed text, and in the requests that vLLM gets."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from pydantic import SecretStr

from monitor.config import Settings
from pipelines.gateways.marking.requests import MarkRequests, checked_mark
from pipelines.gateways.marking.text import TextMarker

TEXT = """However, it does not stop. For example, "it cannot go. Or
not" and so on. `However, this` stays! In addition, we do not
know. He said "for example." Thus, for
instance, it is not.
```python
# however, for example. In addition, code
```
Therefore, it will not. Perhaps"""


@pytest.fixture
def marker() -> TextMarker:
    return TextMarker(Settings(identity_secret=SecretStr("0123456789abcdef")))


@pytest.mark.parametrize("seed", range(30))
def test_stream_is_marked_as_the_whole_text(marker: TextMarker, seed: int):
    source, mark = random.Random(seed), f"m_{seed:02x}"
    stream, out, text = marker.stream(mark), [], TEXT
    while text:
        size = source.randint(1, 12)
        out.append(stream.feed(text[:size]))
        text = text[size:]
    assert "".join([*out, stream.end()]) == marker.mark(TEXT, mark)
    assert any(out)


def test_marked_text_keeps_code(marker: TextMarker):
    assert "# however, for example. In addition, code" in marker.mark(TEXT, "m_01")
    assert "`However, this`" in marker.mark(TEXT, "m_01")


async def passed_on(body: bytes, *headers: tuple[bytes, bytes], parts: int = 1) -> tuple:
    """What the server behind the middleware gets: its body, and the length that is announced."""
    size = len(body) // parts + 1
    sent = [body[at : at + size] for at in range(0, len(body) or 1, size)]
    messages = [
        {"type": "http.request", "body": each, "more_body": i < len(sent) - 1}
        for i, each in enumerate(sent)
    ]
    got = {}

    async def server(scope, receive, send):
        message = await receive()
        got["body"], got["headers"] = message["body"], dict(scope["headers"])

    async def receive():
        return messages.pop(0)

    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(b"content-length", str(len(body)).encode()), *headers],
    }
    await MarkRequests(server)(scope, receive, None)
    return got["body"], int(got["headers"][b"content-length"])


@pytest.mark.parametrize("parts", [1, 3])
async def test_header_becomes_argument(parts: int):
    body = json.dumps({"model": "m", "vllm_xargs": {"a": 1, "xm_mark": "m_99"}}).encode()
    found, length = await passed_on(body, (b"x-xm-mark", b"m_01"), parts=parts)
    assert json.loads(found)["vllm_xargs"] == {"a": 1, "xm_mark": "m_01"}
    assert length == len(found)


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"vllm_xargs": {"xm_mark": "m_99"}}).encode(),
        rb'{"vllm_xargs": {"xm\u005fmark": "m_99"}}',
        rb'{"vllm\u005fxargs": {"\u0078m_mark": "m_99"}}',
        rb'{"vllm_xargs": 1, "vllm_xargs": {"xm_mark": "m_99"}}',
        json.dumps({"vllm_xargs": {"xm_mark": "m_99"}}).encode("utf-16"),
    ],
)
@pytest.mark.parametrize("header", [[], [b"\xff"], [b"m_01", b"m_02"], [b"x"]])
async def test_client_cannot_choose_its_mark(body: bytes, header: list[bytes]):
    found, _ = await passed_on(body, *((b"x-xm-mark", each) for each in header))
    assert json.loads(found)["vllm_xargs"] == {}


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"prompt": "\\u00e4"}', b'{"a": 1}'])
async def test_other_body_is_passed_on_unchanged(body: bytes):
    assert (await passed_on(body))[0] == body


def test_mark_of_another_form_is_refused():
    assert checked_mark({"xm_mark": "m_01"}) == "m_01"
    assert checked_mark(None) is None
    for wrong in ("x", 1, "m_zz"):
        with pytest.raises(ValueError, match="not a mark id"):
            checked_mark({"xm_mark": wrong})


def test_shipped_modules_need_no_torch():
    folder = Path(__file__).parents[4] / "pipelines/gateways/marking"
    for name in ("lists", "transformers", "requests", "text"):
        lines = (folder / f"{name}.py").read_text().splitlines()
        assert not [each for each in lines if each.startswith(("import torch", "from torch"))]
