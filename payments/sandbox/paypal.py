"""PayPal as its merchants meet it: Orders v2, Payments v2, webhooks with verification by postback, transaction search.

Written from PayPal's public documentation and never from the shop's adapter, so that the two check each other. It is as
strict as the real one, and where the real one is silent it says no. The buyer's approval moves no money: a capture does.
"""

from typing import Any

from werkzeug import Request, Response

from payments.sandbox.clock import SECOND_US, now_us
from payments.sandbox.fields import BadField
from payments.sandbox.keys import Keyring
from payments.sandbox.ledger import Ledger
from payments.sandbox.paypal_documents import (
    bend_document,
    describe_capture,
    describe_error,
    describe_event,
    describe_order,
    describe_refund,
    describe_token,
    find_approval_link,
    find_status,
    shorten,
    to_json,
)
from payments.sandbox.paypal_reading import (
    join_query,
    missing,
    read_document,
    read_order,
    read_part,
    read_refund_wish,
    read_request_id,
    refused,
    wants_all,
)
from payments.sandbox.paypal_seals import PayPalKeys, make_id
from payments.sandbox.paypal_search import describe_search
from payments.sandbox.paypal_webhooks import Webhooks
from payments.sandbox.records import Notice, NotPayable, Refund, Trade, find_hindrance
from payments.sandbox.side import METHODS, Call, Message, Reply, Route, Side, Wallet, send_to_wallet

HOUR_US = 3600 * SECOND_US
APPROVAL_US = 3 * HOUR_US  # from creation to approval, and again from there to capture
REMEMBERED_US = 6 * HOUR_US  # a PayPal-Request-Id of Orders v2
_REFUND_REMEMBERED_US = 45 * 24 * HOUR_US  # one of Payments v2
_TOKEN_PATH, _PAGE_PATH = "/v1/oauth2/token", "/checkoutnow"
# What is left of PayPal's paths; the other /v1/ is Stripe's.
_ELSEWHERE = ("/v1/<any(oauth2,notifications,reporting):area>/<path:rest>", "/v2/<path:rest>")

_APPROVED, _CAPTURED = "CHECKOUT.ORDER.APPROVED", "PAYMENT.CAPTURE.COMPLETED"
_REFUND_EVENTS = {"SUCCESS": "PAYMENT.CAPTURE.REFUNDED"}


