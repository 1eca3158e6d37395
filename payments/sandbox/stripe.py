"""Stripe as a Brazilian account meets it that takes boletos: intents, webhooks, balance transactions, the slip's own page.

Written from Stripe's public documentation and never from the shop's adapter, so that the two check each other. It knows no
refund of a boleto, takes no slip back before it expires, and gives an intent one slip only. Paying books at once, without
the bank's business day. A payer's e-mail address steers a slip as in Stripe's test mode: succeed_immediately@,
expire_immediately@ and expire_with_delay@ (3 minutes); by itself none is paid.
"""

import hashlib
import hmac
import re
import secrets
import time
from typing import Any

from werkzeug import Request, Response

from payments.sandbox.clock import SECOND_US, now_us, to_datetime
from payments.sandbox.keys import Keyring, make_digits
from payments.sandbox.ledger import Ledger
from payments.sandbox.records import Notice, NotPayable, Refund, Trade
from payments.sandbox.side import METHODS, Call, Message, Refused, Reply, Route, Side, Wallet, send_to_wallet
from payments.sandbox.stripe_documents import (
    API_VERSION,
    CANCELED,
    REQUIRES_ACTION,
    REQUIRES_CONFIRMATION,
    REQUIRES_METHOD,
    STATE_OF_EVENT,
    bend_intent,
    describe_booking,
    describe_error,
    describe_intent,
    find_state,
    is_confirmed,
    to_json,
    wrap_event,
)
from payments.sandbox.stripe_forms import (
    CREATED,
    FOREVER_US,
    PAGING,
    BadParameter,
    Form,
    Wish,
    check_names,
    cut_page,
    has_method,
    join_confirm,
    read_body,
    read_create,
    read_key,
    read_number,
    read_query,
    read_window,
)
from payments.sandbox.stripe_slips import (
    BRASILIA,
    add_business_day,
    find_expiry,
    to_seconds,
    write_line,
    write_pdf,
)

# Marks of the sandbox's identities: production can refuse this prefix.
KEY_PREFIX = "nodropSandbox"
_JSON = "application/json"
_INTENTS, _REFUNDS = "/v1/payment_intents", "/v1/refunds"
_VOUCHER = "/boleto/voucher/"
_DELAY_US = 180 * SECOND_US
_NUMBER = re.compile(r"[0-9A-Za-z_-]{1,64}")
_SEARCH = re.compile(r"metadata\[(['\"])payment_number\1\]:(['\"])([^'\"]*)\2")
_REASONS = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")


