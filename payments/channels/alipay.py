"""Alipay's open platform, RSA2 with public keys: our words into its calls, its answers and notifications into our words.

What can decide about money is verified over the text exactly as it came, and what does not verify is *unknown*. This room
reports amounts as they came and never judges them; it keeps nothing about any payment. Protocol facts are the open
platform's documentation (opendocs.alipay.com), by its sections on signing, alipay.trade.*, asynchronous notifications
and alipay.data.dataservice.bill.downloadurl.query.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, auto
from typing import Any, BinaryIO
from urllib.parse import unquote_plus, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from .base import (
    DEAD_MARGIN,
    Attempt,
    BadStatement,
    CallbackMessage,
    CallbackReply,
    Channel,
    ChannelError,
    Created,
    Impossible,
    Limits,
    LineKind,
    NotGenuine,
    NotReady,
    Outcome,
    PaymentReport,
    RawCallback,
    RefundReport,
    RefundRequest,
    Refused,
    Repeat,
    Report,
    Scene,
    StatementLine,
    Unanswered,
)
from .fields import BadField, is_word, parse_json, read_word
from .seals import BadKey, read_private_key, read_public_key, sign_rsa_sha256, verify_rsa_sha256
from .wire import Reply, Wire, is_loopback, is_safe_url

# ---- Alipay's words and what they mean ---------------------------------------------------------------------------

TRADE_STATES = {
    "WAIT_BUYER_PAY": Outcome.OPEN,
    "TRADE_SUCCESS": Outcome.SUCCEEDED,
    "TRADE_FINISHED": Outcome.SUCCEEDED,  # and no refund is possible any more
    "TRADE_CLOSED": Outcome.CLOSED,  # unless it tells when it was paid: then it went back in full since
}
REFUND_DONE = "REFUND_SUCCESS"  # the only status there is; without one the refund was not received or failed
PAYMENT_KIND = "trade_status_sync"


class Meaning(Enum):
    """What an error code says about what we asked for."""

    MISSING = auto()  # there is no such trade or bill
    PAID = auto()
    ENDED = auto()  # closed before, or in a state that does not allow it
    REFUSED = auto()  # not done, nor will it be when repeated
    UNDECIDED = auto()  # may be done, or may be done when repeated


# By `code`, where no `sub_code` has to be read. What is in neither table is UNDECIDED.
GATEWAY_CODES = dict.fromkeys(("20001", "40001", "40002", "40003", "40006"), Meaning.REFUSED)
# By the end of `sub_code` under 40004: the prefix is ACQ., sometimes AQC. or isp., and the case varies too.
ERRORS = {
    **dict.fromkeys(("TRADE_NOT_EXIST", "BILL_NOT_EXIST"), Meaning.MISSING),
    "TRADE_HAS_SUCCESS": Meaning.PAID,
    "TRADE_HAS_CLOSE": Meaning.ENDED,
    **dict.fromkeys(
        ("TRADE_STATUS_ERROR", "REASON_TRADE_STATUS_INVALID", "REASON_ILLEGAL_STATUS"), Meaning.ENDED
    ),
    **dict.fromkeys(("INVALID_PARAMETER", "ACCESS_FORBIDDEN", "EXIST_FORBIDDEN_WORD"), Meaning.REFUSED),
    **dict.fromkeys(("PARTNER_ERROR", "TOTAL_FEE_EXCEED", "INVALID_ARGUMENTS"), Meaning.REFUSED),
    **dict.fromkeys(("TRADE_HAS_FINISHED", "TRADE_NOT_ALLOW_REFUND"), Meaning.REFUSED),
    **dict.fromkeys(("NOT_ALLOW_PARTIAL_REFUND", "REFUND_AMT_NOT_EQUAL_TOTAL"), Meaning.REFUSED),
    **dict.fromkeys(("REASON_TRADE_REFUND_FEE_ERR", "REFUND_FEE_ERROR"), Meaning.REFUSED),
    "DISCORDANT_REPEAT_REQUEST": Meaning.REFUSED,
    "CONTEXT_INCONSISTENT": Meaning.UNDECIDED,  # a trade stands under our number: ask about it
    **dict.fromkeys(("SYSTEM_ERROR", "REFUND_CHARGE_ERROR"), Meaning.UNDECIDED),
    # The same refund succeeds when the merchant has money again, or the trade is free again.
    **dict.fromkeys(("SELLER_BALANCE_NOT_ENOUGH", "REASON_TRADE_BEEN_FREEZEN"), Meaning.UNDECIDED),
}

# ---- limits ------------------------------------------------------------------------------------------------------

BEIJING = timezone(timedelta(hours=8))
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
AMOUNT = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,2})?")
NUMBER = re.compile(r"[0-9A-Za-z_]{1,64}")
MAX_SUBJECT = 256  # characters
MAX_REASON = 256
MAX_NOTIFY_URL = 256
LEAST_CODE_LIFE = timedelta(minutes=1)  # the unit in which the life of an unscanned code is told
# The documentation of the refund query: asked sooner, it may not know a refund yet that succeeds after all.
REFUND_IS_KNOWN_AFTER = timedelta(seconds=15)
BILL_READY = time(10, tzinfo=BEIJING)  # people report about 9 o'clock

# The signed text joins raw values: one that holds "&name=" would be two fields under the same signature.
AMBIGUOUS = re.compile(r"&\w+=")
NAME = re.compile(r"[0-9A-Za-z_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that may be believed: its `data`, and of an error `code` and `meaning`, which is None of a success."""

    data: Mapping[str, Any]
    code: str = ""
    meaning: Meaning | None = None

    @property
    def is_done(self) -> bool:
        """Alipay did what was asked."""
        return self.meaning is None

    @property
    def is_missing(self) -> bool:
        """There is no such thing."""
        return self.meaning is Meaning.MISSING


