"""The doors of the money as the API's description tells of them: see `shop.openapi`."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework.views import APIView

from orders.api import OrdersView
from orders.described import ORDER, OrderShape
from orders.described import describe_doors as describe_goods
from orders.statuses import OrderStatus
from payments.api import orders, payments, refunds, shapes
from payments.channels.registry import list_choices
from payments.models import Refund
from payments.statuses import PaymentStatus, RefundStatus
from shop.api import Nothing
from shop.described import describe_doors as describe_ground
from shop.money import CURRENCIES
from shop.openapi import (
    ETAG,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    LINK,
    REPLAYED,
    Answer,
    describe,
    in_path,
    in_query,
    number_in_query,
)
from shop.queries import MOMENT

NUMBER = "P3V8D0W6B2Y9H4J1C7F5G0KM"
PAYMENT = {
    "number": NUMBER,
    "order": ORDER["number"],
    "channel": "wechat",
    "scene": "qr",
    "status": "PAYING",
    "amount": 12900,
    "currency": "CNY",
    "action": {"type": "qr", "content": "weixin://wxpay/bizpayurl?pr=f8Jq2zzz"},
    "expires_at": "2026-11-22T12:30:00.000000+00:00",
}
REFUND = {
    "number": "R1T6Z3N9E5S0A8X2Q4V7D0WK",
    "payment": NUMBER,
    "status": "REFUNDING",
    "amount": 2900,
    "currency": "CNY",
    "reason": "one cup was broken",
}
CONTACT = {
    "name": "Anna Lin",
    "email": "anna@example.com",
    "phone": "13800000000",
    "address": "1 Garden Road, Hangzhou",
}
MADE = {"created_at": "2026-11-22T12:00:00.000000+00:00"}
LISTED_ORDER = ORDER | MADE | {"version": 3}
LISTED_PAYMENT = {name: value for name, value in PAYMENT.items() if name != "action"} | MADE
LISTED_REFUND = REFUND | MADE | {"kind": "ASKED"}

TIME = {"type": "string", "format": "date-time", "pattern": f"^{MOMENT.pattern}$"}
EXAMPLE_TIME = "2026-11-22T12:00:00Z"
LIST_TAKES = [
    in_query("limit", {"type": "integer", "minimum": 1, "maximum": 100}, _("Rows of a page: 50."), 20),
    in_query("cursor", {"type": "string"}, _("From `next`; it belongs to the list and its filters.")),
    in_query("created_after", TIME, _("Made then or later."), EXAMPLE_TIME),
    in_query("created_before", TIME, _("Made before then."), EXAMPLE_TIME),
]
LIST_TEXT = _(
    "Newest first; what is added meanwhile neither repeats a row nor hides one. The times are for people: a system that must "
    "miss nothing follows the events."
)
OF_ORDER, OF_PAYMENT, OF_REFUND = (
    in_path("number", _("The order's number.")),
    in_path("number", _("The payment's number.")),
    in_path("number", _("The refund's number.")),
)
SEEING = ("token", "session")


class StatusDoor(APIView):
    """Stands for the status call, which is no view of DRF."""

    def get(self, request: Any) -> None:
        """Never called."""


def add_status(endpoints: list[Any]) -> list[Any]:
    """Describe every door, and show the generator only ours, with the one that it cannot find. It calls this."""
    describe_ground()
    describe_goods()
    describe_doors()
    ours = [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/v1/")]
    path = "/api/v1/orders/{number}/status"
    return [*ours, (path, path, "GET", StatusDoor.as_view())]


def describe_doors() -> None:
    """Each door of this package."""
    _describe_orders()
    _describe_payments()
    _describe_refunds()


def _one_of(values: Any) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


def _describe_list(
    view: type[APIView], name: str, scope: str, summary: Any, shape: Any, example: Any, *takes: Any
) -> None:
    page = {"results": [example], "next": None}
    describe(
        view,
        "get",
        name=name,
        tag=scope.partition(":")[0],
        summary=summary,
        text=LIST_TEXT,
        who=(scope, "session"),
        takes=[*LIST_TAKES, *takes],
        answers={200: Answer(shape=shapes.page_of(shape), means=_("A page."), example=page, headers=[LINK])},
    )


def _describe_orders() -> None:
    _describe_list(
        OrdersView,
        "listOrders",
        "orders:read",
        _("List orders"),
        shapes.ListedOrderShape,
        LISTED_ORDER,
        in_query("status", _one_of(OrderStatus.values), _("Of this status only."), "UNPAID"),
        in_query("currency", _one_of(CURRENCIES), _("Of this currency only."), "CNY"),
    )
    describe(
        orders.OrderView,
        "get",
        name="readOrder",
        tag="orders",
        summary=_("One order, its payments and refunds"),
        who=(*SEEING, "orders:read"),
        takes=[OF_ORDER, IF_NONE_MATCH],
        answers={
            200: Answer(
                shape=shapes.WholeOrderShape,
                means=_("The order."),
                example=LISTED_ORDER | {"contact": CONTACT, "payments": [PAYMENT], "refunds": []},
                headers=[ETAG],
            ),
            304: Answer(shape=None, means=_("The same as before.")),
        },
        problems=("not_found",),
    )
    describe(
        StatusDoor,
        "get",
        name="waitForOrder",
        tag="orders",
        summary=_("Wait for news of an order"),
        text=_(
            "Answers at once, or with `since` and `wait` as soon as the version is another one, or when the time is over. While "
            "somebody waits, the channel is asked about the order every ten seconds."
        ),
        who=(*SEEING, "orders:read"),
        takes=[
            OF_ORDER,
            in_query(
                "since", {"type": "integer", "minimum": 0, "maximum": 2**31}, _("The version you know."), 3
            ),
            in_query("wait", {"type": "integer", "minimum": 0, "maximum": 30}, _("Seconds."), 0),
        ],
        answers={
            200: Answer(
                shape=shapes.StatusShape,
                means=_("How it stands now."),
                example={
                    "number": ORDER["number"],
                    "status": "UNPAID",
                    "payment_status": "PAYING",
                    "version": 3,
                },
            )
        },
        problems=("not_found",),
    )
    describe(
        orders.CancelView,
        "post",
        name="cancelOrder",
        tag="orders",
        summary=_("Give an unpaid order up"),
        text=_("What may be paid still is closed at its channel first. A closed order stays as it is."),
        who=(*SEEING, "orders:write"),
        body=Nothing,
        takes=[OF_ORDER],
        answers={200: Answer(shape=OrderShape, means=_("Closed."), example=ORDER | {"status": "CLOSED"})},
        problems=("not_found", "order_paid", "payment_confirming"),
    )


def _describe_payments() -> None:
    _describe_list(
        payments.PaymentsView,
        "listPayments",
        "payments:read",
        _("List payments"),
        shapes.ListedPaymentShape,
        LISTED_PAYMENT,
        in_query("status", _one_of(PaymentStatus.values[1:]), _("Of this status only."), "PAID"),
        in_query(
            "channel",
            _one_of(name for name, _title in list_choices()),
            _("Through this channel only."),
            "wechat",
        ),
        number_in_query("order", _("Of this order only."), ORDER["number"]),
    )
    describe(
        payments.ApplyView,
        "post",
        name="applyForPayment",
        tag="payments",
        summary=_("Apply for payment of an order"),
        text=_(
            "Answers with what the shopper does next, in `action`. Applying again gives the same attempt; another way to pay closes the "
            "one before at its channel. `supersede` goes on where that channel does not answer (409 says when it may)."
        ),
        who=(*SEEING, "payments:write"),
        body=payments.ApplySerializer,
        body_example={"channel": "wechat", "scene": "qr"},
        takes=[OF_ORDER, IDEMPOTENCY_KEY],
        answers={
            200: Answer(shape=shapes.PaymentShape, means=_("The attempt that is open."), headers=[REPLAYED]),
            201: Answer(shape=shapes.PaymentShape, means=_("A new attempt."), example=PAYMENT),
        },
        problems=(
            "not_found",
            "order_paid",
            "order_closed",
            "payment_confirming",
            "channel_unavailable",
            "in_progress",
            "idempotency_mismatch",
        ),
    )
    describe(
        payments.PaymentView,
        "get",
        name="readPayment",
        tag="payments",
        summary=_("One payment"),
        who=(*SEEING, "payments:read"),
        takes=[OF_PAYMENT, IF_NONE_MATCH],
        answers={
            200: Answer(shape=shapes.PaymentShape, means=_("The payment."), example=PAYMENT, headers=[ETAG]),
            304: Answer(shape=None, means=_("The same as before.")),
        },
        problems=("not_found",),
    )
    describe(
        payments.QueryView,
        "post",
        name="queryPayment",
        tag="payments",
        summary=_("Ask the channel about a payment now"),
        text=_(
            "Its answer is settled before you have yours. At most once in a few seconds for each payment."
        ),
        who=(*SEEING, "payments:write"),
        body=Nothing,
        takes=[OF_PAYMENT],
        answers={
            200: Answer(
                shape=shapes.PaymentShape,
                means=_("The payment after it."),
                example=PAYMENT | {"status": "PAID", "action": None},
            )
        },
        problems=("not_found",),
    )


def _describe_refunds() -> None:
    _describe_list(
        refunds.RefundsView,
        "listRefunds",
        "refunds:read",
        _("List refunds"),
        shapes.ListedRefundShape,
        LISTED_REFUND,
        in_query("status", _one_of(RefundStatus.values), _("Of this status only."), "REFUNDED"),
        number_in_query("payment", _("Of this payment only."), NUMBER),
        number_in_query("order", _("Of this order only."), ORDER["number"]),
        in_query("kind", _one_of(Refund.Kind.values), _("Of this kind only."), "ASKED"),
    )
    describe(
        refunds.AskRefundView,
        "post",
        name="askRefund",
        tag="refunds",
        summary=_("Give money back"),
        text=_(
            "Above a limit of the shop it waits until a second person agrees. The key's owner answers for it."
        ),
        who=("session", "refunds:write"),
        body=refunds.AskRefundSerializer,
        body_example={"amount": 2900, "reason": "one cup was broken"},
        takes=[OF_PAYMENT, IDEMPOTENCY_KEY],
        answers={
            201: Answer(
                shape=shapes.RefundShape,
                means=_("Asked for, now or by an earlier request with this key."),
                example=REFUND,
                headers=[REPLAYED],
            )
        },
        problems=("not_found", "over_refund", "not_refundable", "in_progress", "idempotency_mismatch"),
    )
    describe(
        refunds.RefundView,
        "get",
        name="readRefund",
        tag="refunds",
        summary=_("One refund"),
        who=(*SEEING, "refunds:read"),
        takes=[OF_REFUND, IF_NONE_MATCH],
        answers={
            200: Answer(shape=shapes.RefundShape, means=_("The refund."), example=REFUND, headers=[ETAG]),
            304: Answer(shape=None, means=_("The same as before.")),
        },
        problems=("not_found",),
    )
