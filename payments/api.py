"""API doors of the money: the order with its payments, its status, cancelling, applying, one payment, asking again,
refunds.
"""

import hashlib
import time
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders.access import check_shopper, find_order, is_token_of
from orders.api import order_fields
from orders.errors import OrderNotFound
from orders.models import Order
from orders.statuses import OrderStatus
from payments.applying import apply_for_payment
from payments.cached import admit, read_state, recall_state, start_clock
from payments.cases import has_open_mismatch
from payments.channels.base import BadPayer
from payments.channels.registry import payer_at
from payments.ending import cancel_order
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
from payments.models import Payment, Refund
from payments.querying import keep_asking, query_by_person
from payments.recording import ask_refund_as, check_may_refund
from payments.showing import OrderState
from shop.api import (
    Flag,
    ShopperAuthentication,
    StrictSerializer,
    Text,
    Whole,
    answer_once,
    bearer_token,
    describe_error,
    read_key,
)
from shop.bell import Listening
from shop.middleware import BUSY, busy
from shop.numbers import is_number
from shop.problems import Problem, answer
from shop.visitors import read_address

MAX_WAIT_S = 30
MAX_DIGITS = 10
# How often a waiting status call reads the database.
READ_EVERY_S = 1.0

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


class AddressSerializer(StrictSerializer):
    line1 = Text(max_length=200)
    city = Text(max_length=100)
    state = Text(max_length=100)
    postal_code = Text(max_length=20)
    country = Text(max_length=2)


class PayerSerializer(StrictSerializer):
    tax_id = Text(max_length=20, required=False)
    address = AddressSerializer(required=False)


class ApplySerializer(StrictSerializer):
    channel = Text(max_length=10)
    scene = Text(max_length=10)
    payer = PayerSerializer(required=False)
    supersede = Flag(default=False)


class RefundSerializer(StrictSerializer):
    amount = Whole(min_value=1, max_value=2**53)
    reason = Text(max_length=80)


class ShopperView(APIView):
    """A door for who may see the order: by token, by session, or staff, who only look."""

    authentication_classes = (ShopperAuthentication,)

    def find_order(self, request: Request, number: str) -> Order:
        """The order for the asker. Raises OrderNotFound."""
        return find_order_for(request._request, number)

    def find_own_order(self, request: Request, number: str) -> Order:
        """The order for its shopper, to do something with it. Raises OrderNotFound, NotTheShopper."""
        order = self.find_order(request, number)
        check_shopper_of(request._request, order)
        return order

    def find_payment(self, request: Request, number: str) -> Payment:
        """The payment of an order that the asker may see. Raises PaymentNotFound."""
        payment = None
        if is_number(number):
            payment = Payment.objects.select_related("order").filter(number=number).first()
        if payment is None:
            raise PaymentNotFound(number)
        try:
            self.find_order(request, payment.order.number)
        except OrderNotFound as error:
            raise PaymentNotFound(number) from error
        return payment


class OrderView(ShopperView):
    """`GET orders/{number}`: the order, its payments and refunds."""

    def get(self, request: Request, number: str) -> Response:
        order = self.find_order(request, number)
        refunds = Refund.objects.filter(receipt__order=order).select_related("receipt__payment")
        return Response(
            {
                **order_fields(order),
                "payments": [read_fields(payment) for payment in order.payments.select_related("order")],
                "refunds": [refund_fields(refund) for refund in refunds],
            }
        )


class PaymentsView(ShopperView):
    """`POST orders/{number}/payments`: apply for payment. 201 new, 200 the live one again."""

    def post(self, request: Request, number: str) -> Response:
        order = self.find_own_order(request, number)
        wanted = ApplySerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        data = wanted.validated_data
        applied = apply_for_payment(
            order.number,
            channel=data["channel"],
            scene=data["scene"],
            payer=payer_at(data["channel"], data["scene"], read_address(request)) | data.get("payer", {}),
            may_supersede=data["supersede"],
            version=order.version,
            key=read_key(request, f"payments:{order.number}"),
        )
        return answer_once(
            payment_fields(applied.payment),
            status=201 if applied.is_new else 200,
            is_replay=applied.is_replay,
        )


class CancelView(ShopperView):
    """`POST orders/{number}/cancel`: the shopper gives up."""

    def post(self, request: Request, number: str) -> Response:
        order = self.find_own_order(request, number)
        cancel_order(order.number)
        order.refresh_from_db()
        return Response(order_fields(order))


class PaymentView(ShopperView):
    """`GET payments/{number}`."""

    def get(self, request: Request, number: str) -> Response:
        return Response(read_fields(self.find_payment(request, number)))


class QueryView(ShopperView):
    """`POST payments/{number}/query`: ask the channel now."""

    def post(self, request: Request, number: str) -> Response:
        payment = self.find_payment(request, number)
        check_shopper_of(request._request, payment.order)
        query_by_person(payment.number)
        payment.refresh_from_db()
        return Response(read_fields(payment))


class RefundsView(ShopperView):
    """`POST payments/{number}/refunds` amount, reason: staff give money back. 201; above a limit it waits for approval."""

    def post(self, request: Request, number: str) -> Response:
        payment = self.find_payment(request, number)
        check_may_refund(request.user, payment)
        wanted = RefundSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        refund = ask_refund_as(
            cast("User", request.user),
            payment,
            key=read_key(request, f"refunds:{payment.number}"),
            **wanted.validated_data,
        )
        return answer_once(refund_fields(refund), status=201, is_replay=refund.is_replay)