class Alipay(Channel):
    """One app of one merchant. `alipay_keys` are the keys that Alipay may sign with, two while it changes them."""

    name = "alipay"
    title = "Alipay"
    limits = {"CNY": Limits(1, 10**10)}
    repeat = Repeat.SAME_NUMBER

    def __init__(
        self,
        *,
        gateway_url: str,
        app_id: str,
        seller_id: str,
        app_key: RSAPrivateKey,
        alipay_keys: Sequence[RSAPublicKey],
        wire: Wire,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not alipay_keys:
            raise BadKey("Alipay needs at least one public key of Alipay's")
        self._gateway_url = gateway_url
        self._app_id, self._seller_id = app_id, seller_id
        self._app_key, self._alipay_keys = app_key, tuple(alipay_keys)
        self._wire, self._clock = wire, clock

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> Alipay:
        """Build it from settings, all of them required. Raises BadKey for a key that cannot be used."""
        return cls(
            gateway_url=settings["GATEWAY_URL"],
            app_id=settings["APP_ID"],
            seller_id=settings["SELLER_ID"],
            app_key=read_private_key(settings["APP_KEY_FILE"]),
            alipay_keys=[read_public_key(path) for path in list_alipay_keys(settings)],
            wire=Wire(channel=cls.name),
        )

    def scenes(self) -> frozenset[str]:
        return frozenset({Scene.QR, Scene.WAP, Scene.APP})

    def dead_at(self, *, scene: str, expires_at: datetime, now: datetime) -> datetime:
        # Scanned or not, nothing is payable after time_expire; the code of a create that is repeated at the last moment
        # lives a minute from then.
        return max(expires_at, now) + LEAST_CODE_LIFE + DEAD_MARGIN

    # ---- payments ----

    def create(self, attempt: Attempt) -> Created:
        self._refuse_impossible_order(attempt)
        if attempt.scene == Scene.QR:
            return Created(action={"type": "qr", "content": self._precreate(attempt)})
        # Alipay makes the trade when the shopper comes with this: there is nobody to call yet.
        if attempt.scene == Scene.WAP:
            url = f"{self._gateway_url}?{self._sign_wap(attempt)}"
            return Created(action={"type": "redirect", "url": url})
        return Created(action={"type": "sdk", "params": {"orderString": self._sign_app(attempt)}})

    def _precreate(self, attempt: Attempt) -> str:
        # Counted from each making of a code, in whole minutes; its own default of 2 h would outlive the order.
        minutes = max(LEAST_CODE_LIFE, attempt.expires_at - self._clock()) // timedelta(minutes=1)
        content = _content_of(attempt) | {"qr_code_timeout_express": f"{minutes}m"}
        common = {"notify_url": attempt.notify_url}
        answer = self._ask("alipay.trade.precreate", "create", attempt.number, content, **common)
        # Gateway errors need not be signed. They may end a create all the same: what can be paid stands only in the
        # answer of a create that succeeded, so nobody holds it; and if money came, a failed payment would take it.
        if answer.meaning is Meaning.REFUSED:
            raise Refused("Alipay refused the payment", code=answer.code)
        if not answer.is_done:
            raise Unanswered("Alipay did not say whether it took the payment", code=answer.code)
        if not _is_about(answer.data, out_trade_no=attempt.number):
            raise Unanswered("the answer is about another payment", code="about_another")
        try:
            return read_word(answer.data, "qr_code", limit=512)
        except BadField as error:
            raise Unanswered("the answer holds nothing to pay with", code="malformed") from error

    def _sign_wap(self, attempt: Attempt) -> str:
        content = _content_of(attempt) | {"product_code": "QUICK_WAP_WAY", "quit_url": attempt.return_url}
        urls = {"notify_url": attempt.notify_url, "return_url": attempt.return_url}
        return urlencode(self._sign("alipay.trade.wap.pay", content, **urls))

    def _sign_app(self, attempt: Attempt) -> str:
        content = _content_of(attempt) | {"product_code": "QUICK_MSECURITY_PAY"}
        return urlencode(self._sign("alipay.trade.app.pay", content, notify_url=attempt.notify_url))

    def query(self, attempt: Attempt) -> PaymentReport:
        number = attempt.number
        answer = self._try("alipay.trade.query", "query", number, {"out_trade_no": number})
        if not answer.is_done and not answer.is_missing:
            return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code=answer.code)
        # Also for "not there": after dead_at it ends the attempt, so it must be about this one.
        if not _is_about(answer.data, out_trade_no=number):
            return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code="about_another")
        if answer.is_missing:  # normal until the code is scanned or the shopper has logged in
            return PaymentReport(outcome=Outcome.NOT_FOUND, number=number, code=answer.code)
        return _read_payment(answer.data, paid_at="send_pay_date")

    def close(self, attempt: Attempt) -> PaymentReport:
        """As the contract says. A code that nobody scanned is NOT_FOUND: it cannot be closed and stays payable.

        Never alipay.trade.cancel, which could kill that code: of a trade that was paid a moment ago it gives the money
        back, as a refund that no record of ours knows.
        """
        number = attempt.number
        answer = self._try("alipay.trade.close", "close", number, {"out_trade_no": number})
        if answer.is_done and _is_about(answer.data, out_trade_no=number):
            return PaymentReport(outcome=Outcome.CLOSED, number=number)
        if answer.meaning not in (Meaning.PAID, Meaning.ENDED):
            outcome = Outcome.NOT_FOUND if answer.is_missing else Outcome.UNKNOWN
            return PaymentReport(outcome=outcome, number=number, code=answer.code or "about_another")
        # An error decides nothing about money: a query does.
        report = self.query(attempt)
        if report.outcome in (Outcome.SUCCEEDED, Outcome.CLOSED):
            return report
        return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code=answer.code)

    def _refuse_impossible_order(self, attempt: Attempt) -> None:
        limits = self.limits.get(attempt.currency)
        _refuse_unless(
            scene=attempt.scene in self.scenes(),
            currency=limits,
            amount=limits and limits.least <= attempt.amount_minor <= limits.most,
            number=NUMBER.fullmatch(attempt.number),
            description=1 <= len(attempt.description) <= MAX_SUBJECT,
            notify_url=is_safe_url(attempt.notify_url) and len(attempt.notify_url) <= MAX_NOTIFY_URL,
            return_url=attempt.scene != Scene.WAP or is_safe_url(attempt.return_url),
            expires_at=attempt.expires_at > self._clock(),
        )

    # ---- refunds ----

    def refund(self, request: RefundRequest) -> RefundReport:
        self._refuse_impossible_refund(request)
        content = _trade_of(request) | {
            "refund_amount": _to_yuan(request.amount_minor),
            "out_request_no": request.number,
            **({"refund_reason": request.reason} if request.reason else {}),
        }
        try:
            answer = self._ask("alipay.trade.refund", "refund", request.number, content)
        except Unanswered as error:
            return _unknown_refund(request, error.code)
        if answer.is_done:
            return self._read_refund(answer, request)
        if answer.meaning is Meaning.UNDECIDED:
            return _unknown_refund(request, answer.code)
        return self._read_refusal(answer, request)

    def _read_refund(self, answer: Answer, request: RefundRequest) -> RefundReport:
        if not _is_about(answer.data, **_trade_of(request)):
            return _unknown_refund(request, "about_another")
        if answer.data.get("fund_change") == "Y":
            # Without an amount: refund_fee is what went back of the trade until now, all refunds together.
            return _done_refund(request, code="fund_change_Y")
        # This call moved nothing: it was done before, or is not done yet.
        known = self.query_refund(request)
        return known if known.outcome is Outcome.SUCCEEDED else _unknown_refund(request, "fund_change_N")

    def _read_refusal(self, answer: Answer, request: RefundRequest) -> RefundReport:
        # What was refused is one day sent again under a new number, so one error is not enough: Alipay must also say
        # that it does not know this refund, and be asked late enough to know what an earlier try did.
        known = self.query_refund(request)
        if known.outcome is not Outcome.NOT_FOUND:
            return known
        if self._clock() - request.started_at < REFUND_IS_KNOWN_AFTER:
            return _unknown_refund(request, answer.code)
        raise Refused("Alipay refused the refund", code=answer.code)

    def query_refund(self, request: RefundRequest) -> RefundReport:
        content = _trade_of(request) | {"out_request_no": request.number}
        answer = self._try("alipay.trade.fastpay.refund.query", "query_refund", request.number, content)
        if not answer.is_done:
            outcome = Outcome.NOT_FOUND if answer.is_missing else Outcome.UNKNOWN
            return RefundReport(outcome=outcome, number=request.number, code=answer.code)
        # Success of the query alone proves nothing: for an unknown number it is success with nothing in it.
        if "refund_status" not in answer.data and "refund_amount" not in answer.data:
            return RefundReport(outcome=Outcome.NOT_FOUND, number=request.number, code="absent")
        return _read_refund_status(answer.data, request)

    def _refuse_impossible_refund(self, request: RefundRequest) -> None:
        _refuse_unless(
            currency=request.currency in self.limits,
            amount=1 <= request.amount_minor <= request.paid_minor,
            number=NUMBER.fullmatch(request.number),
            reason=len(request.reason) <= MAX_REASON,
        )

    # ---- callbacks ----

    def read_callback(self, raw: RawCallback) -> CallbackMessage:
        fields = _read_form(raw.body)
        signature = fields.pop("sign", "")
        if fields.pop("sign_type", "") != "RSA2":
            raise NotGenuine("sign_type")
        if not self._is_alipays(signature, _text_to_sign(fields)):
            raise NotGenuine("signature")
        if any(AMBIGUOUS.search(value) for value in fields.values()):
            raise NotGenuine("ambiguous")
        for name, expected in (("app_id", self._app_id), ("seller_id", self._seller_id)):
            if fields.get(name) != expected:
                raise NotGenuine(name, number=_word_or_none(fields, "out_trade_no"))
        try:
            message_id, kind = read_word(fields, "notify_id"), read_word(fields, "notify_type")
        except BadField as error:
            raise NotGenuine("body") from error
        return CallbackMessage(message_id=message_id, kind=kind, report=_read_notification(kind, fields))

    def acknowledge(self) -> CallbackReply:
        return CallbackReply(status=200, body=b"success", content_type="text/plain")

    def refuse_callback(self, reason: str) -> CallbackReply:
        return CallbackReply(status=400, body=b"fail", content_type="text/plain")

    # ---- statements ----

    def statement_ready_at(self, day: date) -> datetime:
        return datetime.combine(day + timedelta(days=1), BILL_READY).astimezone(UTC)

    def fetch_statement(self, day: date, into: BinaryIO) -> None:
        """Write the ZIP of the day's trade bill as it came; a day is Beijing's. The address is signed, the file is not."""
        content = {"bill_type": "trade", "bill_date": day.isoformat()}
        answer = self._ask("alipay.data.dataservice.bill.downloadurl.query", "statement", "", content)
        if answer.is_missing:
            raise NotReady("Alipay has no bill of this day", code=answer.code)
        if answer.meaning is Meaning.REFUSED:
            raise Refused("Alipay refused the bill", code=answer.code)
        if not answer.is_done:
            raise Unanswered("Alipay did not tell where the bill is", code=answer.code)
        reply = self._wire.download(
            "GET", _bill_address(answer.data), headers={}, into=into, operation="statement"
        )
        if reply.status != 200:  # the address is good for 30 s
            raise Unanswered("the bill did not come", code=f"HTTP{reply.status}")

    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        try:
            with (
                zipfile.ZipFile(file) as archive,
                archive.open(_find_details(archive)) as raw,
                # A superset of the GBK that it is written in. newline="": csv wants to see them all.
                io.TextIOWrapper(raw, encoding="gb18030", newline="") as text,
            ):
                yield from self._read_lines(text)
        except BadStatement:
            raise
        except _DAMAGED as error:
            raise BadStatement(f"the bill cannot be read: {type(error).__name__}") from error

    def _read_lines(self, text: io.TextIOWrapper) -> Iterator[StatementLine]:
        names: list[str] = []
        is_ours = is_whole = False
        for line, row in enumerate(csv.reader(text), start=1):
            cells = [
                cell.strip() for cell in row
            ]  # a number ends with a tab, which keeps spreadsheets off it
            if not cells or cells[0].startswith("#"):
                remark = "".join(cells)
                is_ours = is_ours or remark.startswith(f"#账号：[{self._seller_id}")
                is_whole = is_whole or "业务明细列表结束" in remark
            elif not is_ours:
                raise BadStatement(f"line {line}: the bill is not of this account")
            elif not names:
                names = _check_columns(cells)
            elif len(cells) != len(names):
                raise BadStatement(f"line {line}: {len(cells)} columns in place of {len(names)}")
            else:
                yield _read_line(line, dict(zip(names, cells, strict=True)))
        if not is_whole:
            raise BadStatement("the bill has no end")

    # ---- there and back ----

    def _try(self, *call: Any) -> Answer:
        """`_ask`, with a failure as an answer that decides nothing."""
        try:
            return self._ask(*call)
        except ChannelError as error:
            return Answer(data={}, code=error.code, meaning=Meaning.UNDECIDED)

    def _ask(
        self, method: str, operation: str, number: str, content: Mapping[str, Any], **common: str
    ) -> Answer:
        """Sign, send, verify. Raises Unreachable or Unanswered."""
        reply = self._wire.send(
            "POST",
            self._gateway_url,
            headers={"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"},
            body=urlencode(self._sign(method, content, **common)).encode(),
            operation=operation,
            number=number,
            code_of=_error_code,
        )
        return self._believe(reply, method)

    def _sign(self, method: str, content: Mapping[str, Any], **common: str) -> dict[str, str]:
        fields = {
            "app_id": self._app_id,
            "method": method,
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": _to_beijing(self._clock()),
            "version": "1.0",
            "biz_content": json.dumps(content, ensure_ascii=False, separators=(",", ":")),
            **common,
        }
        return fields | {"sign": sign_rsa_sha256(self._app_key, _text_to_sign(fields))}

    def _believe(self, reply: Reply, method: str) -> Answer:
        if reply.status != 200:  # errors of Alipay's come with 200 too
            raise Unanswered("the call did not reach Alipay's service", code=f"HTTP{reply.status}")
        try:
            members = _split(reply.body)
            inner = members.get(f"{method.replace('.', '_')}_response") or members["error_response"]
            signature = json.loads(members.get("sign", '""'))
            data = parse_json(inner.encode())
            code = read_word(data, "code")
        except (BadField, KeyError) as error:
            raise Unanswered("the answer cannot be read", code="malformed") from error
        is_signed = isinstance(signature, str) and self._is_alipays(signature, inner.encode())
        # A refusal of the gateway itself may come without a signature, but not with a bad one.
        if not is_signed and (signature != "" or code not in GATEWAY_CODES):
            raise Unanswered("the answer does not verify", code="unverified")
        return _read_answer(code, data)

    def _is_alipays(self, signature: str, text: bytes) -> bool:
        return any(verify_rsa_sha256(key, signature, text) for key in self._alipay_keys)


