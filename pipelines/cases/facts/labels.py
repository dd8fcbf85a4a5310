"""What the numbers of facts are called: plain words, for readers who know no detector."""

from __future__ import annotations

from monitor.campaigns.criteria import CRITERIA
from monitor.detectors.base import Detector
from monitor.evidence.facts import Number

#: Evidence values that only say which of several comparisons decided. The statement says it.
CODES = frozenset({"of_tokens", "test", "intent", "by_likeness"})

_DETECTORS = {
    "requests_1m": "requests in a minute",
    "requests_5m": "requests in 5 minutes",
    "requests_1h": "requests in an hour",
    "requests_24h": "requests in 24 hours",
    "tokens_1h": "tokens in an hour",
    "ordinary_share": "share of ordinary keys that reach this in a day",
    "own_usual": "the key's own average",
    "own_hours": "hours of the key's own past",
    "window_seconds": "length of the window that decided",
    "in_window": "requests or tokens in that window",
    "like_code": "likeness to lists of programming tasks",
    "like_reasoning": "likeness to lists of exam questions",
    "like_sweep": "likeness to mixed task lists",
    "like_tools": "likeness to lists of tool calls",
    "like_cot": "likeness to lists that ask for reasoning traces",
    "like_grader": "likeness to lists that ask for grades",
    "self_similarity": "how alike the prompts are",
    "departure": "distance of the prompts from ordinary ones",
    "novelty": "share of prompts of a kind that was new for the key",
    "reasoning_share": "share of prompts that ask for the reasoning trace",
    "grading_share": "share of prompts that ask for grades or preferences",
    "reasoning_nats": "evidence for asking for the reasoning trace",
    "grading_nats": "evidence for asking for grades",
    "follow_ups": "share of requests that continue a conversation",
    "tiny_turns": "share of requests with a tiny last message",
    "unexplained": "share of input tokens without a text",
    "unattended_nats": "evidence for requests without a person",
    "regular_nats": "evidence for the rhythm of a timer",
    "gap_seconds": "time between two requests",
    "even_hours": "hours with a constant rate",
    "work_change": "how much the prompts changed",
    "task_nats": "evidence for independent tasks",
    "unframed_share": "share of prompts without a frame of their own",
    "signs": "detectors that contributed",
    "level": "evidence of all detectors together, half",
}
_KINDS = {
    "direction": "prompts that deviate in the same way",
    "likeness": "prompts like the same lists",
    "born": "first requests at the same time",
    "pace": "the same request rate",
    "even": "the same steadiness",
    "variety": "the same variety of prompts",
    "follow_ups": "the same share of follow-ups",
    "repeats": "the same share of repeated prompts",
    "payment": "the same payment",
    "network": "the same network",
    "tls_fingerprint": "the same TLS client",
    "user_agent": "the same user agent",
    "system": "the same system prompt",
    "model": "the same model",
    "imported": "indicators of partners",
}
_CAMPAIGN = {
    "members": "keys that are members",
    "new_members": "new members since the evaluation before",
    "confidence": "mean confidence that a member is one",
    "requests": "requests of all members",
    "tokens": "tokens of all members",
    "bystanders": "other keys that share a payment or network with members",
    "probability": "chance that as many random keys are as alike",
    "log_odds": "evidence for a campaign in all",
    "surprise": "how unusual the members' own prompts are",
    "deviation": "distance of the members' common prompts from ordinary ones",
    "births": "how many times closer together members began than other keys",
    "pace_spread": "spread of the members' request rates",
    "uneven": "unevenness of the members' requests from hour to hour",
    "timers": "evidence for the rhythm of a timer, mean of the members",
    "common": "how alike prompts of two members are, beside prompts of one",
    "born_spread_minutes": "minutes within which most members began",
}
_UNITS = {"log_odds": "nats", "surprise": "nats", "confidence": "share", "born_spread_minutes": ""}


def of_detector(detector: Detector, name: str, value: float) -> Number:
    """A detector's evidence value, without what is ordinary."""
    declared = detector.evidence.get(name)
    label = _DETECTORS.get(name) or (declared.label if declared else "") or name.replace("_", " ")
    if detector.name == "combined" and name.endswith("_nats"):
        label = f"evidence of {name.removesuffix('_nats')}"
    return Number(name, label, value, declared.unit if declared else "")


def of_campaign(name: str, value: float) -> Number:
    """A value of a campaign's evidence."""
    criteria = {each.evidence: each for each in CRITERIA}
    for prefix, what in (("for_", "evidence for a campaign from: "), ("", "")):
        own = name.removeprefix(prefix)
        if own in criteria and name.startswith(prefix):
            label = _CAMPAIGN.get(own, criteria[own].measures)
            unit = "nats" if prefix else _UNITS.get(name, criteria[own].unit)
            return Number(name, f"{what}{label}", value, unit)
    if name.endswith("_nats"):
        kind = name.removesuffix("_nats")
        return Number(name, f"mean evidence on a member: {_KINDS.get(kind, kind)}", value, "nats")
    return Number(name, _CAMPAIGN.get(name, name.replace("_", " ")), value, _UNITS.get(name, ""))
