"""Erases what is stored about a subject, in Redis and in running workers."""

from __future__ import annotations

import time
from collections import Counter

import msgspec

from monitor.config import Settings
from monitor.store.operate.erasure import ErasureStore

_LOOK_SECONDS = 0.5  # between looks at what workers have done
#: What an erasure leaves, and for how long.
STAYS = (
    "messages in Kafka, with prompts in those of the gateway: until the retention of each topic",
    "the audit: who did what about the subject, and that it was erased",
    "signed entries of cases: XM_CASES__KEPT_DAYS after the case is closed",
    "what receivers got, such as a pager or an e-mail: delete it there",
    "what partners got: `xm share revoke`",
    "the baseline: counts over all keys, which name none",
)


class Erased(msgspec.Struct, frozen=True):
    """What became of a request to erase.

    Attributes:
        audit: id of its entry in the audit.
        erased: number of what Redis had, by kind.
        forgotten, waiting: partitions whose worker has forgotten the subject, and others.
        stays: what the erasure leaves.
    """

    subject: str
    audit: str
    erased: dict[str, int]
    forgotten: list[str]
    waiting: list[str]
    stays: tuple[str, ...] = STAYS


def erase(settings: Settings, subject: str, who: str, why: str, seconds: float) -> Erased:
    """Erase a subject.

    Records are deleted before and after the workers forget it: before, so that no worker loads the
    old one; after, because one may have written it in between.

    Args:
        seconds: to wait for the workers.

    Raises:
        InputError: if an argument cannot be used.
        StoreError: if Redis does not answer. The same call can be made again.
    """
    store = ErasureStore(settings.redis_url)
    asked = store.request(subject, who, why)
    partitions = store.partitions(settings.topics.fingerprints)
    erased = Counter(store.erase(subject, partitions))
    until = time.monotonic() + seconds
    while True:
        done = {partition for id, partition in store.done() if id == asked.id}
        waiting = [each for each in partitions if each not in done]
        if not waiting or time.monotonic() >= until:
            break
        time.sleep(_LOOK_SECONDS)
    erased.update(store.erase(subject, partitions))
    forgotten = [each for each in partitions if each in done]
    return Erased(subject, asked.id, dict(erased), forgotten, waiting)
