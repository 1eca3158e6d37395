"""API doors of the money: the order with its payments, its status, cancelling, applying, one payment, asking again,
refunds.
"""

import time
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orders.access import check_seen, check_shopper, is_shopper, is_token_of
from orders.api import find_order_for, find_own_order, order_fields
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
from payments.recording import ask_refund_as, who_may_refund
from payments.showing import OrderState
from shop.api import (
    Flag,
    StrictSerializer,
    Text,
    Whole,
    answer_once,
    answer_problem,
    describe_error,
    read_key,
)
from shop.bell import Listening
from shop.keyring import BadKey, Scope
from shop.keys import Asker, MissingScope, asker_of, bearer_token, digest, is_by_key, read_asker
from shop.middleware import BUSY, busy
from shop.models import Source
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


class OrderView(APIView):
    """`GET orders/{number}`: the order; its payments and refunds for whoever may see those, too."""

    def get(self, request: Request, number: str) -> Response:
        asker = asker_of(request)
        order = find_order_for(asker, number)
        fields = order_fields(order)
        is_own = is_shopper(order, token=asker.token, session=asker.session)
        if is_own or asker.may(Scope.PAYMENTS_READ):
            fields["payments"] = [read_fields(payment) for payment in order.payments.select_related("order")]
        if is_own or asker.may(Scope.REFUNDS_READ):
            refunds = Refund.objects.filter(receipt__order=order).select_related("receipt__payment")
            fields["refunds"] = [refund_fields(refund) for refund in refunds]
        return Response(fields)


class PaymentsView(APIView):
    """`POST orders/{number}/payments`: apply for payment. 201 new, 200 the live one again."""

    def post(self, request: Request, number: str) -> Response:
        asker = asker_of(request)
        order = find_own_order(asker, number, Scope.PAYMENTS_WRITE)
        wanted = ApplySerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        data = wanted.validated_data
        applied = apply_for_payment(
            order.number,
            channel=data["channel"],
            scene=data["scene"],
            payer=_payer_at(request, data) | data.get("payer", {}),
            may_supersede=data["supersede"],
            version=order.version,
            key=read_key(request, asker.scope_of_keys(f"payments:{order.number}")),
            source=asker.source,
            actor=asker.actor,
        )
        return answer_once(
            payment_fields(applied.payment),
            status=201 if applied.is_new else 200,
            is_replay=applied.is_replay,
        )


def _payer_at(request: Request, data: dict[str, Any]) -> dict[str, str]:
    """Where the shopper is; a system is somewhere else."""
    is_shopper_here = asker_of(request).key is None
    address = read_address(request._request) if is_shopper_here else ""
    return payer_at(data["channel"], data["scene"], address)


class CancelView(APIView):
    """`POST orders/{number}/cancel`: the shopper gives up."""

    def post(self, request: Request, number: str) -> Response:
        asker = asker_of(request)
        order = find_own_order(asker, number, Scope.ORDERS_WRITE)
        cancel_order(order.number, source=asker.source, actor=asker.actor)
        order.refresh_from_db()
        return Response(order_fields(order))


class PaymentView(APIView):
    """`GET payments/{number}`."""

    def get(self, request: Request, number: str) -> Response:
        return Response(read_fields(find_payment_for(asker_of(request), number)))


class QueryView(APIView):
    """`POST payments/{number}/query`: ask the channel now."""

    def post(self, request: Request, number: str) -> Response:
        payment = _find_own_payment(asker_of(request), number)
        query_by_person(payment.number)
        payment.refresh_from_db()
        return Response(read_fields(payment))


class RefundsView(APIView):
    """`POST payments/{number}/refunds` amount, reason: money is given back. 201; above a limit it waits for approval."""

    def post(self, request: Request, number: str) -> Response:
        asker = asker_of(request)
        asker.check_scope(Scope.REFUNDS_WRITE)
        payment = find_payment_for(asker, number, Scope.REFUNDS_WRITE if asker.key else Scope.PAYMENTS_READ)
        user = who_may_refund(asker, payment)
        wanted = RefundSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        refund = ask_refund_as(
            user,
            payment,
            key=read_key(request, asker.scope_of_keys(f"refunds:{payment.number}")),
            source=Source.API if asker.key else Source.STAFF,
            actor=asker.actor or user.get_username(),
            **wanted.validated_data,
        )
        return answer_once(refund_fields(refund), status=201, is_replay=refund.is_replay)


class RefundView(APIView):
    """`GET refunds/{number}`."""

    def get(self, request: Request, number: str) -> Response:
        return Response(refund_fields(find_refund_for(asker_of(request), number)))


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


def _find_own_payment(asker: Asker, number: str) -> Payment:
    """The payment, for who may have its channel asked. Raises MissingScope, PaymentNotFound; NotTheShopper for staff."""
    if asker.key is not None:
        return find_payment_for(asker, number, Scope.PAYMENTS_WRITE)
    payment = find_payment_for(asker, number)
    check_shopper(payment.order, token=asker.token, session=asker.session)
    return payment


def find_refund_for(asker: Asker, number: str) -> Refund:
    """The refund, for the shopper of its order, and for who may see every refund. Raises MissingScope, RefundNotFound."""
    asker.check_scope(Scope.REFUNDS_READ)
    # One that was made in a channel's console has the channel's own number.
    refunds = Refund.objects.select_related("receipt__payment", "receipt__order").filter(number=number)
    found = refunds.filter(receipt__order__isnull=False).first() if number.isprintable() else None
    try:
        _check_seen(asker, found.receipt.order if found else None, Scope.REFUNDS_READ)
    except OrderNotFound as error:
        raise RefundNotFound(number) from error
    return cast("Refund", found)


def _check_seen(asker: Asker, order: Order | None, scope: Scope) -> None:
    """Raises OrderNotFound, unless what belongs to the order is shown to this asker."""
    number = order.number if order else ""
    check_seen(order, number, token=asker.token, session=asker.session, sees_all=asker.may(scope))


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
    except (OrderNotFound, BadKey, MissingScope) as error:
        return cast("HttpResponse", answer_problem(error, {"request": request}))
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
    shown = _shown_by(request)
    state = recall_state(number, shown) if shown and is_number(number) else None
    return state or read_now(request, number)


def read_now(request: HttpRequest, number: str) -> OrderState:
    """The state, for somebody who looks at it: its channel is asked meanwhile.

    Who asks is looked up anew each time, so that a key that was revoked meanwhile ends its wait. Raises OrderNotFound,
    BadKey, MissingScope.
    """
    try:
        since, asker = start_clock(), read_asker(request)
        order = find_order_for(asker, number)
        if keep_asking(order):
            order.refresh_from_db()
        state = read_state(order, since=since)
        if (shown := _shown_by(request)) and (not asker.token or is_token_of(order, asker.token)):
            admit(shown, state)  # what has let it in, not what it showed besides
        return state
    finally:
        if settings.DB_POOL:
            connection.close()  # back to the pool while this call waits


def _shown_by(request: HttpRequest) -> str:
    """A digest of the token or the session by which the request wants to be let in.

    Empty when it shows neither; a key is never remembered, for it may be revoked at any moment.
    """
    if is_by_key(request):
        return ""
    shown = bearer_token(request) or request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    return digest(shown) if shown else ""
