"""PayPal by Orders v2: the shopper agrees on PayPal's page, and the money moves only when we capture.

Answers are not signed: they are believed because of the TLS connection to the configured host, and every webhook is
confirmed by a query, because its signature covers only a CRC-32. This room reports amounts as they came and never judges
them. Protocol facts are PayPal's REST reference of Orders v2 and Payments v2 (developer.paypal.com, read November 2026).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from .base import (
    DEAD_MARGIN,
    Attempt,
    CallbackMessage,
    CallbackReply,
    Channel,
    Created,
    Impossible,
    Limits,
    NotGenuine,
    NotReady,
    Outcome,
    PaymentReport,
    RawCallback,
    RefundReport,
    RefundRequest,
    Refused,
    Repeat,
    Scene,
    StatementLine,
    Unanswered,
)
from .fields import BadField, is_word, parse_json, read_moment, read_object, read_word
from .paypal_account import Account, Answer
from .paypal_reading import (
    ORDER_STATUSES,
    PAYMENT_MARK,
    find_link,
    is_for,
    read_event,
    read_order,
    read_refund,
    write_money,
)
from .paypal_statement import Pages, read_statement, write_statement
from .paypal_webhooks import (
    Certificates,
    Transmission,
    cut_event,
    read_transmission,
    verify_signature,
    write_postback,
)
from .seals import BadKey
from .wire import Wire, is_safe_url

# ---- PayPal's issues and what they mean; what stands in no table decides nothing ----------------------------------

ALREADY_CAPTURED = "ORDER_ALREADY_CAPTURED"
# Somebody has captured money under our number, and not by this order: a person must look.
NUMBER_TAKEN = "DUPLICATE_INVOICE_ID"
CAPTURE_ISSUES = {
    # The consent is missing or used up: the shopper must give it (anew), perhaps from another source of money.
    **dict.fromkeys(("ORDER_NOT_APPROVED", "PAYER_ACTION_REQUIRED"), Outcome.NOT_FOUND),
    **dict.fromkeys(("INSTRUMENT_DECLINED", "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING"), Outcome.NOT_FOUND),
    **dict.fromkeys(("TRANSACTION_REFUSED", "PAYER_CANNOT_PAY", "COMPLIANCE_VIOLATION"), Outcome.REFUSED),
    "MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED": Outcome.REFUSED,
    "ORDER_COMPLETION_IN_PROGRESS": Outcome.UNKNOWN,
}
# Said for good. A refund that was made under the same PayPal-Request-Id would have been answered with its first answer.
REFUND_REFUSALS = frozenset(
    {
        "CAPTURE_FULLY_REFUNDED",
        "REFUND_AMOUNT_EXCEEDED",
        "REFUND_NOT_ALLOWED",
        "REFUND_TIME_LIMIT_EXCEEDED",
        "PARTIAL_REFUND_NOT_ALLOWED",
        "MAX_NUMBER_OF_REFUNDS_EXCEEDED",
        "TRANSACTION_DISPUTED",
        "PENDING_CAPTURE",
        "CURRENCY_MISMATCH",
        "REFUND_CAPTURE_CURRENCY_MISMATCH",
        "DECIMAL_PRECISION",
        "DECIMALS_NOT_SUPPORTED",
    }
)
CREATE_REFUSALS = frozenset({"INVALID_REQUEST", "UNPROCESSABLE_ENTITY", "NOT_AUTHORIZED"})
TOO_MANY = "RESULTSET_TOO_LARGE"

WEBHOOK_CHECKS = ("certificate", "postback")

# ---- limits ------------------------------------------------------------------------------------------------------

ORDERS = "/v2/checkout/orders"
CAPTURES = "/v2/payments/captures"
REFUNDS = "/v2/payments/refunds"
MAX_NUMBER = 108  # characters of a PayPal-Request-Id, the narrowest place that a number stands in
MAX_DESCRIPTION = 127
MAX_NOTE = 255
REFUND_REPEATS_FOR = timedelta(days=45)  # so long Payments v2 knows a PayPal-Request-Id
PAGE_SIZE = 500
MOST_ASKERS = 4  # webhooks of one process that ask PayPal at once: far fewer than a web process has threads
STATEMENT_LAG = timedelta(hours=4)  # the search lags by 3 h at most, and one more costs nothing
STATEMENT_PAGE_BYTES = 20_000_000
STATEMENT_PAGE_S = 30.0


class PayPal(Channel):
    """One merchant's account and one REST app of it.

    `webhook_ids` are those of the app's webhooks, two while one replaces the other.
    """

    name = "paypal"
    title = "PayPal"
    # PayPal's own limits depend on the account, and it says so itself. BRL only between accounts in Brazil.
    limits = {"USD": Limits(1, 10**9), "BRL": Limits(1, 10**9)}
    repeat = Repeat.SAME_NUMBER
    repeats_for = timedelta(hours=6)  # so long Orders v2 knows a PayPal-Request-Id
    action_life = timedelta(hours=3)  # approval within 3 h of creation
    needs_capture = True
    confirms_callbacks_by_query = True

    def __init__(
        self,
        *,
        base_url: str,
        client_id: str,
        client_secret: str,
        merchant_id: str,
        webhook_ids: Sequence[str],
        wire: Wire,
        statement_wire: Wire | None = None,
        certificates: Certificates | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`certificates` verifies webhooks here; None asks PayPal about each."""
        if not webhook_ids or not all(webhook_ids):
            raise BadKey("PayPal needs the id of at least one webhook")
        self._account = Account(
            base_url=base_url, client_id=client_id, client_secret=client_secret, wire=wire, clock=clock
        )
        self._client_id, self._merchant_id, self._webhook_ids = client_id, merchant_id, tuple(webhook_ids)
        self._statement_wire, self._certificates, self._clock = statement_wire, certificates, clock
        self._askers = threading.BoundedSemaphore(MOST_ASKERS)

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> PayPal:
        """Build it from settings, all of them required. Raises BadKey."""
        wire = Wire(channel=cls.name)
        how = settings["VERIFY_WEBHOOKS"]
        if how not in WEBHOOK_CHECKS:
            raise BadKey("VERIFY_WEBHOOKS is neither certificate nor postback")
        return cls(
            base_url=settings["BASE_URL"],
            client_id=settings["CLIENT_ID"],
            client_secret=settings["CLIENT_SECRET"],
            merchant_id=settings["MERCHANT_ID"],
            webhook_ids=[part.strip() for part in settings["WEBHOOK_ID"].split(",")],
            wire=wire,
            statement_wire=Wire(
                channel=cls.name,
                read_s=STATEMENT_PAGE_S,
                total_s=STATEMENT_PAGE_S,
                max_body_bytes=STATEMENT_PAGE_BYTES,
            ),
            certificates=Certificates(wire) if how == "certificate" else None,
        )

    def scenes(self) -> frozenset[str]:
        return frozenset({Scene.PAGE, Scene.WAP, Scene.APP})

    def dead_at(self, *, scene: str, expires_at: datetime, now: datetime) -> datetime:
        # The shopper may agree later than that, but it is we who take the money, and then we do not any more.
        return expires_at + DEAD_MARGIN

    # ---- payments ----

    def create(self, attempt: Attempt) -> Created:
        self._refuse_impossible_order(attempt)
        content = _order_of(attempt)
        answer = self._account.ask(
            "POST", ORDERS, "create", attempt.number, content, request_id=attempt.number
        )
        if answer.status in (400, 403, 422) and answer.name in CREATE_REFUSALS:
            # Nobody holds the id of an order that was not answered, so nobody can agree to it.
            raise Refused("PayPal refused the payment", code=answer.code)
        if not answer.is_done:
            raise Unanswered("PayPal did not say whether it took the payment", code=answer.code)
        try:
            order_id = read_word(answer.data, "id")
            return Created(action=self._action_of(attempt, order_id, answer.data), handle=order_id)
        except BadField as error:
            raise Unanswered("the answer holds nothing to pay with", code="malformed") from error

    def query(self, attempt: Attempt) -> PaymentReport:
        if not attempt.handle:
            # Nobody was given the order, so nobody can agree to it, and money moves only by our capture.
            return PaymentReport(outcome=Outcome.NOT_FOUND, number=attempt.number, code="no_order")
        answer = self._account.try_("GET", _order_path(attempt), "query", attempt.number)
        return self._report_of(answer, attempt)

    def capture(self, attempt: Attempt) -> PaymentReport:
        if not attempt.capture_id:
            raise ValueError("a capture without a fixed id could take the money twice")
        if not attempt.handle:
            return PaymentReport(outcome=Outcome.NOT_FOUND, number=attempt.number, code="no_order")
        path = f"{_order_path(attempt)}/capture"
        answer = self._account.try_(
            "POST", path, "capture", attempt.number, {}, request_id=attempt.capture_id
        )
        if answer.status == 422 and answer.code == ALREADY_CAPTURED:
            return self._report_captured(attempt)
        if answer.status == 422:
            outcome = CAPTURE_ISSUES.get(answer.code, Outcome.UNKNOWN)
            needs_person = answer.code == NUMBER_TAKEN
            if answer.code not in CAPTURE_ISSUES and not needs_person and self._is_uncaptured(attempt):
                outcome = Outcome.NOT_FOUND  # refused for a reason that we do not know, and nothing was taken
            return PaymentReport(
                outcome=outcome, number=attempt.number, code=answer.code, needs_person=needs_person
            )
        report = self._report_of(answer, attempt)
        if report.outcome is Outcome.OPEN and report.code in ORDER_STATUSES:  # no capture: the payer must act
            return replace(report, outcome=Outcome.NOT_FOUND)
        return report

    def close(self, attempt: Attempt) -> PaymentReport:
        """There is nothing to call: an order that we never capture takes no money. So only what was captured is looked for."""
        report = self.query(attempt)
        if report.outcome in (Outcome.SUCCEEDED, Outcome.UNKNOWN):
            return report
        if report.outcome is Outcome.OPEN and report.code not in ORDER_STATUSES:
            return report  # captured, and PayPal is still deciding
        return PaymentReport(outcome=Outcome.CLOSED, number=attempt.number, code="not_captured")

    def _is_uncaptured(self, attempt: Attempt) -> bool:
        """Whether PayPal says of the order itself that the money was not taken."""
        return self.query(attempt).outcome is Outcome.APPROVED

    def _report_captured(self, attempt: Attempt) -> PaymentReport:
        """An order that was captured before: what became of it. PayPal contradicting itself is UNKNOWN."""
        report = self.query(attempt)
        is_of_capture = report.code not in ORDER_STATUSES and report.outcome is not Outcome.NOT_FOUND
        return report if is_of_capture else replace(report, outcome=Outcome.UNKNOWN)

    def _report_of(self, answer: Answer, attempt: Attempt) -> PaymentReport:
        number = attempt.number
        if not answer.is_done:
            outcome = Outcome.NOT_FOUND if answer.is_missing else Outcome.UNKNOWN
            return PaymentReport(outcome=outcome, number=number, code=answer.code)
        report = read_order(answer.data)
        if report.code == "malformed":
            return replace(report, number=number)
        is_ours = answer.data.get("id") == attempt.handle and is_for(answer.data, self._merchant_id)
        if not is_ours or report.number != number:
            return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code="about_another")
        return report

    def _action_of(self, attempt: Attempt, order_id: str, order: Mapping[str, Any]) -> dict[str, Any]:
        if attempt.scene == Scene.APP:
            return {"type": "sdk", "params": {"orderId": order_id, "clientId": self._client_id}}
        link = find_link(order, "payer-action", "approve")
        if not is_safe_url(link):
            raise BadField("links")
        return {"type": "redirect", "url": link}

    def _refuse_impossible_order(self, attempt: Attempt) -> None:
        _refuse_unless(
            scene=attempt.scene in self.scenes(),
            currency=attempt.currency in self.limits,
            amount=attempt.amount_minor >= 1,
            number=is_word(attempt.number, limit=MAX_NUMBER),
            description=1 <= len(attempt.description) <= MAX_DESCRIPTION,
            return_url=is_safe_url(attempt.return_url),
        )

    # ---- refunds ----

    def refund(self, request: RefundRequest) -> RefundReport:
        self._refuse_impossible_refund(request)
        if self._clock() - request.started_at >= REFUND_REPEATS_FOR:
            # PayPal has forgotten the number by now: a repeat would be a second refund.
            return RefundReport(outcome=Outcome.UNKNOWN, number=request.number, code="too_old_to_repeat")
        path = f"{CAPTURES}/{quote(request.channel_number, safe='')}/refund"
        try:
            answer = self._account.ask(
                "POST", path, "refund", request.number, _refund_of(request), request_id=request.number
            )
        except Unanswered as error:
            return RefundReport(outcome=Outcome.UNKNOWN, number=request.number, code=error.code)
        if answer.status == 422 and answer.code in REFUND_REFUSALS:
            raise Refused("PayPal refused the refund", code=answer.code)
        return self._refund_report(answer, request)

    def query_refund(self, request: RefundRequest) -> RefundReport:
        if not request.handle:
            # PayPal names a refund only by its own id, which the lost answer held. NOT_FOUND has the refund sent again:
            # under the same PayPal-Request-Id that is no second one, but brings the first answer, for 45 days.
            return RefundReport(outcome=Outcome.NOT_FOUND, number=request.number, code="no_refund_id")
        path = f"{REFUNDS}/{quote(request.handle, safe='')}"
        return self._refund_report(self._account.try_("GET", path, "query_refund", request.number), request)

    def _refund_report(self, answer: Answer, request: RefundRequest) -> RefundReport:
        number = request.number
        if not answer.is_done:
            is_missing = answer.is_missing and request.handle
            outcome = Outcome.NOT_FOUND if is_missing else Outcome.UNKNOWN
            return RefundReport(outcome=outcome, number=number, code=answer.code)
        named = read_refund(answer.data)
        report = read_refund(answer.data, number)
        # A short answer need not name our number; one that names another is not about this refund.
        is_of_a_console = (
            number == request.handle
        )  # such a one is named by PayPal's id, and tells its payment
        if named.number not in (number, named.channel_number) or (
            named.payment_number and not is_of_a_console
        ):
            return RefundReport(outcome=Outcome.UNKNOWN, number=number, code="about_another")
        if request.handle and report.channel_number != request.handle:
            return RefundReport(outcome=Outcome.UNKNOWN, number=number, code="about_another")
        if report.trade_number not in ("", request.channel_number):
            return RefundReport(outcome=Outcome.UNKNOWN, number=number, code="about_another")
        return report

    def _refuse_impossible_refund(self, request: RefundRequest) -> None:
        _refuse_unless(
            currency=request.currency in self.limits,
            amount=1 <= request.amount_minor <= request.paid_minor,
            number=is_word(request.number, limit=MAX_NUMBER),
            channel_number=is_word(request.channel_number),
            reason=len(request.reason) <= MAX_NOTE,
        )

    # ---- callbacks ----

    def read_callback(self, raw: RawCallback) -> CallbackMessage:
        """Calls PayPal for its certificate, about once a day, or for its verdict on every message."""
        now = self._clock()
        transmission = read_transmission(raw.headers, now)
        if self._certificates is None:
            with self._asking():
                self._verify_by_postback(transmission, raw.body)
        else:
            key = self._find_key(self._certificates, transmission.cert_url, now)
            verify_signature(transmission, raw.body, webhook_ids=self._webhook_ids, key=key)
        try:
            event = parse_json(raw.body)
            message_id, kind = read_word(event, "id"), read_word(event, "event_type")
            resource = read_object(event, "resource")
            is_ours, report = is_for(resource, self._merchant_id), read_event(kind, resource)
        except BadField as error:
            raise NotGenuine("body") from error
        if not is_ours:
            raise NotGenuine("merchant", number=report.number)
        return CallbackMessage(message_id=message_id, kind=kind, report=report)

    def kept_body(self, raw: RawCallback) -> bytes:
        return cut_event(raw.body)

    def acknowledge(self) -> CallbackReply:
        return CallbackReply(status=200)

    def refuse_callback(self, reason: str) -> CallbackReply:
        # Any status but 2xx has PayPal try again, 25 times in 3 days.
        return CallbackReply(status=401, body=json.dumps({"message": reason}).encode())

    def _find_key(self, certificates: Certificates, url: str, now: datetime) -> RSAPublicKey:
        key = certificates.kept_key(url, now)
        if key is not None:  # nobody is asked, so nobody who keeps us asking stands in the way
            return key
        with self._asking():
            return certificates.find_key(url, now)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Anybody may send a message that makes us ask PayPal about it: only so many hold a thread of ours at once."""
        if not self._askers.acquire(blocking=False):
            raise NotGenuine("busy")  # PayPal sends it again
        try:
            yield
        finally:
            self._askers.release()

    def _verify_by_postback(self, transmission: Transmission, body: bytes) -> None:
        """Raises NotGenuine unless PayPal says SUCCESS for one of our webhooks; also when it says nothing now."""
        path = "/v1/notifications/verify-webhook-signature"
        for webhook_id in self._webhook_ids:
            question = write_postback(transmission, body, webhook_id)
            answer = self._account.try_("POST", path, "verify_webhook", "", question)
            if not answer.is_done:
                raise NotGenuine("verification_unavailable")
            if answer.data.get("verification_status") == "SUCCESS":
                return
        raise NotGenuine("signature")

    # ---- statements: a search instead of a file ----

    def statement_ready_at(self, day: date) -> datetime:
        return _start_of(day) + timedelta(days=1) + STATEMENT_LAG

    def fetch_statement(self, day: date, into: BinaryIO) -> None:
        start = _start_of(day)
        write_statement(into, self._search(start, start + timedelta(days=1)))

    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        return read_statement(file, merchant_id=self._merchant_id)

    def _search(self, start: datetime, end: datetime) -> Iterator[Mapping[str, Any]]:
        """Every page from `start` to before `end`, whole seconds. A search finds no more than 10,000 at once."""
        pages = Pages()
        while not pages.are_through:
            answer = self._account.ask(
                "GET", _search_path(start, end, pages.page + 1), "statement", wire=self._statement_wire
            )
            is_too_much = pages.page == 0 and TOO_MANY in (answer.code, answer.name)
            if is_too_much and end - start > timedelta(seconds=1):
                middle = start + timedelta(seconds=(end - start) // timedelta(seconds=2))
                yield from self._search(start, middle)
                yield from self._search(middle, end)
                return
            _check_page(answer, pages, end)
            yield answer.data


# ---- reading and writing ------------------------------------------------------------------------------------------


def _check_page(answer: Answer, pages: Pages, end: datetime) -> None:
    """Raises NotReady, Refused or Unanswered unless this page may be believed, and comes next."""
    if answer.status == 403:
        raise Refused("the REST app has no permission for Transaction Search", code=answer.code)
    if not answer.is_done:
        raise Unanswered("PayPal gave no page of its transactions", code=answer.code)
    try:
        if read_moment(answer.data, "last_refreshed_datetime") < end:
            raise NotReady("PayPal's search has not come to the end of this day", code="not_refreshed")
    except BadField as error:
        raise Unanswered("the page cannot be read", code="malformed") from error
    try:
        pages.add(answer.data)
    except BadField as error:
        raise Unanswered("the pages changed while they were read", code="changed") from error


def _order_of(attempt: Attempt) -> dict[str, Any]:
    # Of the stored request alone: what PayPal does to another body under the same PayPal-Request-Id is not documented.
    return {
        "intent": "CAPTURE",
        "purchase_units": [
            {
                "reference_id": "default",
                "custom_id": PAYMENT_MARK + attempt.number,
                "invoice_id": attempt.number,
                "description": attempt.description,
                "amount": write_money(attempt.amount_minor, attempt.currency),
            }
        ],
        "payment_source": {
            "paypal": {
                "experience_context": {
                    "return_url": attempt.return_url,
                    "cancel_url": attempt.return_url,
                    "user_action": "PAY_NOW",
                    "shipping_preference": "NO_SHIPPING",
                    "payment_method_preference": "IMMEDIATE_PAYMENT_REQUIRED",  # no eCheck that is open for days
                }
            }
        },
    }


def _refund_of(request: RefundRequest) -> dict[str, Any]:
    note = {"note_to_payer": request.reason} if request.reason else {}
    return note | {
        # Always an amount: a call without one gives back all that is left.
        "amount": write_money(request.amount_minor, request.currency),
        "custom_id": request.number,
        "invoice_id": request.number,
    }


def _order_path(attempt: Attempt) -> str:
    return f"{ORDERS}/{quote(attempt.handle, safe='')}"


def _search_path(start: datetime, end: datetime, page: int) -> str:
    asked = {
        "start_date": _stamp(start),
        "end_date": _stamp(end - timedelta(seconds=1)),  # the last second is inside
        "fields": "transaction_info",
        "page_size": PAGE_SIZE,
        "page": page,
    }
    return f"/v1/reporting/transactions?{urlencode(asked)}"


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _refuse_unless(**possible: object) -> None:
    """Raises Impossible, before anything is sent, for the first field that PayPal cannot take."""
    for name, is_possible in possible.items():
        if not is_possible:
            raise Impossible(f"PayPal cannot take this {name}", code=f"invalid_{name}")
