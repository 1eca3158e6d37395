"""`manage.py cases`: what waits for a person, the most urgent first."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from payments.cases import list_open_cases


class Command(BaseCommand):
    help = "List the open cases. Exit 1 when there are any."
    # One channel's bad setting must not stop what guards the others' money.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = [case.as_json() for case in list_open_cases()]
        if options["json"]:
            print(json.dumps(rows))
        elif not rows:
            print("Nothing waits for a person.")
        else:
            print(f"{'deadline':<17}{'kind':<16}{'subject':<34}{'order':<18}owner")
            for row in rows:
                deadline = row["deadline"][:16].replace("T", " ")
                columns = f"{deadline:<17}{row['kind']:<16}{row['subject']:<34}{row['order'] or '-':<18}"
                print(columns + (row["owner"] or "-"))
        if rows:
            raise SystemExit(1)
