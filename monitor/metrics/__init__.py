"""Prometheus metrics of one process, in one place.

Importing this package registers nothing. A `Metrics` belongs to one registry; whoever serves the
registry creates it and passes the metrics on. No label carries a key, except for a limited number
of subjects with open alerts, by pseudonym (`subjects.py`).
"""

from monitor.metrics.families import Metrics

__all__ = ["Metrics"]
