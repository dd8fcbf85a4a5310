"""Errors that an operator can fix.

Every message is one sentence that says what failed, why, and what to do. The command line prints
it and exits with status 2; the worker logs it.

    MonitorError
    ├── ConfigError                 a setting is missing or invalid
    ├── InputError                  a file or mapping cannot be read
    ├── EvidenceError               an entry or a bundle is not what was signed
    ├── RegistryUnavailableError    retry: the schema registry is away, refuses or fails
    └── StoreError                  the state store
        ├── StoreUnavailableError   retry: away, loading, read-only, full, failing over
        ├── StoreRefusedError       do not retry: somebody has to change something first
        └── FencedError             do not retry: start again from the last checkpoint
"""


class MonitorError(Exception):
    """The base of all errors that this package raises on purpose."""


# The operator's input: raised before any request is read.


class ConfigError(MonitorError):
    """A setting is missing or cannot be used."""


class InputError(MonitorError):
    """A file or mapping that the operator named cannot be read."""


# Evidence: raised while a case or a bundle is read.


class EvidenceError(MonitorError):
    """An entry of a case, or a bundle, is not what was signed. The message says what is wrong."""


# The schema registry: raised while requests are decoded, before anything changes.


class RegistryUnavailableError(MonitorError):
    """The schema registry cannot be asked now; retry the same batch later."""


# The state store: raised while requests are read.


class StoreError(MonitorError):
    """The base of store errors. Raise one of the subclasses."""


class StoreUnavailableError(StoreError):
    """The store is away, loading, read-only, full or failing over; retry the same call later."""


class StoreRefusedError(StoreError):
    """The store will refuse the same call again: missing permission, unknown version, wrong server.

    A retry cannot help. The worker stops with the message.
    """


class FencedError(StoreError):
    """Another worker has claimed the partition, or the store lost this worker's last checkpoint.

    Nothing was written. The worker restarts from the last checkpoint in the store.
    """
