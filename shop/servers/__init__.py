"""The servers that nodrop brings along, PostgreSQL and Redis: one file each, and `places` for where and as whom.

They are driven from `shop.embedded` only. Settings import these rooms, so they need nothing but the standard library.
"""


class EmbeddedError(Exception):
    """An embedded server cannot run here. The message is one sentence for the person who started us."""


class FrozenError(EmbeddedError):
    """It runs and does not answer. The shop can do without Redis, and without nothing else."""
