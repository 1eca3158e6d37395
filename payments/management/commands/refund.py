"""`manage.py refund NUMBER --amount N --reason R`: give money back, as staff would."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from payments.errors import NotRefundable, OverRefund, PaymentNotFound
from payments.management.actors import add_actor, read_actor
from payments.refunding import ask_refund
from payments.statuses import RefundStatus
from shop.money import for_people


class Command(BaseCommand):
    help = "Refund a part or all of a payment. Exit 1 when more is asked than is left, or a second person must approve."
    # One channel's bad setting must not stop what guards the others' money.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "number", metavar="NUMBER", help="our payment number, or the channel's for a trade"
        )
        parser.add_argument("--amount", type=int, required=True, metavar="N", help="minor units (fen, cent)")
        parser.add_argument(
            "--reason", required=True, metavar="R", help="shown to the shopper, 1 to 80 letters"
        )
        add_actor(parser)
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        reason, by = options["reason"].strip(), read_actor(options)
        if options["amount"] < 1 or not 1 <= len(reason) <= 80:
            raise CommandError("--amount is at least 1, --reason has 1 to 80 letters.", returncode=2)
        try:
            refund = ask_refund(options["number"], amount=options["amount"], reason=reason, actor=by)
        except PaymentNotFound as error:
            raise CommandError(f"There is no payment {options['number']}.", returncode=2) from error
        except NotRefundable as error:
            raise CommandError(str(error), returncode=1) from error
        except OverRefund as error:
            raise CommandError(f"{error} Left: {error.left_minor} minor units.", returncode=1) from error
        if options["json"]:
            print(json.dumps({"number": refund.number, "status": refund.status, "amount": refund.amount}))
        else:
            print(f"{refund.number}  {for_people(refund.amount, refund.receipt.currency)}  {refund.status}")
        if refund.status == RefundStatus.PENDING_APPROVAL:
            raise SystemExit(1)