def list_alipay_keys(settings: Mapping[str, str]) -> list[str]:
    """The key files: one, or two by comma while Alipay changes its key."""
    return [path.strip() for path in settings["ALIPAY_KEY_FILE"].split(",")]


# ---- reading answers ---------------------------------------------------------------------------------------------

_JSON = json.JSONDecoder()


def _split(body: bytes) -> dict[str, str]:
    """The members of a JSON object, each value's text exactly as it was sent: that is what a signature covers.

    Found by a scanner that knows strings: counting braces fails on one inside a subject. Raises BadField.
    """
    members: dict[str, str] = {}
    try:
        text = body.decode("utf-8")
        place = _pass(text, 0, "{")
        while not members or text[place] == ",":
            name, place = _JSON.raw_decode(text, _pass(text, place, ",") if members else place)
            start = _pass(text, place, ":")
            _, end = _JSON.raw_decode(text, start)
            if not isinstance(name, str) or name in members:
                raise BadField("a name stands twice")
            members[name], place = text[start:end], _pass(text, end)
        is_whole = _pass(text, place, "}") == len(text)
    except (ValueError, IndexError, RecursionError) as error:
        raise BadField("not a JSON object") from error
    if not is_whole:
        raise BadField("more than a JSON object")
    return members


def _pass(text: str, place: int, mark: str = "") -> int:
    """The place behind blanks, `mark` and blanks again. Raises ValueError when the mark is not there."""
    while text[place : place + 1] in {" ", "\t", "\r", "\n"}:
        place += 1
    if not text.startswith(mark, place):
        raise ValueError(mark)
    return _pass(text, place + len(mark)) if mark else place