class RefundView(ShopperView):
    """`GET refunds/{number}`."""

    def get(self, request: Request, number: str) -> Response:
        found = Refund.objects.select_related("receipt__payment", "receipt__order").filter(number=number)
        # One that was made in a channel's console has the channel's own number.
        refund = found.filter(receipt__order__isnull=False).first() if number.isprintable() else None
        if refund is None or refund.receipt.order is None:
            raise RefundNotFound(number)
        try:
            self.find_order(request, refund.receipt.order.number)
        except OrderNotFound as error:
            raise RefundNotFound(number) from error
        return Response(refund_fields(refund))


def read_fields(payment: Payment) -> dict[str, Any]:
    """A payment as it is now: without its action, too, while a person decides about money of a wrong amount."""
    fields = payment_fields(payment)
    return fields | {"action": None} if fields["action"] and has_open_mismatch(payment.order) else fields


def payment_fields(payment: Payment) -> dict[str, Any]:
    """A payment as the API shows it. The action is shown while it is wanted."""
    is_unpaid = payment.order.status == OrderStatus.UNPAID
    return {
        "number": payment.number,
        "order": payment.order.number,
        "channel": payment.channel,
        "scene": payment.scene,
        "status": payment.status,
        "amount": payment.amount,
        "currency": payment.currency,
        "action": payment.action if payment.is_payable and is_unpaid else None,
        "expires_at": payment.expires_at.isoformat(),
    }


def refund_fields(refund: Refund) -> dict[str, Any]:
    """A refund as the API shows it."""
    payment = refund.receipt.payment
    return {
        "number": refund.number,
        "payment": payment.number if payment else None,
        "status": refund.status,
        "amount": refund.amount,
        "currency": refund.receipt.currency,
        "reason": refund.reason,
    }


# ---- the status, which may wait ------------------------------------------------------------------------------------


@csrf_exempt  # it changes nothing, whatever the method
async def order_status(request: HttpRequest, number: str) -> HttpResponse:
    """`GET orders/{number}/status?since={version}&wait={s}`: at once, or as soon as the version differs from `since`.

    Outside DRF, because it waits without holding a database connection. Who asks here looks at the order, so the
    channel is asked about it every ten seconds meanwhile.
    """
    if request.method not in ("GET", "HEAD"):
        return answer(Problem(status=405, code="method_not_allowed", detail=_("Only GET is offered here.")))
    try:
        since, wait_s = _whole(request, "since", most=2**31), _whole(request, "wait", most=MAX_WAIT_S)
        state = await sync_to_async(recall_now)(request, number)
        if wait_s and state.version == since:
            state = await _wait_for_news(request, state, wait_s)
    except ValueError as error:
        return answer(Problem(status=400, code="invalid", detail=str(error)))
    except OrderNotFound:
        return answer(Problem(status=404, code="not_found", detail=_("There is no such order.")))
    except BUSY:
        return answer(busy(request))
    return JsonResponse(state.as_json())


async def _wait_for_news(request: HttpRequest, state: OrderState, wait_s: int) -> OrderState:
    """The state as soon as its version is another one, or when the time is over."""
    give_up, since, read = time.monotonic() + wait_s, state.version, sync_to_async(read_now)
    async with Listening(state.number) as bell:
        state = await read(request, state.number)  # for what changed before anybody listened
        while state.version == since and (left_s := give_up - time.monotonic()) > 0:
            await bell.wait(min(READ_EVERY_S, left_s))
            state = await read(request, state.number)
    return state


def _whole(request: HttpRequest, name: str, *, most: int) -> int | None:
    text = request.GET.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and int(text) <= most):
        words = _("%(name)s must be a whole number up to %(most)d.")
        raise ValueError(words % {"name": name, "most": most})
    return int(text)


def recall_now(request: HttpRequest, number: str) -> OrderState:
    """What was read a moment ago, for somebody who was let in a moment ago: no statement. Else as `read_now`."""
    asker = _asker(request)
    state = recall_state(number, asker) if asker and is_number(number) else None
    return state or read_now(request, number)


def read_now(request: HttpRequest, number: str) -> OrderState:
    """The state, for somebody who looks at it: its channel is asked meanwhile. Raises OrderNotFound."""
    try:
        since = start_clock()
        order = find_order_for(request, number)
        if keep_asking(order):
            order.refresh_from_db()
        state = read_state(order, since=since)
        token = bearer_token(request)
        if (asker := _asker(request)) and (not token or is_token_of(order, token)):
            admit(asker, state)  # what has let it in, not what it showed besides
        return state
    finally:
        if settings.DB_POOL:
            connection.close()  # back to the pool while this call waits


def _asker(request: HttpRequest) -> str:
    """A digest of what the request shows to be let in by: its token or its session; empty when it shows nothing."""
    shown = bearer_token(request) or request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    return hashlib.sha256(shown.encode()).hexdigest() if shown else ""


def find_order_for(request: HttpRequest, number: str) -> Order:
    """The order, for the token, session or staff member of this request. Raises OrderNotFound."""
    return find_order(
        number,
        token=bearer_token(request),
        session=request.session,
        user=getattr(request, "user", None),
    )


def check_shopper_of(request: HttpRequest, order: Order) -> None:
    """Raises NotTheShopper, unless the request comes with the order's token or its session."""
    check_shopper(order, token=bearer_token(request), session=request.session)
