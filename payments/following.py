"""What follows a settlement, after its commit: other attempts of the order are closed, order and receipts compared, the
receipt mailed, waiting pages woken.

It never writes a status: an order that does not agree with its receipts goes through the one door again, or to a person.
"""

from orders.models import Order
from orders.moves import lock_order
from orders.statuses import PAID, OrderStatus
from payments.cached import renew_state
from payments.cases import close_cases, open_case
from payments.channels.registry import class_of
from payments.mailing import promise_mail
from payments.models import Case, Payment
from payments.querying import close_payment
from payments.settling import has_settled_receipt, settle_again
from payments.statuses import PaymentStatus
from shop.alarms import Claim, finish
from shop.transactions import transactional


def follow_up_by_alarm(claim: Claim) -> None:
    """Finish what the settlement of the claim's order began."""
    renew_state(claim.subject)
    _close_other_attempts(claim.subject)
    _check(claim)


def _close_other_attempts(number: str) -> None:
    """A paid order wants no more money: a code that is still open somewhere is closed, once. Its query goes on."""
    others = Payment.objects.filter(order__number=number, order__status__in=PAID, status=PaymentStatus.PAYING)
    for payment in others:
        if class_of(payment.channel).can_close:
            close_payment(payment)


@transactional
def _check(claim: Claim) -> None:
    number = claim.subject
    order = lock_order(number)
    if not agrees(order):
        settle_again(number)
        order.refresh_from_db()
    if agrees(order):
        close_cases(Case.Kind.DISAGREES, number, resolution="order and receipts agree")
    else:
        evidence = {"status": order.status, "receipts": list(order.receipts.values_list("pk", flat=True))}
        open_case(Case.Kind.DISAGREES, number, order=order, evidence=evidence)
    promise_mail(number)
    finish(claim)  # unless another settlement has begun meanwhile


def agrees(order: Order) -> bool:
    """Whether the order's status is what its receipts say: paid exactly when one settled receipt of its amount is there."""
    return has_settled_receipt(order) == (OrderStatus(order.status) in PAID)
