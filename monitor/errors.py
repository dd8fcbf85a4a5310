"""What can go wrong that an operator can put right.

Every message is one sentence with the remedy in it; the command line prints it and exits 2.
"""


class MonitorError(Exception):
    """The root of all errors that this package raises on purpose."""


class ConfigError(MonitorError):
    """A setting is missing or cannot be used."""


class StoreError(MonitorError):
    """The state store does not take part: away, read-only, full or refusing."""


class FencedError(StoreError):
    """A partition was taken up by another worker, or the store has lost this one's last word."""


class InputError(MonitorError):
    """A file or mapping that the operator named cannot be read."""
