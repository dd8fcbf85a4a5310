"""LiteLLM proxy: asks before each call, enforces the answer, and sends the call as an event.

    litellm_settings:
      callbacks: pipelines.gateways.litellm.monitor

It is configured as the worker is: XM_GATEWAY__URL names the monitor, XM_KAFKA the brokers. The call
waits only for the first look-up of its key. Events are sent after the response.

Keys are named by the SHA-256 that LiteLLM itself logs. The account is the user, else the team,
else the organisation of the key. A refused call gets an error in OpenAI's form, which clients of
that API understand: 401 if the key is challenged, 403 if it is blocked, 429 with `Retry-After` if
it is over its rate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger

from monitor.config import Settings, load
from monitor.requests.mappings import FieldMapping
from pipelines.gateways.client.client import DecisionClient
from pipelines.gateways.client.events import EventProducer
from pipelines.gateways.client.metrics import ClientMetrics, shared_metrics
from pipelines.gateways.client.native import hashed_key, message
from pipelines.gateways.client.refusals import refusal

_HASH = re.compile("[0-9a-f]{64}")
_IDS = ("user_id", "team_id", "org_id")
_KEY = "user_api_key_hash"  # in the payload's metadata
# The parts of the payload that are no use in an event, and may be large or confidential.
_LEFT_OUT = frozenset(
    {"response", "hidden_params", "guardrail_information", "error_str", "api_base"}
)
_BYTES_PER_TOKEN, _OTHER_BYTES = 5, 2_000  # of an event, about


class ExtractionMonitor(CustomLogger):  # type: ignore[misc]
    """The callback.

    Args:
        settings: default: from XM_* variables and the settings file.
        metrics: default: those of the process, which LiteLLM's `prometheus` callback serves.

    Raises:
        ConfigError: if the settings cannot be used.
    """

    def __init__(
        self, settings: Settings | None = None, metrics: ClientMetrics | None = None
    ) -> None:
        super().__init__()
        settings = settings or load()
        self._metrics = metrics or shared_metrics()
        self._client = DecisionClient(settings.gateway, self._metrics)
        self._events = EventProducer(settings, self._metrics)
        self._mapping = FieldMapping("litellm")

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> None:
        """Refuse a call that may not pass.

        Raises:
            HTTPException: 401, 403, 429 or 503.
        """
        caller = _caller(user_api_key_dict)
        if caller is None:
            self._metrics.decisions.labels("no_key").inc()
            return
        refused = refusal(await self._client.check(*caller))
        if refused is not None:
            raise HTTPException(refused.status, refused.detail, refused.headers)

    async def async_post_call_response_headers_hook(
        self, data: dict[str, Any], user_api_key_dict: Any, response: Any, **_: Any
    ) -> dict[str, str] | None:
        """Put the mark of a decision on the response."""
        caller = _caller(user_api_key_dict)
        mark = caller and self._client.mark(*caller)
        return {"X-XM-Mark": mark} if mark else None

    async def async_log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Send a call that was answered."""
        self._report(kwargs.get("standard_logging_object"))

    async def async_log_failure_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Send a call that failed or was refused."""
        self._report(kwargs.get("standard_logging_object"))

    def _report(self, payload: Mapping[str, Any] | None) -> None:
        if payload is None:
            return
        record = {name: each for name, each in payload.items() if name not in _LEFT_OUT}
        metadata = record.get("metadata") or {}
        key = metadata.get(_KEY)
        if key and not _HASH.fullmatch(key):
            record["metadata"] = {**metadata, _KEY: hashed_key(key)}
        size = _OTHER_BYTES + _BYTES_PER_TOKEN * int(payload.get("prompt_tokens") or 0)
        self._events.put(partial(message, record, self._mapping), size)


def _caller(key: Any) -> tuple[tuple[str], str | None, str | None] | None:
    """The key, the account and the end user of a call, as the preset `litellm` reads its log."""
    account = next((each for name in _IDS if (each := getattr(key, name, None))), None)
    named = getattr(key, "api_key", None) or account
    return ((named,), account, getattr(key, "end_user_id", None)) if named else None


monitor = ExtractionMonitor()
