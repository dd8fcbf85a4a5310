"""What a sample of the requests in a recording lacks: prompts, readable fields, different texts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from monitor.config import Settings
from monitor.requests.decoder import Decoded, Decoder, RequestEvent
from monitor.requests.turns import ASSISTANT

FEW_TEXTS = 5  # that make up nearly all prompts if these are placeholders
PLACEHOLDER_SHARE = 0.9  # of the prompts, for "nearly all"
LEAST_PROMPTS = 30  # below which nothing is said of their texts
_FIRST, _EACH = 500, 20  # requests in the sample: of the first batch, and of each later one
_TEXTS = 100_000  # different texts that are counted


@dataclass(slots=True)
class Sample:
    """Counts of a sample of requests.

    Attributes:
        requests: in the sample.
        without_prompt: requests without any text from the client, and without another record of
            the same call that has it.
        unreadable: fields that were left out because they cannot be read, by name.
        texts: requests by hash of their text.
    """

    requests: int = 0
    without_prompt: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    texts: Counter[int] = field(default_factory=Counter)

    def add(self, decoded: Decoded) -> None:
        """Count decoded requests."""
        self.requests += len(decoded.events)
        self.unreadable += decoded.unreadable
        joined = 0  # records that may bring the text of another one
        for event in decoded.events:
            text = text_of(event)
            joined += event.joins is not None and (1 if text else -1)
            if not text:
                self.without_prompt += event.joins is None
            elif len(self.texts) < _TEXTS:
                self.texts[hash(text)] += 1
        self.without_prompt += max(-joined, 0)

    @property
    def placeholder_share(self) -> float:
        """Share of the prompts that are one of a few texts; 0 if that says nothing."""
        prompts = self.texts.total()
        if prompts < LEAST_PROMPTS:
            return 0.0
        share = sum(times for _, times in self.texts.most_common(FEW_TEXTS)) / prompts
        return share if share >= PLACEHOLDER_SHARE else 0.0


class Sampler:
    """Decodes a few requests of each batch, for what the engine does not keep.

    Args:
        settings: name the format.
    """

    def __init__(self, settings: Settings) -> None:
        self._decoder = Decoder.of(settings)
        self.sample = Sample()

    def add(self, values: Sequence[bytes]) -> None:
        """Sample a batch."""
        wanted = max(_FIRST - self.sample.requests, _EACH)
        # An odd step, because spans and log records may alternate.
        values = values[:: max(len(values) // wanted, 1) | 1]
        self.sample.add(self._decoder.decode(values, math.inf))


def text_of(event: RequestEvent) -> str | None:
    """The longest text of a request that is no answer of the model."""
    texts = (part.text for part in event.parts if part.kind != ASSISTANT)
    return max(texts, key=len, default=event.prompt)