def _read_answer(code: str, data: Mapping[str, Any]) -> Answer:
    if code == "10000":
        return Answer(data=data)
    sub_code = _word_or_none(data, "sub_code")
    meaning = GATEWAY_CODES.get(code, Meaning.UNDECIDED)
    if code == "40004":
        meaning = ERRORS.get(sub_code.rpartition(".")[2].upper(), Meaning.UNDECIDED)
    return Answer(data=data, code=sub_code or code, meaning=meaning)


def _error_code(reply: Reply) -> str:
    """The code of an error answer, safe to store and log; "" when there is none."""
    try:
        members = _split(reply.body)
        inner = parse_json(next(iter(members.values())).encode())
        code = read_word(inner, "code")
    except BadField:
        return ""
    return "" if code == "10000" else _word_or_none(inner, "sub_code") or code


def _read_payment(data: Mapping[str, Any], *, paid_at: str) -> PaymentReport:
    """Read a trade that is verified and ours. What is not as documented makes it UNKNOWN."""
    try:
        number, state = read_word(data, "out_trade_no"), read_word(data, "trade_status")
        outcome = TRADE_STATES.get(state, Outcome.UNKNOWN)
        if outcome is Outcome.CLOSED and data.get(paid_at):
            outcome = Outcome.SUCCEEDED  # paid, and all of it went back since: that does not undo the payment
        if outcome is not Outcome.SUCCEEDED:
            return PaymentReport(outcome=outcome, number=number, code=state)
        return PaymentReport(
            outcome=outcome,
            number=number,
            channel_number=read_word(data, "trade_no"),
            amount_minor=_read_fen(data, "total_amount"),  # buyer_pay_amount is less after a discount
            # Only cross-border trades name the currency of total_amount.
            currency=read_word(data, "trans_currency", limit=3) if "trans_currency" in data else "CNY",
            paid_at=_read_time(data, paid_at),
            code=state,
            needs_person=state == "TRADE_CLOSED",  # where this is the first that we hear of the payment
        )
    except BadField:
        number = _word_or_none(data, "out_trade_no")
        return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code="malformed")


