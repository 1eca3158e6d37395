#!/usr/bin/env python
"""The command line. Starts the embedded servers before every command that may need a database."""

import os
import sys
from typing import NoReturn

# These need none, or, like `demo`, see to it themselves.
WITHOUT_SERVERS = frozenset(
    {
        "",
        "check",
        "collectstatic",
        "compilemessages",
        "demo",
        "diffsettings",
        "help",
        "makemessages",
        "sandbox",
    }
    | {"startapp", "startproject", "version", "--help", "--version", "-h"}
)


def main(args: list[str]) -> None:
    """Run one command. What keeps nodrop from starting is told in one sentence, with exit status 2."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    try:
        from django.conf import settings
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
        from environs import EnvError
    except ImportError as error:
        stop(f"{error}. Is the virtual environment active? See README")
    from shop import embedded

    try:
        if needs_servers(args):
            embedded.ensure_started_for(settings)
        execute_from_command_line(args)
    except (ImproperlyConfigured, EnvError, embedded.EmbeddedError) as error:
        stop(str(error))


def needs_servers(args: list[str]) -> bool:
    """Whether this call may touch the database."""
    command = args[1] if len(args) > 1 else ""
    if command == "check" and "--database" in args:
        return True
    return command not in WITHOUT_SERVERS and not {"-h", "--help"} & set(args[2:])


def stop(reason: str) -> NoReturn:
    sys.stderr.write(f"nodrop cannot start: {reason.rstrip('.')}.\n")
    sys.exit(2)


if __name__ == "__main__":
    main(sys.argv)
