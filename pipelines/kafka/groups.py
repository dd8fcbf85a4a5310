"""Lets a new consumer group begin where another one is.

Before roles had groups of their own, one group read all topics. Without its offsets, a new group
would read a topic from its start, and deliver old alerts again.
"""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from monitor.config import KafkaSecurity
from pipelines.kafka.security import client_options

log = logging.getLogger(__name__)


def take_over(bootstrap: str, security: KafkaSecurity, topic: str, old: str, new: str) -> None:
    """Commit the offsets of the group `old` for the group `new`, if that has none."""
    options = client_options(bootstrap, security)

    def consumer(group: str) -> Any:
        return closing(KafkaConsumer(**options, group_id=group, enable_auto_commit=False))

    try:
        with consumer(new) as mine, consumer(old) as others:
            tps = [TopicPartition(topic, each) for each in mine.partitions_for_topic(topic) or ()]
            if any(mine.committed(tp) is not None for tp in tps):
                return
            known = {tp: offset for tp in tps if (offset := others.committed(tp)) is not None}
            if known:
                mine.assign(list(known))
                mine.commit({tp: OffsetAndMetadata(offset, "", -1) for tp, offset in known.items()})
                log.info("offsets_taken_over topic=%s old=%s new=%s", topic, old, new)
    except KafkaError as error:  # another process of the group was faster
        log.warning("offsets_not_taken_over topic=%s reason=%r", topic, str(error))