class Stripe(Side):
    """The one account that the platform knows, in test mode."""

    name = "boleto"
    title = "Stripe (boleto)"
    needs_webhook = True
    wallet = Wallet(title="Sandbox bank")
    answer_limit_s = 10.0
    # Live events are tried for three days, with growing gaps that are not documented.
    gaps_s = (60, 300, 1800, 7200, 18000, 36000, 43200, 43200, 43200, 43200)
    routes = (
        Route("POST", _INTENTS, "create", "create"),
        Route("GET", _INTENTS, "query", "list_intents"),
        Route("GET", f"{_INTENTS}/search", "query", "search"),
        Route("GET", f"{_INTENTS}/<intent>", "query", "retrieve"),
        Route("POST", f"{_INTENTS}/<intent>/confirm", "create", "confirm"),
        Route("POST", f"{_INTENTS}/<intent>/cancel", "close", "cancel"),
        Route("POST", _REFUNDS, "refund", "refund"),
        Route("GET", f"{_REFUNDS}/<refund>", "query_refund", "query_refund"),
        Route("GET", "/v1/balance_transactions", "statement", "list_bookings"),
        Route("GET", "/v1/events", "", "list_events"),
        Route("GET", f"{_VOUCHER}<slug>", "", "show_voucher"),
        Route("GET", f"{_VOUCHER}<slug>/pdf", "", "show_pdf"),
        *(Route(method, "/v1/<path:rest>", "", "refuse_path") for method in METHODS),
    )

    def __init__(self, keyring: Keyring, ledger: Ledger, refund_delay_s: float) -> None:
        super().__init__(keyring, ledger, refund_delay_s)
        self.key = keyring.text("stripe_secret_key", lambda: f"sk_test_{KEY_PREFIX}{_make_letters(24)}")
        self.webhook_secret = keyring.text(
            "stripe_webhook_secret", lambda: f"whsec_{KEY_PREFIX}{_make_letters(24)}"
        )
        self.stranger_secret = keyring.text("stripe_stranger_secret", lambda: f"whsec_{_make_letters(32)}")

    @property
    def payee(self) -> str:
        """Whom the slip names."""
        return "Sandbox merchant on Stripe"

    def read_environment(self, base_url: str) -> dict[str, str]:
        """The account's credentials, and where this side listens."""
        return {
            "BOLETO_BASE_URL": base_url,
            "BOLETO_SECRET_KEY": self.key,
            "BOLETO_WEBHOOK_SECRET": self.webhook_secret,
        }

    def authenticate(self, request: Request) -> None:
        """The secret key, as a bearer or as a Basic user without password. Raises Refused 401. The slip is for everybody."""
        if request.path.startswith(_VOUCHER):
            return
        given = request.authorization
        if given is None:
            raise _refused(401, "", "You did not provide an API key.")
        key = given.token if given.type == "bearer" else given.username if not given.password else None
        if not hmac.compare_digest((key or "").encode(), self.key.encode()):
            raise _refused(401, "", f"Invalid API Key provided: {(key or '')[:8]}****")

    def act(self, handler: str, call: Call, **parts: str) -> Reply:
        """Run one handler; a parameter that breaks its rule becomes 400 with its name."""
        try:
            reply: Reply = getattr(self, f"_{handler}")(call, **parts)
        except BadParameter as wrong:
            raise _refused(400, wrong.code, str(wrong), wrong.param) from wrong
        return reply

    def _refuse_path(self, call: Call, rest: str) -> Reply:
        """As for everything under /v1/ that is no call, also by its method."""
        asked = f"{call.request.method}: {call.request.path}"
        raise _refused(404, "", f"Unrecognized request URL ({asked}). Please see https://stripe.com/docs.")

    # Intents

    def _create(self, call: Call) -> Reply:
        form = read_body(call.request)
        known = self._find_answer(call.request, form)
        if known is not None:
            return known
        wish = read_create(form)
        return self._proceed(call.request, "create", self._open(wish, form, call.request.host_url), wish)

    def _confirm(self, call: Call, intent: str) -> Reply:
        """Issue the slip of an intent that has none yet."""
        form = read_body(call.request)
        known = self._find_answer(call.request, form)
        if known is not None:
            return known
        trade = self._require_trade(intent)
        if is_confirmed(trade) or find_state(trade) == CANCELED:
            return _refuse_deed("confirm", self._describe(trade))
        whole = join_confirm(trade.request, form)
        if not has_method(whole):
            message = "You cannot confirm this PaymentIntent because it's missing a payment method."
            raise _refused(400, "payment_intent_unexpected_state", message)
        wish = read_create(whole)
        return self._proceed(call.request, "confirm", self.ledger.note(trade, form=whole), wish, form=form)

    def _find_answer(self, request: Request, form: Form) -> Reply | None:
        """The first answer under a key, whatever has become of the intent; kept for a day at least, here for ever."""
        key = read_key(request)
        for step in ("create", "confirm") if key else ():
            trade = self.ledger.find_noted(self.name, f"{step}.key", key)
            if trade is None:
                continue
            first = trade.notes[step]
            if (first["path"], first.get("form", trade.request)) != (request.path, form):
                message = "Keys for idempotent requests can only be used with the same parameters."
                raise _refused(400, "idempotency_error", message)
            answer = first.get("answer") or describe_intent(trade, REQUIRES_ACTION)
            return Reply(200, answer, headers={"Idempotent-Replayed": "true"})
        return None

    def _proceed(self, request: Request, step: str, trade: Trade, wish: Wish, **first: Form) -> Reply:
        """Issue the slip of what is confirmed, keep what a repeat needs, then do what the payer's address asks for."""
        if wish.is_confirmed:
            trade = self._issue(trade, wish)
        answer = describe_intent(trade, find_state(trade))
        # Every look for a key reads through these notes, so an answer is kept only where it cannot be written again.
        kept = {"key": read_key(request), "path": request.path, **first}
        self.ledger.note(trade, **{step: kept if wish.is_confirmed else kept | {"answer": answer}})
        if wish.is_confirmed:
            self._steer(trade, wish.email)
        return Reply(200, answer)

    def _open(self, wish: Wish, form: Form, host: str) -> Trade:
        intent = self.make_channel_number()
        number = wish.metadata.get("payment_number", "")
        first = self.ledger.find_trade(self.name, number)
        trade = self.ledger.open_trade(
            channel=self.name,
            # A second intent under one number is Stripe's to have; its own id is its name then.
            out_trade_no=number if first is None and _NUMBER.fullmatch(number) else intent,
            amount=wish.amount,
            currency="BRL",
            description=wish.description or "Boleto",
            notify_url="",
            request=form,
            expires_at=FOREVER_US,
        )
        if first is not None:
            self.ledger.note(first, doubles=[*first.notes.get("doubles", []), intent])
        return self.ledger.note(trade, intent=intent, host=host, days=wish.days)

    def _issue(self, trade: Trade, wish: Wish) -> Trade:
        expires_at, fails_at = _find_end(wish, now_us())
        line = write_line(make_digits(25), wish.amount, expires_at)
        self.ledger.add_handle(trade, line, expires_at)
        facts = {"line": line, "slug": f"test_{_make_letters(24)}", "days": wish.days, "fails_at": fails_at}
        return self.ledger.note(self.ledger.set_expiry(trade, expires_at), **facts)

    def _steer(self, trade: Trade, email: str) -> None:
        """Announce the slip, and what the payer's address asks for."""
        self.ledger.announce(trade, "payment_intent.requires_action")
        if "succeed_immediately@" in email:
            self.pay(trade)
        self.look(trade)

    def _retrieve(self, call: Call, intent: str) -> Reply:
        form = read_query(call.request, (), expandable=("latest_charge",))
        return Reply(200, self._describe(self._require_trade(intent), is_expanded="expand[0]" in form))

    def _search(self, call: Call) -> Reply:
        form = read_query(call.request, ("query", "limit", "page"), expandable=("data.latest_charge",))
        match = _SEARCH.fullmatch(form.get("query", ""))
        if match is None:
            raise BadParameter("parameter_invalid_empty", "query", "here only metadata['payment_number']:'…'")
        trades = self.ledger.list_trades(channel=self.name, out_trade_no=match[3])
        for double in trades[-1].notes.get("doubles", []) if trades else []:
            trades += [self._require_trade(double)]
        found = [self._describe(trade, is_expanded="expand[0]" in form) for trade in trades]
        limit = read_number(form, "limit", least=1, most=100) if "limit" in form else 10
        document = {"object": "search_result", "url": f"{_INTENTS}/search", "data": found[:limit]}
        return Reply(200, document | {"has_more": len(found) > limit, "next_page": None})

    def _list_intents(self, call: Call) -> Reply:
        form = read_query(call.request, (*PAGING, *CREATED), expandable=("data.latest_charge",))
        start, end = read_window(form)
        trades = self.ledger.list_trades(channel=self.name)
        within = [trade for trade in trades if start <= trade.created_at < end]
        found = [self._describe(trade, is_expanded="expand[0]" in form) for trade in within]
        return Reply(200, cut_page(found, form, _INTENTS))

    def _cancel(self, call: Call, intent: str) -> Reply:
        """Refused while a slip is out, which the documentation says cannot be cancelled before it expires."""
        form = read_body(call.request)
        check_names(form, ("cancellation_reason",))
        reason = form.get("cancellation_reason")
        if reason not in (None, *_REASONS):
            raise BadParameter("parameter_invalid_empty", "cancellation_reason", "no reason that is known")
        trade = self._require_trade(intent)
        if find_state(trade) in (REQUIRES_METHOD, REQUIRES_CONFIRMATION):
            self.ledger.close_trade(trade)
            facts = {"canceled_at": to_seconds(now_us()), "cancellation_reason": reason}
            trade = self.ledger.note(trade, **facts)
            self.ledger.announce(trade, "payment_intent.canceled")
            return Reply(200, describe_intent(trade, CANCELED))
        return self._refuse_cancel(call, trade)

    def _refuse_cancel(self, call: Call, trade: Trade) -> Reply:
        """Answered, not raised: the shopper may pay in this very moment, and that stays."""
        is_out = find_state(trade) == REQUIRES_ACTION
        if is_out and call.paid_meanwhile == "before":
            self.pay(trade)
        intent = self._describe(self.ledger.get_trade(trade.id))
        if is_out and call.paid_meanwhile == "after":
            self.pay(trade)
        return _refuse_deed("cancel", intent)

    def look(self, trade: Trade) -> Trade:
        """One business day after its expiry Stripe gives a slip up; here when somebody looks."""
        if trade.status != "OPEN" or not is_confirmed(trade) or now_us() < trade.notes["fails_at"]:
            return trade
        self.ledger.close_trade(trade)
        self.ledger.announce(trade, "payment_intent.payment_failed")
        return self.ledger.get_trade(trade.id)

    def pay(self, trade: Trade, *, copies: int = 1, is_forced: bool = False) -> None:
        """The bank reports the slip as paid; a number that is paid again has one more intent. Raises NotPayable."""
        if not is_confirmed(trade):
            raise NotPayable("unconfirmed")
        trade = self.look(trade)
        own = [] if trade.status == "PAID" else [str(trade.notes["intent"])]
        self.ledger.pay_trade(
            trade,
            lambda: own.pop() if own else self.make_channel_number(),
            copies=copies,
            is_forced=is_forced,
            event="payment_intent.succeeded",
        )

    # Refunds: a boleto has none

    def _refund(self, call: Call) -> Reply:
        form = read_body(call.request)
        metadata = [name for name in form if name.startswith("metadata[")]
        check_names(form, ("payment_intent", "charge", "amount", "reason", *metadata))
        named = form.get("payment_intent") or form.get("charge", "").replace("py_", "pi_", 1)
        if not named:
            raise BadParameter("parameter_missing", "charge", "One of charge or payment_intent is required.")
        self._require_trade(named)
        raise _refused(400, "charge_not_refundable", "Boleto payments cannot be refunded.")

    def _query_refund(self, call: Call, refund: str) -> Reply:
        raise _refused(404, "resource_missing", f"No such refund: '{refund}'", "id")

    def refund_in_console(self, trade: Trade, amount: int) -> Refund:
        """The Dashboard has no such button for a boleto."""
        raise _refused(400, "charge_not_refundable", "Boleto payments cannot be refunded.")

    # Bookings and events

    def _list_bookings(self, call: Call) -> Reply:
        form = read_query(call.request, (*PAGING, *CREATED, "type"), expandable=("data.source",))
        lines = self.list_booked(call, *read_window(form)) if form.get("type") in (None, "payment") else []
        found = [describe_booking(line.trade, is_expanded="expand[0]" in form) for line in reversed(lines)]
        return Reply(200, cut_page(found, form, "/v1/balance_transactions"))

    def _list_events(self, call: Call) -> Reply:
        """What was announced about the newest intents."""
        form = read_query(call.request, (*PAGING, "type"))
        found = []
        for trade in self.ledger.list_trades(channel=self.name, newest=100):
            notices = [
                n for n in self.ledger.list_notices(self.name, trade.out_trade_no) if n.trade_id == trade.id
            ]
            found += [wrap_event(n, self.describe_notice(trade, None, n.event)) for n in reversed(notices)]
        wanted = [event for event in found if form.get("type") in (None, event["type"])]
        return Reply(200, cut_page(wanted, form, "/v1/events"))

    # The slip

    def _show_voucher(self, call: Call, slug: str) -> Reply:
        return send_to_wallet(self._require_slip(slug).notes["line"])

    def _show_pdf(self, call: Call, slug: str) -> Reply:
        trade = self._require_slip(slug)
        due = to_datetime(trade.expires_at, BRASILIA).date()
        amount = f"R$ {trade.amount // 100},{trade.amount % 100:02}"
        lines = ["Boleto (sandbox, no bank takes it)", trade.notes["line"], f"{amount} until {due}"]
        return Reply(200, write_pdf([*lines, trade.description]), content_type="application/pdf")

    def _require_slip(self, slug: str) -> Trade:
        trade = self.ledger.find_noted(self.name, "slug", slug)
        if trade is None:
            raise Refused(Reply(404, b"no such slip", content_type="text/plain; charset=utf-8"))
        return trade

    # Webhooks

    def describe_notice(self, trade: Trade, refund: Refund | None, event: str) -> dict[str, Any]:
        """The intent as it was when the event happened."""
        return describe_intent(trade, STATE_OF_EVENT[event or "payment_intent.succeeded"])

    def compose(
        self,
        notice: Notice,
        refund: Refund | None,
        document: dict[str, Any] | bytes,
        *,
        is_forged: bool = False,
    ) -> Message:
        """An event with a new time and signature for this try."""
        body = document if isinstance(document, bytes) else to_json(wrap_event(notice, document))
        secret = self.stranger_secret if is_forged else self.webhook_secret
        headers = {
            "Content-Type": f"{_JSON}; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Connection": "close",
        }
        return Message(notice.url, headers | {"Stripe-Signature": sign(secret, int(time.time()), body)}, body)

    def is_acknowledged(self, status: int, body: bytes) -> bool:
        """Any 2xx."""
        return 200 <= status < 300

    # Answers, errors, lies

    def seal(self, reply: Reply, request: Request, *, is_forged: bool = False) -> Response:
        """Answers carry no signature, so a forged one is like any other: only TLS says whose it is."""
        document = reply.document
        body = b"" if document is None else document if isinstance(document, bytes) else to_json(document)
        response = Response(body, reply.status, content_type=reply.content_type or _JSON)
        response.headers["Request-Id"] = f"req_{_make_letters(14)}"
        response.headers["Stripe-Version"] = request.headers.get("Stripe-Version") or API_VERSION
        key = request.headers.get("Idempotency-Key")
        if key:
            response.headers["Idempotency-Key"] = key
        response.headers.update(dict(reply.headers))
        return response

    def refuse(self, status: int, code: str, message: str) -> Reply:
        """An error in Stripe's envelope."""
        return Reply(status, describe_error(status, code, message))

    def find_words(self, what: str, operation: str) -> tuple[int, str]:
        """How `notfound` and `syserr` are said."""
        return (500, "api_error") if what == "syserr" else (404, "resource_missing")

    def bend(self, document: dict[str, Any], lie: dict[str, Any]) -> dict[str, Any]:
        """An intent, or those of a list, with the told fields in place of the true ones."""
        if document.get("object") == "payment_intent":
            return bend_intent(document, lie)
        found = [self.bend(one, lie) for one in document.get("data", []) if isinstance(one, dict)]
        return document | ({"data": found} if "data" in document else {})

    def make_channel_number(self) -> str:
        """The id of an intent."""
        return f"pi_3{_make_letters(23)}"

    # What several calls share

    def _describe(self, trade: Trade, *, is_expanded: bool = False) -> dict[str, Any]:
        trade = self.look(trade)
        return describe_intent(trade, find_state(trade), is_expanded=is_expanded)

    def _require_trade(self, intent: str) -> Trade:
        paid = self.ledger.find_paid_trade(self.name, intent)
        trade = paid or self.ledger.find_noted(self.name, "intent", intent)
        if trade is None:
            raise _refused(404, "resource_missing", f"No such payment_intent: '{intent}'", "intent")
        return self.look(trade)


def sign(secret: str, at: int, body: bytes) -> str:
    """The header Stripe-Signature: over time and body, with the whole secret as key."""
    seal = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={seal}"


def _find_end(wish: Wish, now: int) -> tuple[int, int]:
    """When a slip expires, and when Stripe gives it up."""
    if "expire_immediately@" in wish.email:
        return now, now
    if "expire_with_delay@" in wish.email:
        return now + _DELAY_US, now + _DELAY_US
    expires_at = find_expiry(now, wish.days)
    return expires_at, add_business_day(expires_at)


def _refuse_deed(deed: str, intent: dict[str, Any]) -> Reply:
    message = f"You cannot {deed} this PaymentIntent because it has a status of {intent['status']}."
    document = describe_error(400, "payment_intent_unexpected_state", message)
    return Reply(400, {"error": document["error"] | {"payment_intent": intent}})


def _refused(status: int, code: str, message: str, param: str = "") -> Refused:
    return Refused(Reply(status, describe_error(status, code, message, param)))


def _make_letters(length: int) -> str:
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0123456789"
    return "".join(secrets.choice(letters) for _ in range(length))
