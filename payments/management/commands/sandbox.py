"""`manage.py sandbox`: runs the sandbox gateway, or prints the variables that point a client at it."""

import argparse
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from payments.sandbox.server import add_arguments, run


class Command(BaseCommand):
    """The gateway needs no database and no checks of the shop's configuration."""

    help = "Run the sandbox gateway, the payment channels' other side, with throwaway keys."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """The same options as `python -m payments.sandbox`."""
        add_arguments(parser)
        if hasattr(settings, "DATA_DIR"):  # the gateway also runs where there is no shop
            parser.set_defaults(data_dir=settings.DATA_DIR / "sandbox")

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until stopped; the exit status is the gateway's."""
        sys.exit(run(argparse.Namespace(**options)))
