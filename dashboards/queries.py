"""PromQL that the dashboards share."""

from __future__ import annotations

EVERY = "$__rate_interval"


def metric(name: str, **labels: str) -> str:
    """A selector for the series of the chosen processes. A label may end in `__not` or `__like`."""
    chosen = ['instance=~"$instance"']
    for label, value in labels.items():
        name_of_label, _, how = label.partition("__")
        chosen.append(f'{name_of_label}{ {"": "=", "not": "!=", "like": "=~"}[how] }"{value}"')
    return f"{name}{{{', '.join(chosen)}}}"


def per_second(name: str, by: str = "", every: str = EVERY, **labels: str) -> str:
    """The rate of a counter, summed by some labels."""
    return f"sum {f'by ({by}) ' if by else ''}(rate({metric(name, **labels)}[{every}]))"


def share(part: str, whole: str) -> str:
    """Part of a whole, 0 where there is no whole."""
    return f"{part} / clamp_min({whole}, 0.000001)"


def or_zero(expression: str) -> str:
    """The expression, 0 where it has no series."""
    return f"({expression}) or vector(0)"


def quantiles(name: str, every: str = EVERY) -> dict[str, str]:
    """The median and the 99th percentile of a histogram, 0 without observations."""
    buckets = per_second(f"{name}_bucket", "le", every)
    return {
        f"p{q:g}": f"(histogram_quantile({q / 100:g}, {buckets}) >= 0) or vector(0)"
        for q in (50, 99)
    }


def by(label: str, expression: str) -> dict[str, str]:
    """One query, with a label as legend."""
    return {f"{{{{{label}}}}}": expression}


def latest(name: str, by: str, **labels: str) -> str:
    """A gauge that several processes report alike, counted once."""
    return f"max by ({by}) ({metric(name, **labels)})"


# After a rebalance two workers may report the same partition; count it once.
LAG = f"sum({latest('xm_lag', 'topic, partition')})"
EVENTS = per_second("xm_events_total")
REJECTED = per_second("xm_rejections_total")
READ = f"({REJECTED} + {EVENTS})"
OPEN = {
    severity: f"sum({metric('xm_open_alerts', severity=severity)})"
    for severity in ("critical", "warning")
}
DECISIONS_FAILED = per_second("xm_decision_lookups_total", action="unknown")
