"""Doors of the task queue: what django-q2 calls by name."""

from payments.scanner import scan_payments
from shop import beats


def scan() -> dict[str, int]:
    """The scheduled scanner's pass, every minute."""
    counts = scan_payments()
    beats.beat("scanner", **counts)
    return counts
