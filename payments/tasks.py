"""Doors of the task queue: what django-q2 calls by name."""

from payments.scanner import scan_payments


def scan() -> dict[str, int]:
    """The scheduled scanner's pass, every minute."""
    return scan_payments()
