"""Checks whether Prometheus scrapes the monitor and has its rules."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp

from pipelines.health.checks import Check, bad, doubtful, good

AREA = "Prometheus"
_SECONDS = 5.0
_PREFIXES = ("xm:", "Monitor")  # of our recording rules and alerts


def check_prometheus(url: str) -> Iterator[Check]:
    """Ask a Prometheus for its rules and for the monitor's metrics.

    Args:
        url: such as http://127.0.0.1:9090.
    """
    try:
        rules, series = asyncio.run(_ask(url.rstrip("/")))
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError) as error:
        reason = str(error) or type(error).__name__
        yield bad(
            AREA,
            "connection",
            f"{url} does not answer ({reason}).",
            "Start it, or correct the URL.",
        )
        return
    ours = [each for each in rules if each["name"].startswith(_PREFIXES)]
    ill = [each for each in ours if each.get("health") == "err"]
    if not ours:
        yield bad(
            AREA,
            "rules",
            "It has none of the monitor's rules: nobody is paged when the monitor fails.",
            "Add deploy/prometheus/rules.yml to rule_files.",
        )
    elif ill:
        names = ", ".join(each["name"] for each in ill)
        yield bad(
            AREA,
            "rules",
            f"Rules fail: {names} ({ill[0].get('lastError', '')}).",
            "Take deploy/prometheus/rules.yml of the version that runs.",
        )
    else:
        yield good(AREA, "rules", f"{len(ours)} rules of the monitor are loaded and evaluated.")
    if series:
        yield good(AREA, "metrics", f"It has the monitor's metrics of {series} processes.")
    else:
        yield doubtful(
            AREA,
            "metrics",
            "It has no metrics of the monitor.",
            "Add its web ports to scrape_configs, as in deploy/prometheus/prometheus.yml.",
        )


async def _ask(url: str) -> tuple[list[dict[str, Any]], int]:
    """All rules, and the number of processes with metrics."""
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        async with session.get(f"{url}/api/v1/rules") as answer:
            groups = (await answer.json())["data"]["groups"]
        query = {"query": "count(xm_build_info)"}
        async with session.get(f"{url}/api/v1/query", params=query) as answer:
            result = (await answer.json())["data"]["result"]
    rules = [rule for group in groups for rule in group["rules"]]
    return rules, int(result[0]["value"][1]) if result else 0