def _read_refund_status(data: Mapping[str, Any], request: RefundRequest) -> RefundReport:
    if not _is_about(data, out_request_no=request.number, **_trade_of(request)):
        return _unknown_refund(request, "about_another")
    try:
        status, amount = read_word(data, "refund_status"), _read_fen(data, "refund_amount")
    except BadField:
        return _unknown_refund(request, "malformed")
    if status != REFUND_DONE:
        return _unknown_refund(request, status)
    return _done_refund(request, code=status, amount_minor=amount)


def _done_refund(request: RefundRequest, *, code: str, amount_minor: int | None = None) -> RefundReport:
    # Alipay gives a refund no number of its own.
    return RefundReport(
        outcome=Outcome.SUCCEEDED,
        number=request.number,
        payment_number=request.payment_number,
        trade_number=request.channel_number,
        amount_minor=amount_minor,
        code=code,
    )


def _unknown_refund(request: RefundRequest, code: str) -> RefundReport:
    return RefundReport(outcome=Outcome.UNKNOWN, number=request.number, code=code)


# ---- reading notifications ---------------------------------------------------------------------------------------


def _read_form(body: bytes) -> dict[str, str]:
    """The fields of a form, without empty ones, which no signature covers. Raises NotGenuine."""
    fields: dict[str, str] = {}
    try:
        for pair in body.decode("ascii").split("&"):
            name, mark, value = pair.partition("=")
            name = unquote_plus(name, errors="strict")
            if not mark or name in fields or not NAME.fullmatch(name):
                raise NotGenuine("form")
            fields[name] = unquote_plus(value, errors="strict")
    except UnicodeDecodeError as error:
        raise NotGenuine("form") from error
    return {name: value for name, value in fields.items() if value}


