"""What follows a settlement, after its commit: other attempts of the order are closed, and order and receipts compared.

It never writes a status. What does not agree is a bug of ours or a hand in the database, so a person looks at it.
"""

from django.db.models import Count, Q

from orders.models import Order
from orders.statuses import PAID, OrderStatus
from payments.cases import open_case
from payments.channels.registry import get_channel
from payments.models import Case, Payment, Receipt
from payments.querying import close_payment
from payments.settling import FOLLOW_UP
from payments.statuses import PaymentStatus, ReceiptClass
from shop.alarms import Claim, remove_alarms
from shop.transactions import transactional


def follow_up_by_alarm(claim: Claim) -> None:
    """Finish what the settlement of the claim's order began."""
    _close_other_attempts(claim.subject)
    _check(claim.subject)


def _close_other_attempts(number: str) -> None:
    """A paid order wants no more money: a code that is still open somewhere is closed, once. Its query goes on."""
    others = Payment.objects.filter(order__number=number, order__status__in=PAID, status=PaymentStatus.PAYING)
    for payment in others:
        if get_channel(payment.channel).can_close:
            close_payment(payment)


@transactional
def _check(number: str) -> None:
    order = Order.objects.select_for_update().get(number=number)
    if not agrees(order):
        evidence = {"status": order.status, "receipts": list(order.receipts.values_list("pk", flat=True))}
        open_case(Case.Kind.DISAGREES, order.number, order=order, evidence=evidence)
    remove_alarms([FOLLOW_UP], number)


def agrees(order: Order) -> bool:
    """Whether the order's status is what its receipts say: paid exactly when one settled receipt of its amount is there."""
    settled = Q(
        receipt_class=ReceiptClass.SETTLED,
        amount=order.amount,
        currency=order.currency,
        payment__status=PaymentStatus.PAID,
    )
    found = Receipt.objects.filter(order=order).aggregate(settled=Count("pk", filter=settled))["settled"]
    return bool(found) == (OrderStatus(order.status) in PAID)
