"""Boleto through Stripe PaymentIntents: our words into its calls, its answers and webhooks into our words.

A slip is paid at any bank until the end of its last day and confirmed on the next business day; nobody can take it back
before, and the rail has no way to give money back. Nothing here decides about money or keeps anything.
Protocol facts are Stripe's API reference and its pages on boleto, idempotent requests, search and webhook signatures
(docs.stripe.com), and the package stripe 16.1.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from .base import (
    Attempt,
    BadPayer,
    CallbackMessage,
    CallbackReply,
    Channel,
    ChannelError,
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
from .boleto_statement import (
    NUMBER_FIELD,
    number_of,
    read_seconds,
    read_statement,
    word_or_none,
    write_statement,
)
from .brazil import SAO_PAULO, STATES, barcode_of, is_tax_id, read_post_code, read_tax_id
from .fields import BadField, is_word, parse_json, read_minor, read_object, read_word
from .seals import BadKey
from .wire import Reply, Wire, is_safe_url

# ---- Stripe's words and what they mean ---------------------------------------------------------------------------

STATUSES = {
    "succeeded": Outcome.SUCCEEDED,
    "requires_action": Outcome.OPEN,  # the slip is out
    "requires_confirmation": Outcome.OPEN,
    "processing": Outcome.OPEN,
    # Before the slip is made, and again after it has expired without money: the error tells the two apart.
    "requires_payment_method": Outcome.OPEN,
    # Stripe charges a cancelled intent no more (API reference, cancel). A bank's late success would be taken all the same.
    "canceled": Outcome.CLOSED,
}
INTENT_EVENTS = frozenset(
    f"payment_intent.{word}" for word in ("requires_action", "succeeded", "payment_failed", "canceled")
)
# What a 400 or 402 may say for good. What is not here decides nothing: the repeat under the same key tells.
REFUSALS = frozenset(
    {
        *("parameter_missing", "parameter_unknown", "parameters_exclusive", "parameter_invalid_empty"),
        *("parameter_invalid_integer", "parameter_invalid_string_blank", "parameter_invalid_string_empty"),
        *("amount_too_small", "amount_too_large", "email_invalid", "tax_id_invalid", "postal_code_invalid"),
        *("country_code_invalid", "country_unsupported", "state_unsupported", "invalid_characters"),
        *("payment_intent_invalid_parameter", "payment_intent_incompatible_payment_method"),
        *("payment_method_invalid_parameter", "payment_method_billing_details_address_missing"),
        *("payment_method_currency_mismatch", "payment_method_unactivated", "payment_method_not_available"),
        *("payment_method_unsupported_type", "payment_method_provider_decline", "livemode_mismatch"),
        *("payment_intent_payment_attempt_failed", "api_key_expired", "testmode_charges_only"),
    }
)
REFUSING_TYPES = frozenset({"invalid_request_error", "card_error"})
# Nothing can be paid while the intent inside an error has one of these.
UNPAYABLE = frozenset({"requires_payment_method", "canceled"})

# ---- limits ------------------------------------------------------------------------------------------------------

API_VERSION = "2026-10-28.endive"  # that of stripe 16.1: answers keep the shapes that are read here
WINDOW_S = 300
MAX_DAYS = 60  # of expires_after_days; in plug-ins that Stripe has a part in, its reference names no limit
LAST_SECOND = time(23, 59, 59)
# A create that is repeated after midnight makes a slip that counts its days from then.
MIDNIGHT = timedelta(days=1)
# Mondays to Fridays after the last day: two within which a bank's word comes, two for the longest row of bank holidays
# (Carnival). Mostly Stripe says one business day after the expiry that nothing came, and nobody waits so long.
SETTLING_WEEKDAYS = 4
PAYMENT_NUMBER = re.compile(r"[0-9A-Za-z_-]{1,64}")  # it stands in quotes inside a search
# The list is consistent at once; the hours are for money that a bank reports late at night.
STATEMENT_AFTER = timedelta(hours=6)
PAGE_LINES = 100  # the most that Stripe lists at once
MAX_ANSWER_BYTES = 5_000_000  # of such a page, with all that a charge may hold

INTENTS = "/v1/payment_intents"
BALANCE = "/v1/balance_transactions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What Stripe answered: `data` of a 200, else `code`; `is_refusal` when it says no for good. Status 0 is none."""

    status: int
    data: Mapping[str, Any]
    code: str = ""
    is_refusal: bool = False