def _read_notification(kind: str, fields: Mapping[str, str]) -> Report:
    state = fields.get("trade_status", "")
    if kind != PAYMENT_KIND:  # genuine, but we cannot read it: kept, and nothing follows from it
        number = _word_or_none(fields, "out_trade_no")
        return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code=kind)
    # A finished trade still tells its last refund, but is no news of it.
    if state in ("TRADE_SUCCESS", "TRADE_CLOSED") and ("gmt_refund" in fields or "out_biz_no" in fields):
        return _read_refund_notice(state, fields)
    return _read_payment(fields, paid_at="gmt_payment")


def _read_refund_notice(state: str, fields: Mapping[str, str]) -> RefundReport:
    """A refund, ours or made in Alipay's console, went back.

    Its amount is not in the message: refund_fee is the sum of all refunds of the trade. For ours that is enough, as
    Alipay takes one number with one amount only; of another one the amount has to be asked for.
    """
    number = _word_or_none(fields, "out_biz_no")
    is_told = bool(number) and is_word(fields.get("out_trade_no")) and is_word(fields.get("trade_no"))
    return RefundReport(
        outcome=Outcome.SUCCEEDED if is_told else Outcome.UNKNOWN,
        number=number,
        payment_number=_word_or_none(fields, "out_trade_no"),
        trade_number=_word_or_none(fields, "trade_no"),
        code=state if is_told else "malformed",
    )


