"""Who runs a command, for the history: whom they name, for the machine's account says little."""

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser

from payments.deeds.records import COMMAND_LINE

MOST = 150


def add_actor(parser: CommandParser) -> None:
    """Let the command take `--by NAME`."""
    parser.add_argument("--by", default=COMMAND_LINE, metavar="NAME", help="who asks, for the history")


def read_actor(options: Mapping[str, Any]) -> str:
    """Whom they have named. Raises CommandError."""
    by = str(options["by"]).strip()
    if not 1 <= len(by) <= MOST:
        raise CommandError(f"--by has 1 to {MOST} letters.", returncode=2)
    return by
