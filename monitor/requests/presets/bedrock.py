"""Bedrock's callers: the ARN of an assumed role ends in the name of the session.

Whoever assumes a role chooses the session's name, so it does not identify: with it, each session
would be another key. The role is the key, and the session its end user.
"""

from __future__ import annotations

from collections import Counter
from typing import Any


def split_session(record: dict[str, Any], _: Counter[str]) -> list[Any]:
    """The record, with `role` and `session` in its identity if it has an assumed role."""
    identity = record.get("identity")
    arn = identity.get("arn") if type(identity) is dict else None
    if type(arn) is not str or ":assumed-role/" not in arn:
        return [record]
    role, session = arn.rsplit("/", 1)
    return [{**record, "identity": {"arn": arn, "role": role, "session": session}}]
