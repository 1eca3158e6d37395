"""The payment or refund that an address names, for whoever may have it; for everybody else there is none."""

from typing import cast

from orders.access import check_seen, check_shopper
from orders.errors import OrderNotFound
from orders.models import Order
from payments.errors import PaymentNotFound, RefundNotFound
from payments.models import Payment, Refund
from shop.keyring import Scope
from shop.keys import Asker
from shop.numbers import is_number


def find_payment_for(asker: Asker, number: str, scope: Scope = Scope.PAYMENTS_READ) -> Payment:
    """The payment, for its shopper, and for who may do `scope` to every payment. Raises MissingScope, PaymentNotFound."""
    asker.check_scope(scope)
    found = (
        Payment.objects.select_related("order").filter(number=number).first() if is_number(number) else None
    )
    try:
        _check_seen(asker, found.order if found else None, scope)
    except OrderNotFound as error:
        raise PaymentNotFound(number) from error
    return cast("Payment", found)


def find_own_payment(asker: Asker, number: str) -> Payment:
    """The payment, for who may have its channel asked. Raises MissingScope, PaymentNotFound; NotTheShopper for staff."""
    if asker.key is not None:
        return find_payment_for(asker, number, Scope.PAYMENTS_WRITE)
    payment = find_payment_for(asker, number)
    check_shopper(payment.order, token=asker.token, session=asker.session)
    return payment


def find_refund_for(asker: Asker, number: str) -> Refund:
    """The refund, for the shopper of its order, and for who may see every refund: only they see one of money that belongs to
    no order. Raises MissingScope, RefundNotFound.
    """
    asker.check_scope(Scope.REFUNDS_READ)
    # One that was made in a channel's console has the channel's own number.
    refunds = Refund.objects.select_related("receipt__payment", "receipt__order").filter(number=number)
    found = refunds.first() if number.isprintable() else None
    if found is not None and found.receipt.order is None and asker.may(Scope.REFUNDS_READ):
        return found
    try:
        _check_seen(asker, found.receipt.order if found else None, Scope.REFUNDS_READ)
    except OrderNotFound as error:
        raise RefundNotFound(number) from error
    return cast("Refund", found)


def _check_seen(asker: Asker, order: Order | None, scope: Scope) -> None:
    """Raises OrderNotFound, unless what belongs to the order is shown to this asker."""
    number = order.number if order else ""
    check_seen(order, number, token=asker.token, session=asker.session, sees_all=asker.may(scope))
