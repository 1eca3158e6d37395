"""`manage.py query_payment NUMBER…`: ask the channel and apply its answer."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from payments.errors import PaymentNotFound
from payments.models import Payment
from payments.querying import query_payment


class Command(BaseCommand):
    help = "Ask the channel about payments and settle by its answers. Exit 1 when an answer stayed unknown."
    # One channel's bad setting must not stop what guards the others' money.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("numbers", nargs="+", metavar="NUMBER", help="our payment number")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = [self._query(number) for number in options["numbers"]]
        if options["json"]:
            print(json.dumps(rows))
        else:
            for row in rows:
                print(f"{row['number']}  {row['outcome']:<10} {row['status']}")
        if any(row["outcome"] == "unknown" for row in rows):
            raise SystemExit(1)

    def _query(self, number: str) -> dict[str, str]:
        try:
            outcome, settled = query_payment(number)
        except PaymentNotFound as error:
            raise CommandError(f"There is no payment {number}.", returncode=2) from error
        status = Payment.objects.values_list("status", flat=True).get(number=number)
        return {"number": number, "outcome": str(outcome), "settled": str(settled), "status": status}
