"""`manage.py demo`: the whole shop on one machine, its channels played by the sandbox, until Ctrl-C."""

import shlex
import signal
import sys
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from shop import demo

WRONG_CALL = 2
WELCOME = """
nodrop is running.
  shop     {PUBLIC_URL}/
  admin    {PUBLIC_URL}/admin/   login {staff}, password {password}
  sandbox  {SANDBOX_URL}/_sandbox/
{elsewhere}Ctrl-C stops everything.
"""
ELSEWHERE = "In other terminals first: export NODROP_DATA_DIR={data_dir}\n"
# The last one comes when a terminal is closed.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Command(BaseCommand):
    help = "Runs the shop, its workers and the sandbox gateway, and says where they are. Ctrl-C stops everything."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="of the shop (8000)")
        parser.add_argument("--sandbox-port", type=int, default=9000, help="of the sandbox gateway (9000)")
        parser.add_argument("--data-dir", type=Path, help="the one place of all data (.nodrop)")

    def handle(self, *, port: int, sandbox_port: int, data_dir: Path | None, **options: Any) -> None:
        # SIGINT too: a shell script starts its background programs with it ignored.
        for number in STOP_SIGNALS:
            signal.signal(number, signal.default_int_handler)
        try:
            demo.use_data_dir(data_dir)
            with suppress(KeyboardInterrupt), demo.only_demo(f"http://127.0.0.1:{port}"):
                self.run(port, sandbox_port)
        except demo.DemoError as error:
            raise CommandError(str(error), returncode=WRONG_CALL) from error
        # The embedded servers stop at exit; a second Ctrl-C would only interrupt that.
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        with suppress(OSError):  # the terminal may be gone
            self.stdout.write("nodrop has stopped. Orders and logins are kept for the next start.")

    def run(self, port: int, sandbox_port: int) -> None:
        demo.require_free_ports(port, sandbox_port)
        variables = demo.demo_environment(port, sandbox_port)
        self.stdout.write("Preparing the database ...")
        usual = settings.DATA_DIR == settings.BASE_DIR / ".nodrop"
        elsewhere = "" if usual else ELSEWHERE.format(data_dir=shlex.quote(str(settings.DATA_DIR)))
        password = demo.prepare_database()
        welcome = WELCOME.format(**variables, staff=demo.STAFF_NAME, password=password, elsewhere=elsewhere)
        demo.supervise(sys.stdout, variables, port=port, sandbox_port=sandbox_port, welcome=welcome)
