"""`refunds/…`, and asking for one."""

from rest_framework.request import Request
from rest_framework.response import Response

from payments.api.fields import listed_refund_fields, refund_fields
from payments.api.finding import find_payment_for, find_refund_for
from payments.models import Refund
from payments.recording import ask_refund_as, who_may_refund
from payments.statuses import RefundStatus
from shop.api import StrictSerializer, Text, Whole, answer_once, read_key
from shop.doors import Door
from shop.etags import answer_tagged
from shop.keyring import Scope
from shop.keys import asker_of, require
from shop.lists import CREATED, answer_page, by
from shop.models import Source
from shop.queries import number, one_of

FILTERS = {
    "status": by("status", one_of(RefundStatus.values)),
    "kind": by("kind", one_of(Refund.Kind.values)),
    "payment": by("receipt__payment__number", number),
    "order": by("receipt__order__number", number),
    **CREATED,
}


class AskRefundSerializer(StrictSerializer):
    amount = Whole(min_value=1, max_value=2**53)
    reason = Text(max_length=80)


class RefundsView(Door):
    """`GET refunds`: all of them, for systems and staff."""

    permission_classes = (require(Scope.REFUNDS_READ),)
    query = None

    def get(self, request: Request) -> Response:
        refunds = Refund.objects.select_related("receipt__payment")
        return answer_page(request._request, refunds, listed_refund_fields, FILTERS)


class AskRefundView(Door):
    """`POST payments/{number}/refunds` amount, reason: money is given back. 201; above a limit it waits for approval."""

    def post(self, request: Request, number: str) -> Response:
        asker = asker_of(request)
        asker.check_scope(Scope.REFUNDS_WRITE)
        payment = find_payment_for(asker, number, Scope.REFUNDS_WRITE if asker.key else Scope.PAYMENTS_READ)
        user = who_may_refund(asker, payment)
        wanted = AskRefundSerializer(data=request.data)
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


class RefundView(Door):
    """`GET refunds/{number}`."""

    def get(self, request: Request, number: str) -> Response:
        refund = find_refund_for(asker_of(request), number)
        order = refund.receipt.order
        return answer_tagged(request._request, refund_fields(refund), version=order.version if order else 0)
