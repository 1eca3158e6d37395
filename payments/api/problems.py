"""The money's errors as problem documents."""

from django.utils.translation import gettext as _

from payments.channels.base import BadPayer
from payments.errors import (
    AskedTooOften,
    ChannelUnavailable,
    NotOffered,
    NotRefundable,
    OrderIsClosed,
    OrderIsPaid,
    OverRefund,
    PaymentConfirming,
    PaymentNotFound,
    RefundNotFound,
)
from shop.api import describe_error
from shop.problems import Problem

describe_error(
    PaymentNotFound, lambda e: Problem(status=404, code="not_found", detail=_("There is no such payment."))
)
describe_error(OrderIsPaid, lambda e: Problem(status=409, code="order_paid", detail=_("This order is paid.")))
describe_error(
    OrderIsClosed, lambda e: Problem(status=409, code="order_closed", detail=_("This order is closed."))
)
describe_error(
    PaymentConfirming,
    lambda e: Problem(
        status=409,
        code="payment_confirming",
        detail=str(e),
        retry_after_s=e.retry_after_s,
        extra={"may_supersede": e.may_supersede},
    ),
)
describe_error(
    NotOffered,
    lambda e: Problem(
        status=400, code="invalid", detail=str(e), errors=[{"field": e.field, "detail": str(e)}]
    ),
)
describe_error(
    ChannelUnavailable,
    lambda e: Problem(status=503, code="channel_unavailable", detail=str(e), retry_after_s=5),
)
describe_error(
    AskedTooOften,
    lambda e: Problem(status=429, code="too_many_requests", detail=str(e), retry_after_s=e.retry_after_s),
)
describe_error(
    RefundNotFound, lambda e: Problem(status=404, code="not_found", detail=_("There is no such refund."))
)
describe_error(NotRefundable, lambda e: Problem(status=409, code="not_refundable", detail=str(e)))
describe_error(
    BadPayer,
    lambda e: Problem(
        status=400,
        code="invalid",
        detail=f"payer.{e.field}: {e}",
        errors=[{"field": f"payer.{e.field}", "detail": str(e)}],
    ),
)
describe_error(
    OverRefund,
    lambda e: Problem(status=409, code="over_refund", detail=str(e), extra={"left": e.left_minor}),
)
