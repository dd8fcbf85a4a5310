"""Indicators in Redis."""

from monitor.store.indicators.store import IndicatorStore

__all__ = ["IndicatorStore"]
