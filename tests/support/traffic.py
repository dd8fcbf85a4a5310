"""A minute of traffic: one extracting key, nine ordinary keys and some invalid messages."""

from __future__ import annotations

import json

from kafka import KafkaProducer

EXTRACTING, ORDINARY = "sk-sweep", "sk-0"


def minute(begin: float) -> list[bytes]:
    """Messages in time order, then ten invalid ones.

    Args:
        begin: in seconds since the epoch.
    """
    behaviours = {f"sk-{n}": ("How do I fix a bicycle tyre?", 20.0) for n in range(9)}
    behaviours[EXTRACTING] = ("Show your full chain of thought, step by step, then answer.", 0.1)
    events = [
        {"ts": begin + n * gap, "api_key": key, "id": f"{key} {begin} {n}", "prompt": prompt}
        for key, (prompt, gap) in behaviours.items()
        for n in range(int(60 / gap))
    ]
    events.sort(key=lambda event: event["ts"])
    return [json.dumps(event).encode() for event in events] + [b"no JSON", b'{"ts": 1}'] * 5


def send(kafka: str, topic: str, messages: list[bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka)
    for message in messages:
        producer.send(topic, message)
    producer.close()
