"""The picture of a trace: the evidence for each mark, and how it grows with the outputs."""

from __future__ import annotations

import math
from pathlib import Path

from monitor.tracing.significance import LEAST
from pipelines.cases.tracing.trace import TraceReport
from pipelines.show.style import require_plot_extra

_MARKS = 12  # in the picture
_KINDS = {
    "fixed": ("tokens, fixed list", "#1f77b4"),
    "context": ("tokens, list by context", "#2ca02c"),
    "wordings": ("wordings", "#ff7f0e"),
    "canaries": ("canaries", "#9467bd"),
    "responses": ("responses seen", "#8c564b"),
}


def plot(report: TraceReport, path: Path) -> None:
    """Write the picture.

    Raises:
        ConfigError: if matplotlib is not installed.
    """
    require_plot_extra()
    from matplotlib.figure import Figure

    shown = report.traces[:_MARKS]
    figure = Figure((10, 1.6 + 0.34 * max(len(shown), 6)), layout="constrained")
    bars, curve = figure.subplots(1, 2, width_ratios=(3, 2))
    used = [kind for kind in _KINDS if any(t.kind == kind for each in shown for t in each.tests)]
    height = 0.8 / max(len(used), 1)
    for place, kind in enumerate(used):
        label, colour = _KINDS[kind]
        for row, each in enumerate(shown):
            for test in each.tests:
                if test.kind == kind:
                    size = -math.log10(max(test.p, LEAST))
                    bars.barh(row - 0.4 + (place + 0.5) * height, size, height, color=colour)
        bars.barh([-1], [0], color=colour, label=label)
    tests = max(sum(len(each.tests) for each in report.traces), 1)
    bars.axvline(-math.log10(report.level / tests), color="#d62728", linewidth=1, linestyle="--")
    bars.set_yticks(range(len(shown)), [each.mark for each in shown], fontsize=8)
    bars.set_ylim(len(shown) - 0.4, -0.6)
    bars.set_xlabel("zeros of the probability by chance (-log10)")
    bars.set_title(
        f"Evidence by mark (dashed: {report.level:g} after correction)", loc="left", fontsize=10
    )
    if used:
        bars.legend(fontsize=8, loc="lower right")
    if report.growth is not None:
        curve.plot(report.growth.outputs, report.growth.z, marker="o", markersize=3)
        curve.axhline(0, color="#888888", linewidth=1)
        curve.set_title("First mark, as outputs are read", loc="left", fontsize=10)
        curve.set_xlabel("outputs")
        curve.set_ylabel("standard deviations above chance")
    else:
        curve.set_axis_off()
    figure.savefig(path, dpi=150)
