"""vLLM with the model runner V1: marks the responses of requests that carry a mark id.

    VLLM_USE_V2_MODEL_RUNNER=0 vllm serve MODEL \\
        --logits-processors pipelines.gateways.marking.vllm_v1:MarkLogits \\
        --middleware pipelines.gateways.marking.requests.MarkRequests

See `vllm.py` for the model runner V2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from pipelines.gateways.marking.lists import TokenLists
from pipelines.gateways.marking.requests import checked_mark


class MarkLogits(AdapterLogitsProcessor):  # type: ignore[misc]
    """The logits processor; vLLM makes one per worker.

    Raises:
        ConfigError: if there is no marking secret, or a setting is invalid.
    """

    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
        super().__init__(vllm_config, device, is_pin_memory)
        self._lists = TokenLists()

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a request whose mark id has another form."""
        checked_mark(sampling_params.extra_args)

    def is_argmax_invariant(self) -> bool:
        """A mark may change the most probable token."""
        return False

    def new_req_logits_processor(self, params: Any) -> Callable[[list[int], Any], Any] | None:
        """What marks a request; `None` if it has no mark."""
        mark = checked_mark(params.extra_args)
        if mark is None:
            return None

        def add(output_ids: list[int], logits: Any) -> Any:
            previous = None
            if self._lists.needs_previous and output_ids:
                previous = logits.new_tensor(output_ids[-1:]).long()
            return self._lists.add(logits.reshape(1, -1), mark, previous).reshape(-1)

        return add