# ---- reading bills -----------------------------------------------------------------------------------------------

# All that reading a damaged archive has been seen to raise.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    csv.Error,
    ValueError,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
)
_KINDS = {"交易": LineKind.PAYMENT, "退款": LineKind.REFUND}
_COLUMNS = (
    *("支付宝交易号", "商户订单号", "业务类型", "完成时间"),
    *("订单金额（元）", "退款批次号/请求号", "服务费（元）"),
)


def _bill_address(data: Mapping[str, Any]) -> str:
    """Where the bill is. Documented addresses begin with http; nothing is fetched by it but on this machine."""
    try:
        url = read_word(data, "bill_download_url", limit=2048)
        is_plain = urlsplit(url).scheme == "http" and not is_loopback(urlsplit(url).hostname or "")
    except ValueError as error:
        raise Unanswered("the answer names no address", code="malformed") from error
    url = f"https{url.removeprefix('http')}" if is_plain else url
    if not is_safe_url(url):
        raise Unanswered("the answer names no address", code="malformed")
    return url


def _find_details(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The file of single lines beside the summary. Names are GBK, which zipfile takes for its old default."""
    for entry in archive.infolist():
        is_marked = entry.flag_bits & 0x800
        name = entry.filename if is_marked else entry.filename.encode("cp437").decode("gb18030")
        if name.endswith("_业务明细.csv"):
            return entry
    raise BadStatement("the bill holds no file of trades")


def _check_columns(cells: list[str]) -> list[str]:
    missing = [name for name in _COLUMNS if cells.count(name) != 1]
    if missing:
        raise BadStatement(f"the bill has no column {missing[0]}")
    return cells


def _read_line(line: int, cells: Mapping[str, str]) -> StatementLine:
    kind = _KINDS.get(cells["业务类型"])
    if kind is None:
        raise BadStatement(f"line {line}: 业务类型 is unknown")
    try:
        fen, fee = _read_fen(cells, "订单金额（元）", sign=kind), abs(_to_fen(cells, "服务费（元）"))
        trade_number, at = read_word(cells, "支付宝交易号"), _read_time(cells, "完成时间")
    except BadField as error:
        raise BadStatement(f"line {line}: {error} is not as documented") from error
    ours = cells["商户订单号"]
    if kind is LineKind.PAYMENT:
        return StatementLine(
            kind=kind, number=ours, channel_number=trade_number, amount_minor=fen, currency="CNY",
            fee_minor=fee, at=at,
        )  # fmt: skip
    return StatementLine(
        kind=kind, number=cells["退款批次号/请求号"], channel_number="", amount_minor=fen, currency="CNY",
        fee_minor=-fee, payment_number=ours, trade_number=trade_number, at=at,
    )  # fmt: skip


# ---- single fields -----------------------------------------------------------------------------------------------


def _to_fen(data: Mapping[str, Any], name: str) -> int:
    """Yuan as written, with at most two places, in fen."""
    value = data.get(name)
    if not isinstance(value, str) or not AMOUNT.fullmatch(value):
        raise BadField(name)
    return int(Decimal(value) * 100)


def _read_fen(data: Mapping[str, Any], name: str, *, sign: LineKind = LineKind.PAYMENT) -> int:
    """A positive amount; in a bill that of a refund is written negative."""
    fen = _to_fen(data, name) * (-1 if sign is LineKind.REFUND else 1)
    if fen < 1:
        raise BadField(name)
    return fen


def _read_time(data: Mapping[str, Any], name: str) -> datetime:
    """A time of Beijing, written without its offset, in UTC."""
    value = data.get(name)
    if not isinstance(value, str) or not TIME.fullmatch(value):
        raise BadField(name)
    try:
        return datetime.fromisoformat(value).replace(tzinfo=BEIJING).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadField(name) from error


def _is_about(data: Mapping[str, Any], **expected: str) -> bool:
    return all(data.get(name) == value for name, value in expected.items())


def _word_or_none(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if is_word(value) else ""


# ---- writing -----------------------------------------------------------------------------------------------------


def _text_to_sign(fields: Mapping[str, str]) -> bytes:
    """Raw values, sorted by name, without empty ones. Of a request with sign_type, of a notification without."""
    return "&".join(f"{name}={value}" for name, value in sorted(fields.items()) if value).encode()


def _content_of(attempt: Attempt) -> dict[str, str]:
    """What all three ways of paying tell. time_expire is a moment; timeout_express would begin again at the scan."""
    return {
        "out_trade_no": attempt.number,
        "total_amount": _to_yuan(attempt.amount_minor),
        # Alipay wants none of these three in a subject; it comes back in notifications, whose text they would blur.
        "subject": re.sub("[/=&]", " ", attempt.description),
        "time_expire": _to_beijing(attempt.expires_at),
    }


def _trade_of(request: RefundRequest) -> dict[str, str]:
    """Which trade. By both numbers: a payment that was paid twice has two trades, and it is this one's money."""
    numbers = {"out_trade_no": request.payment_number, "trade_no": request.channel_number}
    return {name: number for name, number in numbers.items() if number}


def _to_yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"


def _to_beijing(moment: datetime) -> str:
    return moment.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def _refuse_unless(**possible: object) -> None:
    """Raises Impossible, before anything is sent, for the first field that Alipay cannot take."""
    for name, is_possible in possible.items():
        if not is_possible:
            raise Impossible(f"Alipay cannot take this {name}", code=f"invalid_{name}")
