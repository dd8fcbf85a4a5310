"""All commands of `xm case` and `xm report`."""

from pipelines.cli.cases import case, documents, key, reproduce, review, verify
from pipelines.cli.cases.group import commands

__all__ = ["case", "commands", "documents", "key", "reproduce", "review", "verify"]
