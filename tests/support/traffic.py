"""Small amounts of traffic: a minute with an extracting key, and hours of ordinary keys."""

from __future__ import annotations

import json

from kafka import KafkaProducer

EXTRACTING, ORDINARY = "sk-sweep", "sk-0"


def minute(begin: float) -> list[bytes]:
    """One extracting key and nine ordinary keys in time order, then ten invalid messages.

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


def ordinary(begin: float, keys: int, requests: int = 10) -> list[bytes]:
    """Messages of ordinary keys within two hours, in time order.

    Each key has enough requests, far enough apart, to count in the baseline.
    """
    gap = 6_600 / requests
    events = [
        {
            "ts": begin + n * gap + key,
            "api_key": f"sk-ordinary-{key}",
            "id": f"{key} {n}",
            "prompt": f"What is on page {n} of book {key}?",
        }
        for n in range(requests)
        for key in range(keys)
    ]
    return [json.dumps(event).encode() for event in sorted(events, key=lambda each: each["ts"])]
