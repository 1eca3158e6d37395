"""`manage.py scan_payments`: one pass of the scheduled scanner."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from payments.scanner import scan_payments


class Command(BaseCommand):
    help = "Handle due alarms and look for unfinished things that nobody watches. Exit 1 when something was found."
    # One channel's bad setting must not stop what guards the others' money.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        counts = scan_payments()
        if options["json"]:
            print(json.dumps(counts))
        else:
            for name, count in counts.items():
                print(f"{name.replace('_', ' '):<16}{count:>6}")
        if counts["failed"] or counts["without_alarm"]:
            raise SystemExit(1)