# What is kept of an event and of its object, none of which tells who the payer is.
KEPT_OF_EVENT = ("id", "object", "type", "created", "livemode", "api_version")
KEPT_OF_CONTENT = ("id", "object", "status", "amount", "amount_received", "currency", "metadata")


class Boleto(Channel):
    """One Stripe account. `webhook_secrets` are those of its endpoint, two while it is rolled."""

    name = "boleto"
    title = "Boleto"
    limits = {"BRL": Limits(500, 4_999_999)}
    repeat = Repeat.SAME_NUMBER
    # Keys are kept for at least so long; later the same key makes a second slip.
    repeats_for = timedelta(hours=24)
    action_life = timedelta(days=MAX_DAYS + 1)
    can_close = False  # Stripe's page on boleto: no cancellation before the slip expires
    can_refund = False  # the same page: no refunds, money goes back by a process of the shop's own
    payer_keys = ("name", "email", "tax_id", "address")
    payer_fields = (
        "tax_id",
        "address.line1",
        "address.city",
        "address.state",
        "address.postal_code",
        "address.country",
    )
    # Stripe advises to ask for the present state at each event, because their order is not kept. Ours need not: the
    # signature covers every byte, and settling never lets a weaker word undo an end.
    confirms_callbacks_by_query = False

    def __init__(
        self,
        *,
        base_url: str,
        secret_key: str,
        webhook_secrets: tuple[str, ...],
        wire: Wire,
        expires_after_days: int = 3,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not webhook_secrets or not all(secret.startswith("whsec_") for secret in webhook_secrets):
            raise BadKey("a webhook secret of Stripe begins with whsec_")
        if not 0 <= expires_after_days <= MAX_DAYS:
            raise BadKey(f"a boleto expires after 0 to {MAX_DAYS} days")
        self._base_url = base_url.rstrip("/")
        self._secret_key, self._is_live = secret_key, is_live_key(secret_key)
        self._webhook_secrets = tuple(secret.encode() for secret in webhook_secrets)
        self._expires_after = timedelta(days=expires_after_days)
        self._wire, self._clock = wire, clock

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> Boleto:
        """Build it from settings, all of them required. Raises BadKey for a key or a number of days that cannot be used."""
        return cls(
            base_url=settings["BASE_URL"],
            secret_key=settings["SECRET_KEY"],
            webhook_secrets=split_secrets(settings["WEBHOOK_SECRET"]),
            expires_after_days=read_days(settings["EXPIRES_AFTER_DAYS"]),
            wire=Wire(channel=cls.name, max_body_bytes=MAX_ANSWER_BYTES),
        )

    def scenes(self) -> frozenset[str]:
        return frozenset({Scene.VOUCHER})

    def expires_at(self, *, scene: str, order_expires_at: datetime, now: datetime) -> datetime:
        """The end of the slip's last day in São Paulo, whatever the order's own expiry is: a slip cannot end earlier."""
        return _end_of(now.astimezone(SAO_PAULO).date() + self._expires_after)

    def dead_at(self, *, scene: str, expires_at: datetime, now: datetime) -> datetime:
        last_day = expires_at.astimezone(SAO_PAULO).date() + MIDNIGHT
        return _end_of(_add_weekdays(last_day, SETTLING_WEEKDAYS))

    def check_payer(self, payer: Mapping[str, Any]) -> None:
        """As `Channel.check_payer`; Stripe's test number 000.000.000-00 passes with a test key."""
        super().check_payer(payer)
        digits = read_tax_id(payer["tax_id"].strip())
        if not digits:
            raise BadPayer("tax_id", "Enter the 11 digits of a CPF or the 14 of a CNPJ.")
        if not is_tax_id(digits) or (self._is_live and not digits.strip("0")):
            raise BadPayer("tax_id", "This CPF or CNPJ does not exist. Check its digits.")
        address = _address_of(payer)
        if address["country"] != "BR":
            raise BadPayer("address.country", "A boleto needs an address in Brazil (BR).")
        if address["state"] not in STATES:
            raise BadPayer("address.state", "Enter the two letters of a Brazilian state, such as SP.")
        if not address["postal_code"]:
            raise BadPayer("address.postal_code", "Enter the 8 digits of the post code (CEP).")

    # ---- payments ----

    def create(self, attempt: Attempt) -> Created:
        self._refuse_impossible(attempt)
        answer = self._ask("POST", INTENTS, "create", attempt.number, self._form_of(attempt))
        if answer.is_refusal:
            raise Refused("Stripe refused the payment", code=answer.code)
        if answer.status != 200:
            raise Unanswered("Stripe did not say whether it took the payment", code=answer.code)
        told = {"amount": attempt.amount_minor, "currency": attempt.currency.lower()}
        if not self._is_about(answer.data, attempt.number, **told):
            raise Unanswered("the answer is about something else", code="about_another")
        try:
            return Created(action=_read_voucher(answer.data), handle=read_word(answer.data, "id"))
        except BadField as error:
            raise Unanswered("the answer holds no slip", code="malformed") from error

    def query(self, attempt: Attempt) -> PaymentReport:
        if not attempt.handle:
            return self._search(attempt.number)
        target = f"{INTENTS}/{quote(attempt.handle, safe='')}?{urlencode({'expand[0]': 'latest_charge'})}"
        answer = self._try("GET", target, "query", attempt.number)
        if answer.status != 200:
            # Also a 404: Stripe forgets no intent, so one that is missing means the key of another account.
            return _unknown(attempt.number, answer.code)
        if not self._is_about(answer.data, attempt.number, id=attempt.handle):
            return _unknown(attempt.number, "about_another")
        return _read_asked(answer.data)

    def close(self, attempt: Attempt) -> PaymentReport:
        """Nothing takes a slip back, so this only asks what has become of it."""
        return self.query(attempt)

    def _search(self, number: str) -> PaymentReport:
        """Ask without the intent's id. The search lags by a minute or so, and NOT_FOUND ends nothing before `dead_at`."""
        words = {"query": f"metadata['{NUMBER_FIELD}']:'{number}'", "expand[0]": "data.latest_charge"}
        answer = self._try("GET", f"{INTENTS}/search?{urlencode(words)}", "query", number)
        if answer.status != 200:
            return _unknown(number, answer.code)
        try:
            found, has_more = _read_list(answer, "search_result")
        except Unanswered as error:
            return _unknown(number, error.code)
        if has_more:
            return _unknown(number, "too_many")
        if not all(self._is_about(data, number) for data in found):
            return _unknown(number, "about_another")
        return _choose(number, [_read_asked(data) for data in found])

    def _refuse_impossible(self, attempt: Attempt) -> None:
        limits = self.limits.get(attempt.currency)
        _refuse_unless(
            scene=attempt.scene in self.scenes(),
            currency=limits,
            amount=limits and limits.least <= attempt.amount_minor <= limits.most,
            number=PAYMENT_NUMBER.fullmatch(attempt.number),
            description=attempt.description,
            expires_at=0 <= _days_of(attempt) <= MAX_DAYS,
            # The key may be forgotten by now, and a second slip would be made that outlives `dead_at`.
            started_at=self._clock() < attempt.started_at + self.repeats_for,
            payer=self._is_payer(attempt.payer),
        )

    def _is_payer(self, payer: Mapping[str, Any]) -> bool:
        try:
            self.check_payer(payer)
        except BadPayer:
            return False
        return all(isinstance(payer.get(name), str) and payer[name].strip() for name in ("name", "email"))

    def _form_of(self, attempt: Attempt) -> dict[str, str]:
        # Of the stored attempt alone, not of the clock or a setting: under one key any other content is an error.
        person, payer = "payment_method_data[billing_details]", attempt.payer
        return {
            "amount": str(attempt.amount_minor),
            "currency": attempt.currency.lower(),
            "confirm": "true",
            "description": attempt.description,
            "payment_method_types[0]": "boleto",
            "payment_method_data[type]": "boleto",
            f"{person}[name]": payer["name"].strip(),
            f"{person}[email]": payer["email"].strip(),
            **{f"{person}[address][{name}]": value for name, value in _address_of(payer).items()},
            "payment_method_data[boleto][tax_id]": payer["tax_id"].strip(),
            "payment_method_options[boleto][expires_after_days]": str(_days_of(attempt)),
            f"metadata[{NUMBER_FIELD}]": attempt.number,
        }

    # ---- refunds: there are none ----

    def refund(self, request: RefundRequest) -> RefundReport:
        raise Impossible("a boleto cannot be refunded", code="no_refund_on_this_rail")

    def query_refund(self, request: RefundRequest) -> RefundReport:
        return RefundReport(outcome=Outcome.NOT_FOUND, number=request.number, code="no_refund_on_this_rail")

    # ---- webhooks ----

    def read_callback(self, raw: RawCallback) -> CallbackMessage:
        self._verify(raw.headers.get("stripe-signature", ""), raw.body)
        try:
            event = parse_json(raw.body)
            message_id, kind = read_word(event, "id"), read_word(event, "type")
            content, at = read_object(read_object(event, "data"), "object"), read_seconds(event, "created")
        except BadField as error:
            raise NotGenuine("body") from error
        number = number_of(content)
        if event.get("livemode") is not self._is_live:
            raise NotGenuine("livemode", number=number)
        if event.get("account"):  # of an account connected to ours
            raise NotGenuine("account", number=number)
        return CallbackMessage(message_id=message_id, kind=kind, report=self._report_of(kind, content, at))

    def kept_body(self, raw: RawCallback) -> bytes:
        # The payer's name, address and tax number stand in it, also after the attempt is final.
        event = parse_json(raw.body)
        content = read_object(read_object(event, "data"), "object")
        kept = {name: event[name] for name in KEPT_OF_EVENT if name in event}
        return json.dumps(
            kept | {"data": {"object": {name: content[name] for name in KEPT_OF_CONTENT if name in content}}}
        ).encode()

    def acknowledge(self) -> CallbackReply:
        return CallbackReply(status=200)

    def refuse_callback(self, reason: str) -> CallbackReply:
        return CallbackReply(status=400, body=json.dumps({"error": reason}).encode())

    def _report_of(self, kind: str, content: Mapping[str, Any], at: datetime) -> PaymentReport:
        number = number_of(content)
        if kind.startswith("charge.dispute."):  # a bank takes money back: a person must hear of it
            return _unknown(number, kind)
        # Of another system on the same account, or of a kind that says nothing about the money: only acknowledged.
        if kind not in INTENT_EVENTS or not number:
            return PaymentReport(outcome=Outcome.OPEN, number=number, code=kind)
        if not self._is_about(content, number):
            return _unknown(number, "malformed")
        return _read_intent(content, paid_at=at)

    def _verify(self, header: str, body: bytes) -> None:
        """Raises NotGenuine unless Stripe signed exactly these bytes in the last five minutes.

        Stripe's own package takes any time in the future. Ours takes as much as the clocks may differ: a message that is
        dated further ahead could be played again until then.
        """
        pairs = [part.partition("=") for part in header.split(",")]
        times = [value for name, _, value in pairs if name == "t"]
        if len(times) != 1 or not re.fullmatch(r"[0-9]{1,11}", times[0]):
            raise NotGenuine("timestamp")
        if abs(self._clock().timestamp() - int(times[0])) > WINDOW_S:
            raise NotGenuine("timestamp")
        text = times[0].encode() + b"." + body
        wanted = [
            hmac.new(secret, text, hashlib.sha256).hexdigest().encode() for secret in self._webhook_secrets
        ]
        told = [value.encode(errors="replace") for name, _, value in pairs if name == "v1"]
        if not any(hmac.compare_digest(one, other) for one in wanted for other in told):
            raise NotGenuine("signature")

    # ---- statements ----

    def statement_ready_at(self, day: date) -> datetime:
        """A day is UTC's: Stripe has no day of its own, it lists any range."""
        return _start_of(day + timedelta(days=1)) + STATEMENT_AFTER

    def fetch_statement(self, day: date, into: BinaryIO) -> None:
        """As `Channel.fetch_statement`; see `boleto_statement` for what is written."""
        start, end = _start_of(day), _start_of(day + timedelta(days=1))
        if self._clock() < end:
            raise NotReady("the day is not over", code="not_over")
        window = {"created[gte]": str(int(start.timestamp())), "created[lt]": str(int(end.timestamp()))}
        write_statement(into, self._list_bookings(window))

    def _list_bookings(self, window: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        """The bookings of a time, page by page, the newest first."""
        words = {**window, "limit": str(PAGE_LINES), "expand[0]": "data.source"}
        while True:
            page, has_more = self._fetch_page(words)
            yield from page
            if not has_more:
                return
            if page[-1]["id"] == words.get("starting_after"):
                raise Unanswered("the list does not go on", code="malformed")
            words["starting_after"] = page[-1]["id"]

    def _fetch_page(self, words: Mapping[str, str]) -> tuple[list[dict[str, Any]], bool]:
        answer = self._ask("GET", f"{BALANCE}?{urlencode(words)}", "statement", "")
        if answer.is_refusal:
            raise Refused("Stripe refused the statement", code=answer.code)
        page, has_more = _read_list(answer, "list")
        if has_more and not page:
            raise Unanswered("the list does not go on", code="malformed")
        return page, has_more

    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        return read_statement(file)

    # ---- there and back ----

    def _try(self, *call: Any) -> Answer:
        """`_ask`, with a failure as an answer that decides nothing."""
        try:
            return self._ask(*call)
        except ChannelError as error:
            return Answer(status=0, data={}, code=error.code)

    def _ask(
        self, method: str, target: str, operation: str, number: str, form: Mapping[str, str] | None = None
    ) -> Answer:
        """Send and read. Answers are not signed: the connection is what makes them Stripe's. Raises Unreachable, Unanswered."""
        headers = {
            "Authorization": f"Bearer {self._secret_key}",
            "Stripe-Version": API_VERSION,
            "Accept": "application/json",
            "User-Agent": "nodrop",
        }
        if form is not None:
            headers |= {
                "Content-Type": "application/x-www-form-urlencoded",
                "Idempotency-Key": number,
            }
        reply = self._wire.send(
            method,
            self._base_url + target,
            headers=headers,
            # Brackets stay as they are, like those of Stripe's own packages.
            body=None if form is None else urlencode(form, safe="[]").encode(),
            operation=operation,
            number=number,
            code_of=lambda reply: "" if reply.status == 200 else _read_error(reply).code,
        )
        if reply.status != 200:
            return _read_error(reply)
        try:
            return Answer(status=200, data=parse_json(reply.body))
        except BadField as error:
            raise Unanswered("the answer cannot be read", code="malformed") from error

    def _is_about(self, data: Mapping[str, Any], number: str, **expected: object) -> bool:
        """Whether it is an intent of our number, in our mode, with these fields."""
        expected |= {"object": "payment_intent", "livemode": self._is_live}
        # By type too: true equals 1, and 12900.0 equals 12900.
        is_so = all(
            type(data.get(name)) is type(value) and data[name] == value for name, value in expected.items()
        )
        return is_so and number_of(data) == number


def is_live_key(secret_key: str) -> bool:
    """Whether the key moves real money. Raises BadKey for what is no secret (or restricted) key."""
    mode = re.fullmatch(r"[sr]k_(live|test)_[0-9A-Za-z_]+", secret_key)
    if not mode:
        raise BadKey("a secret key of Stripe begins with sk_live_, sk_test_, rk_live_ or rk_test_")
    return mode[1] == "live"


def split_secrets(text: str) -> tuple[str, ...]:
    """The secrets of the webhook endpoint: two with a comma between while one is rolled."""
    return tuple(part.strip() for part in text.split(","))


def read_days(text: str) -> int:
    """The days after which a slip expires. Raises BadKey."""
    if not re.fullmatch(r"[0-9]{1,2}", text):
        raise BadKey(f"a boleto expires after 0 to {MAX_DAYS} days")
    return int(text)


# ---- reading -----------------------------------------------------------------------------------------------------


def _read_asked(data: Mapping[str, Any]) -> PaymentReport:
    """Read an intent of a query, whose charge was asked for with it and says when the money came."""
    try:
        paid_at = (
            read_seconds(read_object(data, "latest_charge"), "created")
            if data.get("status") == "succeeded"
            else None
        )
    except BadField:
        return _unknown(number_of(data), "malformed")
    return _read_intent(data, paid_at=paid_at)


def _read_intent(data: Mapping[str, Any], *, paid_at: datetime | None) -> PaymentReport:
    """Read an intent that is about us. What is not as documented makes it UNKNOWN."""
    number = number_of(data)
    try:
        status, intent = read_word(data, "status"), read_word(data, "id")
        outcome = STATUSES.get(status, Outcome.UNKNOWN)
        if status == "requires_payment_method" and data.get("last_payment_error"):
            outcome = Outcome.CLOSED  # the slip has expired; which code the error has is not documented
        if outcome is not Outcome.SUCCEEDED:
            return PaymentReport(outcome=outcome, number=number, channel_number=intent, code=status)
        return PaymentReport(
            outcome=outcome,
            number=number,
            channel_number=intent,
            amount_minor=read_minor(data, "amount_received"),
            currency=read_word(data, "currency", limit=3).upper(),
            paid_at=paid_at,
            code=status,
        )
    except BadField:
        return _unknown(number, "malformed")


def _choose(number: str, reports: list[PaymentReport]) -> PaymentReport:
    """Of all intents under one number the paid one; more than one slip under a number is for a person to look at."""
    if not reports:
        return PaymentReport(outcome=Outcome.NOT_FOUND, number=number)
    order = (Outcome.SUCCEEDED, Outcome.UNKNOWN, Outcome.OPEN, Outcome.CLOSED)
    first = min(reports, key=lambda report: order.index(report.outcome))
    if len(reports) == 1 or first.outcome is not Outcome.SUCCEEDED:
        return first
    return PaymentReport(
        outcome=first.outcome,
        number=number,
        channel_number=first.channel_number,
        amount_minor=first.amount_minor,
        currency=first.currency,
        paid_at=first.paid_at,
        code="several_intents",
        needs_person=True,
    )


def _read_voucher(data: Mapping[str, Any]) -> dict[str, Any]:
    details = read_object(read_object(data, "next_action"), "boleto_display_details")
    line = read_word(details, "number")
    pdf_url = read_word(details, "pdf", limit=2048)
    if not is_safe_url(pdf_url):
        raise BadField("pdf")
    try:
        barcode = barcode_of(line)
    except ValueError as error:
        raise BadField("number") from error
    return {
        "type": "voucher",
        "barcode": barcode,
        "digitable_line": line,
        "pdf_url": pdf_url,
        "expires_at": read_seconds(details, "expires_at").isoformat(),
    }


def _read_list(answer: Answer, kind: str) -> tuple[list[dict[str, Any]], bool]:
    """The objects of a list or a search, and whether there are more. Raises Unanswered."""
    found, has_more = answer.data.get("data"), answer.data.get("has_more")
    is_list = answer.data.get("object") == kind and type(has_more) is bool
    if not is_list or not isinstance(found, list):
        raise Unanswered("the answer is no list", code=answer.code or "malformed")
    if not all(isinstance(one, dict) and is_word(one.get("id")) for one in found):
        raise Unanswered("the answer lists something unknown", code="malformed")
    return found, bool(has_more)


def _read_error(reply: Reply) -> Answer:
    try:
        error = read_object(parse_json(reply.body), "error")
    except BadField:
        error = {}
    kind, code = word_or_none(error, "type"), word_or_none(error, "code")
    intent = error.get("payment_intent")
    is_harmless = intent is None or (isinstance(intent, dict) and intent.get("status") in UNPAYABLE)
    # 401 and 403 come before anything is looked at, so there the code adds nothing.
    is_final = reply.status in (401, 403) or (reply.status in (400, 402) and code in REFUSALS)
    return Answer(
        status=reply.status,
        data={},
        code=code or kind or f"HTTP{reply.status}",
        is_refusal=is_final and is_harmless and kind in REFUSING_TYPES,
    )


def _unknown(number: str, code: str) -> PaymentReport:
    return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code=code)


# ---- writing -----------------------------------------------------------------------------------------------------


def _address_of(payer: Mapping[str, Any]) -> dict[str, str]:
    """The address as it is sent; the post code is empty when it is none."""
    address = {name: payer["address"][name].strip() for name in ("line1", "city", "state", "country")}
    return address | {
        "state": address["state"].upper(),
        "postal_code": read_post_code(payer["address"]["postal_code"].strip()),
        "country": address["country"].upper(),
    }


def _days_of(attempt: Attempt) -> int:
    """The calendar days in São Paulo from the attempt's start to its last day."""
    first, last = (moment.astimezone(SAO_PAULO).date() for moment in (attempt.started_at, attempt.expires_at))
    return (last - first).days


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _end_of(day: date) -> datetime:
    """The last second of a day in São Paulo."""
    return datetime.combine(day, LAST_SECOND, tzinfo=SAO_PAULO).astimezone(UTC)


def _add_weekdays(day: date, count: int) -> date:
    while count:
        day += timedelta(days=1)
        count -= day.weekday() < 5
    return day


def _refuse_unless(**possible: object) -> None:
    """Raises Impossible, before anything is sent, for the first field that a boleto cannot have."""
    for name, is_possible in possible.items():
        if not is_possible:
            raise Impossible(f"a boleto cannot have this {name}", code=f"invalid_{name}")
