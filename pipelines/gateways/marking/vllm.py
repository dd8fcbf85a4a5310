"""vLLM: marks the responses of requests that carry a mark id.

    vllm serve MODEL \\
        --logits-processors pipelines.gateways.marking.vllm:MarkLogits \\
        --middleware pipelines.gateways.marking.requests.MarkRequests

The middleware turns the header X-XM-Mark, which only the gateway sets, into the argument `xm_mark`
of the request. This is the interface of the model runner V2, vLLM's default; with
VLLM_USE_V2_MODEL_RUNNER=0 use `pipelines.gateways.marking.vllm_v1:MarkLogits`. A batch without a
marked request costs one look at an array.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor

from pipelines.gateways.marking.lists import TokenLists
from pipelines.gateways.marking.requests import checked_mark

_NONE = -1


class MarkLogits(LogitsProcessor):  # type: ignore[misc]
    """The logits processor; vLLM makes one per worker.

    Raises:
        ConfigError: if there is no marking secret, or a setting is invalid.
    """

    def __init__(self, vllm_config: Any, req_states: Any) -> None:
        self._lists = TokenLists()
        self._numbers: dict[str, int] = {}  # of the marks that were seen
        self._of_slot = np.full(req_states.max_num_reqs, _NONE, np.int64)

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a request whose mark id has another form."""
        checked_mark(sampling_params.extra_args)

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """Note the mark of the request in a slot; whether it has one."""
        mark = checked_mark(sampling_params.extra_args)
        number = _NONE if mark is None else self._numbers.setdefault(mark, len(self._numbers))
        self._of_slot[req_idx] = number
        return mark is not None

    def apply(self, logits: Any, ctx: Any) -> Any:
        """Add to the logits of the rows whose requests have a mark."""
        present = set(self._of_slot[ctx.idx_mapping_np].tolist()) - {_NONE}
        if not present:
            return logits
        numbers = logits.new_tensor(self._of_slot).long()[ctx.expanded_idx_mapping.long()]
        for mark, number in self._numbers.items():
            if number in present:
                rows = (numbers == number).nonzero().flatten()
                previous = ctx.input_ids[rows].long() if self._lists.needs_previous else None
                logits[rows] = self._lists.add(logits[rows], mark, previous)
        return logits
