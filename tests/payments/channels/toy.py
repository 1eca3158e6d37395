"""ToyPay, which does not exist: one address, JSON both ways, an HMAC over every body. It makes a number once."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, BinaryIO

from payments.channels.base import (
    DEAD_MARGIN,
    Attempt,
    BadStatement,
    CallbackMessage,
    CallbackReply,
    Channel,
    ChannelError,
    Created,
    Limits,
    LineKind,
    NotGenuine,
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
from payments.channels.fields import BadField, parse_json, read_minor, read_moment, read_word
from payments.channels.wire import Wire

STATES = {
    "paid": Outcome.SUCCEEDED,
    "open": Outcome.OPEN,
    "closed": Outcome.CLOSED,
    "missing": Outcome.NOT_FOUND,
    "refused": Outcome.REFUSED,
}


class Toy(Channel):
    """One merchant's account, known by the secret that both sides seal with."""

    name = "toy"
    title = "ToyPay"
    limits = {"CNY": Limits(1, 5_000_000)}
    repeat = Repeat.SAME_NUMBER

    def __init__(self, url: str, secret: str, wire: Wire) -> None:
        self._url, self._secret, self._wire = url, secret.encode(), wire

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> Toy:
        return cls(settings["URL"], settings["SECRET"], Wire(channel=cls.name))

    def scenes(self) -> frozenset[str]:
        return frozenset({Scene.QR})

    def dead_at(self, *, scene: str, expires_at: datetime, now: datetime) -> datetime:
        return expires_at + DEAD_MARGIN  # it takes no money after `until`

    def create(self, attempt: Attempt) -> Created:
        wish = {"amount": attempt.amount_minor, "until": attempt.expires_at.isoformat()}
        answer = self._ask("create", attempt.number, wish | {"notify": attempt.notify_url})
        if answer.get("state") == "refused":
            raise Refused("ToyPay refused the payment", code="refused")
        try:
            return Created(action={"type": "qr", "content": read_word(answer, "code", limit=512)})
        except BadField as error:
            raise Unanswered("the answer holds nothing to pay with", code="malformed") from error

    def query(self, attempt: Attempt) -> PaymentReport:
        return self._ask_about("query", attempt.number)

    def close(self, attempt: Attempt) -> PaymentReport:
        return self._ask_about("close", attempt.number)

    def refund(self, request: RefundRequest) -> RefundReport:
        wish = {"amount": request.amount_minor, "trade": request.channel_number}
        report = self._ask_about_refund("refund", request.number, wish)
        if report.outcome is Outcome.REFUSED:
            raise Refused("ToyPay refused the refund", code=report.code)
        return report

    def query_refund(self, request: RefundRequest) -> RefundReport:
        return self._ask_about_refund("query_refund", request.number)

    def read_callback(self, raw: RawCallback) -> CallbackMessage:
        data = self._open(raw.headers, raw.body)
        try:
            message_id, number = read_word(data, "id"), read_word(data, "number")
        except BadField as error:
            raise NotGenuine("body") from error
        return CallbackMessage(message_id=message_id, kind="payment", report=_read_payment(data, number))

    def acknowledge(self) -> CallbackReply:
        return CallbackReply(status=200, body=b'{"state":"taken"}')

    def refuse_callback(self, reason: str) -> CallbackReply:
        return CallbackReply(status=400, body=b'{"state":"refused"}')

    def statement_ready_at(self, day: date) -> datetime:
        return datetime.combine(day + timedelta(days=1), time(6), UTC)

    def fetch_statement(self, day: date, into: BinaryIO) -> None:
        answer = self._ask("statement", day.isoformat())  # verified, and short: ToyPay sells toys
        into.write(json.dumps(answer).encode())

    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        try:
            for line in parse_json(file.read())["lines"]:
                yield StatementLine(
                    kind=LineKind(line["kind"]),
                    number=read_word(line, "number"),
                    channel_number=read_word(line, "trade"),
                    amount_minor=read_minor(line, "amount"),
                    currency=read_word(line, "currency"),
                )
        except (LookupError, TypeError, ValueError) as error:
            raise BadStatement("not a statement of ToyPay") from error

    # ---- there and back ----

    def _ask_about(self, operation: str, number: str) -> PaymentReport:
        try:
            return _read_payment(self._ask(operation, number), number)
        except ChannelError as error:
            return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code=error.code)

    def _ask_about_refund(
        self, operation: str, number: str, wish: Mapping[str, Any] | None = None
    ) -> RefundReport:
        try:
            return _read_refund(self._ask(operation, number, wish), number)
        except ChannelError as error:
            return RefundReport(outcome=Outcome.UNKNOWN, number=number, code=error.code)

    def _ask(self, operation: str, number: str, wish: Mapping[str, Any] | None = None) -> dict[str, Any]:
        body = json.dumps({"do": operation, "number": number, **(wish or {})}).encode()
        headers = {"Seal": self._seal(body)}
        reply = self._wire.send(
            "POST", self._url, headers=headers, body=body, operation=operation, number=number
        )
        try:
            return self._open(reply.headers, reply.body)
        except NotGenuine as error:
            raise Unanswered("the answer does not verify", code=error.reason) from error

    def _open(self, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        given = headers.get("seal", "").encode(errors="replace")
        if not hmac.compare_digest(given, self._seal(body).encode()):
            raise NotGenuine("seal")
        try:
            return parse_json(body)
        except BadField as error:
            raise NotGenuine("body") from error

    def _seal(self, body: bytes) -> str:
        return hmac.new(self._secret, body, hashlib.sha256).hexdigest()


def _read_payment(data: Mapping[str, Any], number: str) -> PaymentReport:
    try:
        outcome, state = _read_state(data, number)
        if outcome is not Outcome.SUCCEEDED:
            return PaymentReport(outcome=outcome, number=number, code=state)
        return PaymentReport(
            outcome=outcome,
            number=number,
            channel_number=read_word(data, "trade"),
            amount_minor=read_minor(data, "amount"),
            currency=read_word(data, "currency"),
            paid_at=read_moment(data, "paid_at"),
            code=state,
        )
    except BadField:
        return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code="malformed")


def _read_refund(data: Mapping[str, Any], number: str) -> RefundReport:
    try:
        outcome, state = _read_state(data, number)
        if outcome is not Outcome.SUCCEEDED:
            return RefundReport(outcome=outcome, number=number, code=state)
        trade, amount = read_word(data, "trade"), read_minor(data, "amount")
        return RefundReport(
            outcome=outcome, number=number, channel_number=trade, amount_minor=amount, code=state
        )
    except BadField:
        return RefundReport(outcome=Outcome.UNKNOWN, number=number, code="malformed")


def _read_state(data: Mapping[str, Any], number: str) -> tuple[Outcome, str]:
    if data.get("number") != number:
        return Outcome.UNKNOWN, "about_another"
    state = read_word(data, "state")
    return STATES.get(state, Outcome.UNKNOWN), state