class PayPal(Side):
    """PayPal and the one merchant and REST app that it knows."""

    name = "paypal"
    title = "PayPal"
    wallet = Wallet(
        title="PayPal",
        pay="Agree and pay",
        agreed=("You agreed", "The shop takes the money now. Nothing was charged so far."),
    )
    needs_webhook = True
    answer_limit_s = 30.0
    # 25 tries in 3 days; how they are spread is not documented.
    gaps_s = (60, 120, 300, 600, 1200, 1800, *(3600,) * 4, *(10800,) * 4, *(19200,) * 10)
    routes = (
        Route("POST", _TOKEN_PATH, "", "token"),
        Route("POST", "/v2/checkout/orders", "create", "create"),
        Route("GET", "/v2/checkout/orders/<order_id>", "query", "query"),
        Route("POST", "/v2/checkout/orders/<order_id>/capture", "capture", "capture"),
        Route("GET", "/v2/payments/captures/<capture_id>", "query", "query_capture"),
        Route("POST", "/v2/payments/captures/<capture_id>/refund", "refund", "refund"),
        Route("GET", "/v2/payments/refunds/<refund_id>", "query_refund", "query_refund"),
        Route("POST", "/v1/notifications/verify-webhook-signature", "", "verify_webhook"),
        Route("GET", "/v1/notifications/webhooks-events", "", "list_events"),
        Route("POST", "/v1/notifications/webhooks-events/<event_id>/resend", "", "resend_event"),
        Route("GET", "/v1/reporting/transactions", "statement", "search"),
        Route("GET", _PAGE_PATH, "", "show_page"),
        *(Route(method, path, "", "refuse_path") for method in METHODS for path in _ELSEWHERE),
    )

    def __init__(self, keyring: Keyring, ledger: Ledger, refund_delay_s: float) -> None:
        super().__init__(keyring, ledger, refund_delay_s)
        self.keys = PayPalKeys(keyring)
        self.webhooks = Webhooks(self, self.keys)

    @property
    def payee(self) -> str:
        """The merchant's name on PayPal's page."""
        return f"Sandbox merchant {self.keys.merchant_id}"

    def read_environment(self, base_url: str) -> dict[str, str]:
        """The app's credentials, and where this side listens. Its certificate cannot be fetched, so webhooks are asked about."""
        return {
            "PAYPAL_BASE_URL": base_url,
            **self.keys.read_environment(),
            "PAYPAL_VERIFY_WEBHOOKS": "postback",
        }

    # Who is calling

    def authenticate(self, request: Request) -> None:
        """A token for every call but its own, which wants the app's secret; a browser has none. Raises Refused."""
        authorization = request.headers.get("Authorization", "")
        if request.path == _PAGE_PATH:
            return
        if request.path == _TOKEN_PATH:
            if not self.keys.has_secret(authorization):
                raise refused(401, "invalid_client", "Client Authentication failed")
        elif not self.keys.has_token(authorization):
            raise refused(401, "invalid_token", "Token signature verification failed")

    def act(self, handler: str, call: Call, **parts: str) -> Reply:
        """Run one handler; a field that breaks its rule becomes 400 INVALID_REQUEST."""
        try:
            reply: Reply = getattr(self, f"_{handler}")(call, **parts)
        except BadField as wrong:
            issue = (
                "MISSING_REQUIRED_PARAMETER" if wrong.problem == "is required" else "INVALID_PARAMETER_SYNTAX"
            )
            raise refused(400, issue, str(wrong), wrong.field) from wrong
        return reply

    def _refuse_path(self, call: Call, **parts: str) -> Reply:
        raise missing()

    def _token(self, call: Call) -> Reply:
        if call.request.form.get("grant_type") != "client_credentials":
            return Reply(400, {"error": "unsupported_grant_type", "error_description": "Grant Type is NULL"})
        return Reply(200, describe_token(self.keys.make_token()))

    # Orders

    def _create(self, call: Call) -> Reply:
        # The SDK of PayPal writes what it was not given as null.
        order = {name: value for name, value in read_document(call.request).items() if value is not None}
        request_id = read_request_id(call.request)
        amount, currency = read_order(order)
        if "payment_source" in order and not request_id:
            raise refused(400, "PAYPAL_REQUEST_ID_REQUIRED", "an order with a payment_source needs one")
        known = self._find_created(request_id)
        if known is not None:
            if known.request != order:
                raise refused(422, "DUPLICATE_REQUEST_ID", "PayPal-Request-Id was used for another order")
            return Reply(200, known.notes["created"])
        trade = self._open(call.request, order, amount, currency, request_id)
        document = self._describe(trade)
        if not wants_all(call.request):
            document = shorten(document)
        self.ledger.note(trade, created=document)
        return Reply(200 if "payment_source" in order else 201, document)

    def _find_created(self, request_id: str) -> Trade | None:
        trade = self.ledger.find_noted(self.name, "request_id", request_id) if request_id else None
        return trade if trade is not None and now_us() - trade.created_at < REMEMBERED_US else None

    def _open(
        self, request: Request, order: dict[str, Any], amount: int, currency: str, request_id: str
    ) -> Trade:
        unit, order_id = order["purchase_units"][0], make_id()
        number = unit.get("invoice_id") or unit.get("custom_id") or order_id
        if self.ledger.find_trade(self.name, number) is not None:
            number = order_id  # the same invoice may be offered twice; it is captured once
        trade = self.ledger.open_trade(
            channel=self.name,
            out_trade_no=number,
            amount=amount,
            currency=currency,
            description=unit.get("description") or "Your order",
            notify_url="",
            request=order,
            expires_at=now_us() + APPROVAL_US,
        )
        host = request.host_url.rstrip("/")
        trade = self.ledger.note(trade, order_id=order_id, host=host, request_id=request_id)
        self.ledger.add_handle(trade, find_approval_link(trade, host), trade.expires_at)
        return trade

    def _query(self, call: Call, order_id: str) -> Reply:
        return Reply(200, self._describe(self._require_order(order_id)))

    def _capture(self, call: Call, order_id: str) -> Reply:
        read_document(call.request, may_be_empty=True)
        request_id = read_request_id(call.request)
        trade = self._require_order(order_id)
        answers = trade.notes.get("captures", {})
        if request_id and request_id in answers:
            return Reply(200, answers[request_id])
        self._check_capturable(trade)
        self.ledger.pay_trade(
            trade, self.make_channel_number, copies=trade.notes["copies"], is_forced=True, event=_CAPTURED
        )
        trade = self.ledger.note(trade, invoice=trade.request["purchase_units"][0].get("invoice_id", ""))
        document = self._describe(trade)
        document = document if wants_all(call.request) else shorten(document)
        if request_id:
            self.ledger.note(trade, captures={**answers, request_id: document})
        return Reply(201, document)

    def _check_capturable(self, trade: Trade) -> None:
        if trade.status == "PAID":
            raise refused(422, "ORDER_ALREADY_CAPTURED", "Order already captured")
        if "approved_at" not in trade.notes:
            raise refused(422, "ORDER_NOT_APPROVED", "Payer has not yet approved the Order for payment")
        invoice = trade.request["purchase_units"][0].get("invoice_id")
        if invoice and self.ledger.find_noted(self.name, "invoice", invoice):
            raise refused(422, "DUPLICATE_INVOICE_ID", "Duplicate Invoice ID detected")

    def _query_capture(self, call: Call, capture_id: str) -> Reply:
        return Reply(200, self._describe_capture(self._require_capture(capture_id)))

    # The buyer, on PayPal's page

    def _show_page(self, call: Call) -> Reply:
        trade = self.ledger.find_noted(self.name, "order_id", call.request.args.get("token", ""))
        if trade is None:
            return Reply(404, b"Things don't appear to be working at the moment.", content_type="text/plain")
        return send_to_wallet(find_approval_link(trade, trade.notes["host"]))

    def pay(self, trade: Trade, *, copies: int = 1, is_forced: bool = False) -> None:
        """The buyer approves; forced: also when it is too late for it. Money moves only when the merchant captures."""
        hindrance = find_hindrance(trade, now_us())
        if hindrance is not None and not (is_forced and hindrance == "expired"):
            raise NotPayable(hindrance)
        if self.has_agreed(trade) and not is_forced:
            return
        trade = self.ledger.note(trade, approved_at=now_us(), copies=copies)
        self.ledger.announce(trade, _APPROVED)

    def has_agreed(self, trade: Trade) -> bool:
        """Whether the buyer has approved an order that is not captured yet."""
        return find_status(trade) == "APPROVED"

    def read_return(self, trade: Trade) -> str:
        """The merchant's page, with the order's id; it proves nothing."""
        source = trade.request.get("payment_source", {}).get("paypal", {})
        context = source.get("experience_context") or trade.request.get("application_context") or {}
        token = {"token": trade.notes["order_id"]}
        if find_status(trade) in ("APPROVED", "COMPLETED"):
            return join_query(context.get("return_url", ""), token | {"PayerID": "SANDBOXPAYER1"})
        return join_query(context.get("cancel_url", ""), token)

    # Refunds

    def _refund(self, call: Call, capture_id: str) -> Reply:
        wish = read_document(call.request, may_be_empty=True)
        read_refund_wish(wish)
        request_id = read_request_id(call.request)
        trade = self._require_capture(capture_id)
        known = self._find_refunded(trade, request_id)
        if known is not None:
            if known.request.get("wish") != wish:
                raise refused(422, "DUPLICATE_REQUEST_ID", "PayPal-Request-Id was used for another refund")
            return Reply(200, self._describe_refund(trade, known, call.request))
        number = wish.get("invoice_id") or wish.get("custom_id") or request_id
        if number and self.ledger.find_refund(self.name, number):
            raise refused(422, "DUPLICATE_INVOICE_ID", "Duplicate Invoice ID detected")
        request = {**wish, "wish": wish, "request_id": request_id}
        amount = read_part(wish, trade, self.ledger.list_refunds(trade))
        refund = self._accept(trade, amount, number, request, call.refund_end)
        return Reply(201, self._describe_refund(trade, refund, call.request))

    def _find_refunded(self, trade: Trade, request_id: str) -> Refund | None:
        since = now_us() - _REFUND_REMEMBERED_US
        for refund in self.ledger.list_refunds(trade):
            if request_id and refund.request.get("request_id") == request_id and refund.created_at > since:
                return refund
        return None

    def _accept(
        self, trade: Trade, amount: int, number: str, request: dict[str, Any], ends_as: str
    ) -> Refund:
        """Most refunds are done at once; one that is to fail is pending for a while."""
        refund_id = make_id()
        delay_s = 0 if ends_as == "SUCCESS" else self.refund_delay_s
        refund = self.ledger.open_refund(
            trade,
            out_refund_no=number or refund_id,
            channel_number=refund_id,
            amount=amount,
            notify_url="",
            request=request,
            due_at=now_us() + int(delay_s * SECOND_US),
            ends_as=ends_as,
        )
        self.ledger.note(trade, **{f"refund_{refund_id}": "yes"})
        self.ledger.finish_refunds(now_us())
        return self.ledger.get_refund(refund.id)

    def refund_in_console(self, trade: Trade, amount: int) -> Refund:
        """As on PayPal's site: under no number but its own, though with the payment's custom_id. Raises Refused."""
        if trade.status != "PAID":
            raise refused(422, "REFUND_NOT_ALLOWED", "the order is not captured")
        wish: dict[str, Any] = {}
        if amount > read_part(wish, trade, self.ledger.list_refunds(trade)):
            raise refused(422, "REFUND_AMOUNT_EXCEEDED", "must be no more than the remaining amount")
        return self._accept(trade, amount, "", wish, "SUCCESS")

    def _query_refund(self, call: Call, refund_id: str) -> Reply:
        trade = (
            self.ledger.find_noted(self.name, f"refund_{refund_id}", "yes") if refund_id.isalnum() else None
        )
        found = [
            (part, refund)
            for part in (self._list_parts(trade) if trade else [])
            for refund in self.ledger.list_refunds(part)
            if refund.channel_number == refund_id
        ]
        if not found:
            raise missing()
        return Reply(200, self._describe_refund(*found[0], None))

    # Webhooks and transaction search

    def _verify_webhook(self, call: Call) -> Reply:
        return self.webhooks.verify(call.request)

    def _list_events(self, call: Call) -> Reply:
        return self.webhooks.list_events()

    def _resend_event(self, call: Call, event_id: str) -> Reply:
        return self.webhooks.resend(event_id)

    def _search(self, call: Call) -> Reply:
        def list_lines(start_us: int, end_us: int) -> Any:
            return self.list_booked(call, start_us, end_us)

        return Reply(200, describe_search(call.request.args, list_lines, account=self.keys.merchant_id))

    def describe_notice(self, trade: Trade, refund: Refund | None, event: str) -> dict[str, Any]:
        """The event about an approval, a capture or a refund, with the whole resource."""
        kind = event.partition(" ")[0]
        if refund is not None:
            kind = kind or _REFUND_EVENTS.get(refund.status, "PAYMENT.REFUND.FAILED")
            return describe_event(kind, describe_refund(trade, refund, host=trade.notes["host"]))
        if kind == _CAPTURED:
            return describe_event(kind, self._describe_capture(trade))
        return describe_event(kind, self._describe(trade, "APPROVED"))

    def compose(
        self,
        notice: Notice,
        refund: Refund | None,
        document: dict[str, Any] | bytes,
        *,
        is_forged: bool = False,
    ) -> Message:
        """An event, transmitted anew at every try under the same event id."""
        return self.webhooks.compose(notice, document, is_forged=is_forged)

    def is_acknowledged(self, status: int, body: bytes) -> bool:
        """Any 2xx."""
        return 200 <= status < 300

    # Answers, errors, lies

    def seal(self, reply: Reply, request: Request, *, is_forged: bool = False) -> Response:
        """PayPal signs no answer."""
        document = reply.document
        body = b"" if document is None else document if isinstance(document, bytes) else to_json(document)
        response = Response(body, reply.status, content_type=reply.content_type or "application/json")
        response.headers["Paypal-Debug-Id"] = make_id(13).lower()
        response.headers.extend(reply.headers)
        return response

    def refuse(self, status: int, code: str, message: str) -> Reply:
        """An error with `code` as its issue."""
        return Reply(status, describe_error(status, code, message))

    def find_words(self, what: str, operation: str) -> tuple[int, str]:
        """How `notfound` and `syserr` are said."""
        return (500, "INTERNAL_SERVICE_ERROR") if what == "syserr" else (404, "INVALID_RESOURCE_ID")

    def bend(self, document: dict[str, Any], lie: dict[str, Any]) -> dict[str, Any]:
        """The document with the told fields in place of the true ones."""
        return bend_document(document, lie)

    def make_channel_number(self) -> str:
        """A capture's id: 17 letters and digits."""
        return make_id()

    # What several calls share

    def _describe(self, trade: Trade, status: str = "") -> dict[str, Any]:
        parts = [part for part in self._list_parts(trade) if part.status == "PAID"]
        refunds = [
            describe_refund(part, refund, host=trade.notes["host"])
            for part in parts
            for refund in self.ledger.list_refunds(part)
        ]
        return describe_order(
            trade,
            status or find_status(trade),
            [] if status else [self._describe_capture(part) for part in parts],
            refunds,
            merchant_id=self.keys.merchant_id,
            host=trade.notes["host"],
        )

    def _describe_capture(self, trade: Trade) -> dict[str, Any]:
        refunds = self.ledger.list_refunds(trade)
        return describe_capture(trade, refunds, merchant_id=self.keys.merchant_id, host=trade.notes["host"])

    def _describe_refund(self, trade: Trade, refund: Refund, request: Request | None) -> dict[str, Any]:
        document = describe_refund(trade, refund, host=trade.notes["host"])
        return document if request is None or wants_all(request) else shorten(document)

    def _list_parts(self, trade: Trade) -> list[Trade]:
        """The order, and what was captured of it again by PayPal's own fault; oldest first."""
        return self.ledger.list_trades(channel=self.name, out_trade_no=trade.out_trade_no)[::-1]

    def _require_order(self, order_id: str) -> Trade:
        trade = self.ledger.find_noted(self.name, "order_id", order_id)
        if trade is None or (trade.status != "PAID" and now_us() >= _find_end(trade)):
            raise missing()
        return trade

    def _require_capture(self, capture_id: str) -> Trade:
        trade = self.ledger.find_paid_trade(self.name, capture_id)
        if trade is None:
            raise missing()
        return trade


def _find_end(trade: Trade) -> int:
    """Until when an order that is not captured is known: 3 h for the approval, and 3 h from there."""
    approved_at: int | None = trade.notes.get("approved_at")
    return trade.expires_at if approved_at is None else approved_at + APPROVAL_US
