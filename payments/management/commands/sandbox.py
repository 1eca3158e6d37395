"""`manage.py sandbox`: runs the sandbox gateway, or prints the variables that point a client at it."""

import argparse
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from payments.sandbox.fields import is_loopback, split_url
from payments.sandbox.server import add_arguments, run


class Command(BaseCommand):
    """The gateway needs no database and no checks of the shop's configuration."""

    help = "Run the sandbox gateway, the payment channels' other side, with throwaway keys."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """The same options as `python -m payments.sandbox`."""
        add_arguments(parser)
        if hasattr(settings, "DATA_DIR"):  # the gateway also runs where there is no shop
            parser.set_defaults(data_dir=settings.DATA_DIR / "sandbox", **find_place(settings.SANDBOX_URL))

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until stopped; the exit status is the gateway's."""
        sys.exit(run(argparse.Namespace(**options)))


def find_place(url: str) -> dict[str, Any]:
    """Host and port of the shop's own sandbox, such as a demo's on other ports; nothing for one on another machine."""
    parts = split_url(url)
    if parts is None or parts.port is None or not is_loopback(parts.hostname or ""):
        return {}
    return {"host": parts.hostname, "port": parts.port}
