"""`manage.py replay_callback ID…`: take a stored callback once more."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from payments.callbacks import replay_callback
from payments.models import Callback


class Command(BaseCommand):
    help = "Take kept callbacks of channels again. Exit 1 when one still names nothing of ours."
    # One channel's bad setting must not stop what guards the others' money.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="+", type=int, metavar="ID", help="as the admin lists them")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = [self._replay(pk) for pk in options["ids"]]
        if options["json"]:
            print(json.dumps(rows))
        else:
            for row in rows:
                print(f"{row['id']:>8}  {'settled' if row['settled'] else 'names nothing of ours'}")
        if not all(row["settled"] for row in rows):
            raise SystemExit(1)

    def _replay(self, pk: int) -> dict[str, Any]:
        try:
            return {"id": pk, "settled": replay_callback(pk)}
        except Callback.DoesNotExist as error:
            raise CommandError(f"There is no callback {pk}.", returncode=2) from error
