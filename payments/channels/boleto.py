"""Boleto through Stripe PaymentIntents: our words into its calls, its answers and webhooks into our words.

A slip is paid at any bank until the end of its last day and confirmed on the next business day; nobody can take it back
before, and the rail has no way to give money back. Nothing here decides about money or keeps anything.
Protocol facts are Stripe's API reference and its pages on boleto, idempotent requests and search
(docs.stripe.com), and the package stripe 16.1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from django.utils.translation import gettext_lazy as _

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
from .boleto_reading import (
    Answer,
    choose,
    read_asked,
    read_error,
    read_intent,
    read_list,
    read_voucher,
    unknown,
)
from .boleto_statement import NUMBER_FIELD, number_of, read_seconds, read_statement, write_statement
from .boleto_webhooks import INTENT_EVENTS, cut_event, is_secret, split_secrets, verify
from .brazil import SAO_PAULO, STATES, add_weekdays, end_of_day, is_tax_id, read_post_code, read_tax_id
from .fields import BadField, parse_json, read_object, read_word
from .seals import BadKey
from .wire import Wire

# ---- limits ------------------------------------------------------------------------------------------------------

API_VERSION = "2026-10-28.endive"  # that of stripe 16.1: answers keep the shapes that are read here
MAX_DAYS = 60  # of expires_after_days; in plug-ins that Stripe has a part in, its reference names no limit
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


class Boleto(Channel):
    """One Stripe account. `webhook_secrets` are those of its endpoint, two while it is rolled."""

    name = "boleto"
    title = "Boleto"
    limits = {"BRL": Limits(500, 4_999_999)}
    repeat = Repeat.SAME_NUMBER
    # Keys are kept for at least so long; later the same key makes a second slip.
    repeats_for = timedelta(hours=24)
    action_life = timedelta(days=MAX_DAYS + 1)
    query_every_s = 15 * 60  # its status changes by the day, and a webhook tells first
    outlives_order = True
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
        if not webhook_secrets or not all(map(is_secret, webhook_secrets)):
            raise BadKey("a webhook secret of Stripe is whsec_ and more")
        if not 0 <= expires_after_days <= MAX_DAYS:
            raise BadKey(f"a boleto expires after 0 to {MAX_DAYS} days")
        self._base_url = base_url.rstrip("/")
        self._secret_key, self._is_live = secret_key, is_live_key(secret_key)
        self._webhook_secrets = webhook_secrets
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
        return end_of_day(now.astimezone(SAO_PAULO).date() + self._expires_after)

    def dead_at(self, *, scene: str, expires_at: datetime, now: datetime) -> datetime:
        last_day = expires_at.astimezone(SAO_PAULO).date() + MIDNIGHT
        return end_of_day(add_weekdays(last_day, SETTLING_WEEKDAYS))

    def check_payer(self, payer: Mapping[str, Any]) -> None:
        """As `Channel.check_payer`; Stripe's test number 000.000.000-00 passes with a test key."""
        super().check_payer(payer)
        digits = read_tax_id(payer["tax_id"].strip())
        if not digits:
            raise BadPayer("tax_id", _("Enter the 11 digits of a CPF or the 14 of a CNPJ."))
        if not is_tax_id(digits) or (self._is_live and not digits.strip("0")):
            raise BadPayer("tax_id", _("This CPF or CNPJ does not exist. Check its digits."))
        address = _address_of(payer)
        if address["country"] != "BR":
            raise BadPayer("address.country", _("A boleto needs an address in Brazil (BR)."))
        if address["state"] not in STATES:
            raise BadPayer("address.state", _("Enter the two letters of a Brazilian state, such as SP."))
        if not address["postal_code"]:
            raise BadPayer("address.postal_code", _("Enter the 8 digits of the post code (CEP)."))

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
            return Created(action=read_voucher(answer.data), handle=read_word(answer.data, "id"))
        except BadField as error:
            raise Unanswered("the answer holds no slip", code="malformed") from error

    def query(self, attempt: Attempt) -> PaymentReport:
        if not attempt.handle:
            return self._search(attempt.number)
        target = f"{INTENTS}/{quote(attempt.handle, safe='')}?{urlencode({'expand[0]': 'latest_charge'})}"
        answer = self._try("GET", target, "query", attempt.number)
        if answer.status != 200:
            # Also a 404: Stripe forgets no intent, so one that is missing means the key of another account.
            return unknown(attempt.number, answer.code)
        if not self._is_about(answer.data, attempt.number, id=attempt.handle):
            return unknown(attempt.number, "about_another")
        return read_asked(answer.data)

    def close(self, attempt: Attempt) -> PaymentReport:
        """Nothing takes a slip back, so this only asks what has become of it."""
        return self.query(attempt)

    def _search(self, number: str) -> PaymentReport:
        """Ask without the intent's id. The search lags by a minute or so, and NOT_FOUND ends nothing before `dead_at`."""
        words = {"query": f"metadata['{NUMBER_FIELD}']:'{number}'", "expand[0]": "data.latest_charge"}
        answer = self._try("GET", f"{INTENTS}/search?{urlencode(words)}", "query", number)
        if answer.status != 200:
            return unknown(number, answer.code)
        try:
            found, has_more = read_list(answer, "search_result")
        except Unanswered as error:
            return unknown(number, error.code)
        if has_more:
            return unknown(number, "too_many")
        if not all(self._is_about(data, number) for data in found):
            return unknown(number, "about_another")
        return choose(number, [read_asked(data) for data in found])

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
        header = raw.headers.get("stripe-signature", "")
        verify(header, raw.body, secrets=self._webhook_secrets, now=self._clock())
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
        return cut_event(raw.body)

    def acknowledge(self) -> CallbackReply:
        return CallbackReply(status=200)

    def refuse_callback(self, reason: str) -> CallbackReply:
        return CallbackReply(status=400, body=json.dumps({"error": reason}).encode())

    def _report_of(self, kind: str, content: Mapping[str, Any], at: datetime) -> PaymentReport:
        number = number_of(content)
        if kind.startswith("charge.dispute."):  # a bank takes money back: a person must hear of it
            return unknown(number, kind)
        # Of another system on the same account, or of a kind that says nothing about the money: only acknowledged.
        if kind not in INTENT_EVENTS or not number:
            return PaymentReport(outcome=Outcome.OPEN, number=number, code=kind)
        if not self._is_about(content, number):
            return unknown(number, "malformed")
        return read_intent(content, paid_at=at)

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
        page, has_more = read_list(answer, "list")
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
            code_of=lambda reply: "" if reply.status == 200 else read_error(reply).code,
        )
        if reply.status != 200:
            return read_error(reply)
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


def read_days(text: str) -> int:
    """The days after which a slip expires. Raises BadKey."""
    if not re.fullmatch(r"[0-9]{1,2}", text):
        raise BadKey(f"a boleto expires after 0 to {MAX_DAYS} days")
    return int(text)


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


def _refuse_unless(**possible: object) -> None:
    """Raises Impossible, before anything is sent, for the first field that a boleto cannot have."""
    for name, is_possible in possible.items():
        if not is_possible:
            raise Impossible(f"a boleto cannot have this {name}", code=f"invalid_{name}")
