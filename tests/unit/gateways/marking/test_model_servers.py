"""Marks by logits: on arrays, and where PyTorch, transformers and vLLM are installed, in them."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from monitor.config import Settings
from monitor.config.tracing import Tracing
from monitor.errors import InputError
from monitor.tracing.marks import marking_secret
from monitor.tracing.suspect import count, token_trials
from monitor.tracing.traces import Shown, Tracer
from monitor.tracing.watermark import SCHEMES, Watermark
from pipelines.gateways.marking.transformers import MarkLogits
from tests.unit.tracing.test_traces import NOTHING, WORDINGS

MARKS = {f"m_{i:02x}": "" for i in range(10)}
SIZE = 300  # of the vocabulary


def settings(scheme: str) -> Settings:
    return Settings(
        identity_secret=SecretStr("0123456789abcdef"), tracing=Tracing(scheme=scheme, strength=3.0)
    )


def favoured(scheme: str, mark: str, previous: int) -> np.ndarray:
    secret = marking_secret(settings(scheme))
    return Watermark.of(secret, mark, scheme, 0.5).list_after(previous, np.arange(SIZE))


@pytest.fixture(params=["numpy", "torch"])
def tensor(request: pytest.FixtureRequest) -> Any:
    if request.param == "numpy":
        return np.array
    return pytest.importorskip("torch").tensor


@pytest.mark.parametrize("scheme", SCHEMES)
def test_logits_of_favoured_tokens_rise(scheme: str, tensor: Any):
    ids = tensor([[1, 2], [3, 4], [5, 6], [7, 8]])
    scores = tensor(np.zeros((4, SIZE)))
    found = np.asarray(MarkLogits(["m_01", None], settings(scheme))(ids, scores))
    for row, previous in ((0, 2), (1, 4)):
        assert (found[row] == 3.0 * favoured(scheme, "m_01", previous)).all()
    assert (found[2:] == 0).all()
    assert (np.asarray(scores) == 0).all()
    assert (found[0] != found[1]).any() == (scheme == "context")


def test_excluded_token_stays_excluded(tensor: Any):
    scores = tensor(np.full((1, SIZE), -math.inf))
    assert np.isneginf(np.asarray(MarkLogits("m_01", settings("fixed"))(None, scores))).all()


def test_mark_of_another_form_is_refused():
    with pytest.raises(InputError, match="not a mark id"):
        MarkLogits("acme", settings("fixed"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_transformers_generate_is_traced(scheme: str):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=SIZE, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, initializer_range=0.3,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    prompts = torch.randint(3, SIZE, (8, 4))
    found = model.generate(
        prompts, do_sample=True, top_k=0, max_new_tokens=60, pad_token_id=0, eos_token_id=None,
        logits_processor=[MarkLogits("m_03", settings(scheme))],
    )  # fmt: skip
    outputs = [np.asarray(row[4:]) for row in found]
    shown = Shown({each: token_trials(count(outputs), NOTHING, each) for each in SCHEMES})
    tracer = Tracer(marking_secret(settings(scheme)), 0.5, WORDINGS)
    first, second, *_ = tracer.trace(shown, MARKS)
    assert (first.mark, first.corrected < 1e-6, second.corrected > 0.01) == ("m_03", True, True)


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XM_IDENTITY_SECRET", "0123456789abcdef")
    monkeypatch.setenv("XM_TRACING__STRENGTH", "3")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_vllm_marks_rows_of_marked_requests(scheme: str, configured: None, monkeypatch: Any):
    torch = pytest.importorskip("torch")
    pytest.importorskip("vllm")
    from pipelines.gateways.marking.vllm import MarkLogits as OfVllm

    monkeypatch.setenv("XM_TRACING__SCHEME", scheme)
    processor = OfVllm(None, SimpleNamespace(max_num_reqs=8, vocab_size=SIZE))
    params = [SimpleNamespace(extra_args=each) for each in ({"xm_mark": "m_01"}, None, {})]
    assert [processor.add_request(slot, params[0]) for slot in (3, 6)] == [True, True]
    assert not processor.add_request(6, params[1])  # the slot has another request now
    assert not processor.add_request(5, params[2])
    slots = torch.tensor([6, 3, 3, 5], dtype=torch.int32)  # the second request has a draft token
    context = SimpleNamespace(
        idx_mapping_np=np.array([6, 3, 5]), expanded_idx_mapping=slots,
        input_ids=torch.tensor([9, 7, 8, 9], dtype=torch.int32),
    )  # fmt: skip
    found = processor.apply(torch.zeros(4, SIZE), context).numpy()
    for row, previous in ((1, 7), (2, 8)):
        assert (found[row] == 3.0 * favoured(scheme, "m_01", previous)).all()
    assert (found[[0, 3]] == 0).all()
    with pytest.raises(ValueError, match="not a mark id"):
        OfVllm.validate_params(SimpleNamespace(extra_args={"xm_mark": "x"}))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_vllm_v1_marks_marked_requests(scheme: str, configured: None, monkeypatch: Any):
    torch = pytest.importorskip("torch")
    pytest.importorskip("vllm")
    from vllm.v1.sample.logits_processor import BatchUpdate

    from pipelines.gateways.marking.vllm_v1 import MarkLogits as OfVllm

    monkeypatch.setenv("XM_TRACING__SCHEME", scheme)
    processor = OfVllm(None, torch.device("cpu"), False)
    marked, plain = (SimpleNamespace(extra_args=each) for each in ({"xm_mark": "m_01"}, None))
    added = [(0, plain, [1], [5]), (1, marked, [1], [7]), (2, marked, None, [])]
    processor.update_state(BatchUpdate(3, [], added, []))
    found = processor.apply(torch.zeros(3, SIZE)).numpy()
    assert (found[0] == 0).all()
    assert (found[1] == 3.0 * favoured(scheme, "m_01", 7)).all()
    assert (found[2] == 3.0 * favoured(scheme, "m_01", -1)).all()
    assert not processor.is_argmax_invariant()
