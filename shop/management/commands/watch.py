"""`manage.py watch`: claims due alarms for ever, parent and watchdog of the one task cluster."""

import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from shop.findings import tell_findings
from shop.watch import Watch


class Command(BaseCommand):
    help = (
        "Claim and handle due alarms for ever; keep the task cluster running. Any number of copies may run."
    )
    # One channel's bad setting must not stop what guards the others' money.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--no-cluster", action="store_true", help="leave the task cluster to another copy of watch"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        watch = Watch(with_cluster=not options["no_cluster"])
        for stop_signal in (signal.SIGINT, signal.SIGTERM):
            signal.signal(stop_signal, lambda *_: watch.stop.set())
        tell_findings()
        watch.run()
