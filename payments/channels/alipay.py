"""Alipay's open platform, RSA2 with public keys: our words into its calls, its answers and notifications into our words.

What can decide about money is verified over the text exactly as it came, and what does not verify is *unknown*. This room
reports amounts as they came and never judges them; it keeps nothing about any payment. Protocol facts, here and in the
rooms `alipay_…` beside, are the open platform's documentation (opendocs.alipay.com), by its sections on signing,
alipay.trade.*, asynchronous notifications and alipay.data.dataservice.bill.downloadurl.query.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, BinaryIO
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from .alipay_reading import (
    BEIJING,
    GATEWAY_CODES,
    Answer,
    Meaning,
    cut_notification,
    done_refund,
    error_code,
    is_about,
    read_answer,
    read_notification,
    read_payment,
    read_refund_status,
    trade_of,
    unknown_refund,
    word_or_none,
)
from .alipay_seals import AMBIGUOUS, read_form, split_members, text_to_sign
from .alipay_statement import bill_address, read_bill
from .base import (
    DEAD_MARGIN,
    Attempt,
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
from .fields import BadField, parse_json, read_word
from .seals import BadKey, read_private_key, read_public_key, sign_rsa_sha256, verify_rsa_sha256
from .wire import Reply, Wire, is_safe_url

# ---- limits ------------------------------------------------------------------------------------------------------

NUMBER = re.compile(r"[0-9A-Za-z_]{1,64}")
MAX_SUBJECT = 256  # characters
MAX_REASON = 256
MAX_NOTIFY_URL = 256
LEAST_CODE_LIFE = timedelta(minutes=1)  # the unit in which the life of an unscanned code is told
# The documentation of the refund query: asked sooner, it may not know a refund yet that succeeds after all.
REFUND_IS_KNOWN_AFTER = timedelta(seconds=15)
BILL_READY = time(10, tzinfo=BEIJING)  # people report about 9 o'clock


class Alipay(Channel):
    """One app of one merchant. `alipay_keys` are the keys that Alipay may sign with, two while it changes them."""

    name = "alipay"
    title = "Alipay"
    limits = {"CNY": Limits(1, 10**10)}
    repeat = Repeat.SAME_NUMBER
    calendar = BEIJING

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
        if not is_about(answer.data, out_trade_no=attempt.number):
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
        if not is_about(answer.data, out_trade_no=number):
            return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code="about_another")
        if answer.is_missing:  # normal until the code is scanned or the shopper has logged in
            return PaymentReport(outcome=Outcome.NOT_FOUND, number=number, code=answer.code)
        return read_payment(answer.data, paid_at="send_pay_date")

    def close(self, attempt: Attempt) -> PaymentReport:
        """As the contract says. A code that nobody scanned is NOT_FOUND: it cannot be closed and stays payable.

        Never alipay.trade.cancel, which could kill that code: of a trade that was paid a moment ago it gives the money
        back, as a refund that no record of ours knows.
        """
        number = attempt.number
        answer = self._try("alipay.trade.close", "close", number, {"out_trade_no": number})
        if answer.is_done and is_about(answer.data, out_trade_no=number):
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
        content = trade_of(request) | {
            "refund_amount": _to_yuan(request.amount_minor),
            "out_request_no": request.number,
            **({"refund_reason": request.reason} if request.reason else {}),
        }
        try:
            answer = self._ask("alipay.trade.refund", "refund", request.number, content)
        except Unanswered as error:
            return unknown_refund(request, error.code)
        if answer.is_done:
            return self._read_refund(answer, request)
        if answer.meaning is Meaning.UNDECIDED:
            return unknown_refund(request, answer.code)
        return self._read_refusal(answer, request)

    def _read_refund(self, answer: Answer, request: RefundRequest) -> RefundReport:
        if not is_about(answer.data, **trade_of(request)):
            return unknown_refund(request, "about_another")
        if answer.data.get("fund_change") == "Y":
            # Without an amount: refund_fee is what went back of the trade until now, all refunds together.
            return done_refund(request, code="fund_change_Y")
        # This call moved nothing: it was done before, or is not done yet.
        known = self.query_refund(request)
        return known if known.outcome is Outcome.SUCCEEDED else unknown_refund(request, "fund_change_N")

    def _read_refusal(self, answer: Answer, request: RefundRequest) -> RefundReport:
        # What was refused is one day sent again under a new number, so one error is not enough: Alipay must also say
        # that it does not know this refund, and be asked late enough to know what an earlier try did.
        known = self.query_refund(request)
        if known.outcome is not Outcome.NOT_FOUND:
            return known
        if self._clock() - request.started_at < REFUND_IS_KNOWN_AFTER:
            return unknown_refund(request, answer.code)
        raise Refused("Alipay refused the refund", code=answer.code)

    def query_refund(self, request: RefundRequest) -> RefundReport:
        content = trade_of(request) | {"out_request_no": request.number}
        answer = self._try("alipay.trade.fastpay.refund.query", "query_refund", request.number, content)
        if not answer.is_done:
            outcome = Outcome.NOT_FOUND if answer.is_missing else Outcome.UNKNOWN
            return RefundReport(outcome=outcome, number=request.number, code=answer.code)
        # Success of the query alone proves nothing: for an unknown number it is success with nothing in it.
        if "refund_status" not in answer.data and "refund_amount" not in answer.data:
            return RefundReport(outcome=Outcome.NOT_FOUND, number=request.number, code="absent")
        return read_refund_status(answer.data, request)

    def _refuse_impossible_refund(self, request: RefundRequest) -> None:
        _refuse_unless(
            currency=request.currency in self.limits,
            amount=1 <= request.amount_minor <= request.paid_minor,
            number=NUMBER.fullmatch(request.number),
            reason=len(request.reason) <= MAX_REASON,
        )

    # ---- callbacks ----

    def read_callback(self, raw: RawCallback) -> CallbackMessage:
        fields = read_form(raw.body)
        signature = fields.pop("sign", "")
        if fields.pop("sign_type", "") != "RSA2":
            raise NotGenuine("sign_type")
        if not self._is_alipays(signature, text_to_sign(fields)):
            raise NotGenuine("signature")
        if any(AMBIGUOUS.search(value) for value in fields.values()):
            raise NotGenuine("ambiguous")
        for name, expected in (("app_id", self._app_id), ("seller_id", self._seller_id)):
            if fields.get(name) != expected:
                raise NotGenuine(name, number=word_or_none(fields, "out_trade_no"))
        try:
            message_id, kind = read_word(fields, "notify_id"), read_word(fields, "notify_type")
        except BadField as error:
            raise NotGenuine("body") from error
        return CallbackMessage(message_id=message_id, kind=kind, report=read_notification(kind, fields))

    def kept_body(self, raw: RawCallback) -> bytes:
        return cut_notification(read_form(raw.body))

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
            "GET", bill_address(answer.data), headers={}, into=into, operation="statement"
        )
        if reply.status != 200:  # the address is good for 30 s
            raise Unanswered("the bill did not come", code=f"HTTP{reply.status}")

    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        return read_bill(file, seller_id=self._seller_id)

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
            code_of=error_code,
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
        return fields | {"sign": sign_rsa_sha256(self._app_key, text_to_sign(fields))}

    def _believe(self, reply: Reply, method: str) -> Answer:
        if reply.status != 200:  # errors of Alipay's come with 200 too
            raise Unanswered("the call did not reach Alipay's service", code=f"HTTP{reply.status}")
        try:
            members = split_members(reply.body)
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
        return read_answer(code, data)

    def _is_alipays(self, signature: str, text: bytes) -> bool:
        return any(verify_rsa_sha256(key, signature, text) for key in self._alipay_keys)


def list_alipay_keys(settings: Mapping[str, str]) -> list[str]:
    """The key files: one, or two by comma while Alipay changes its key."""
    return [path.strip() for path in settings["ALIPAY_KEY_FILE"].split(",")]


# ---- writing -----------------------------------------------------------------------------------------------------


def _content_of(attempt: Attempt) -> dict[str, str]:
    """What all three ways of paying tell. time_expire is a moment; timeout_express would begin again at the scan."""
    return {
        "out_trade_no": attempt.number,
        "total_amount": _to_yuan(attempt.amount_minor),
        # Alipay wants none of these three in a subject; it comes back in notifications, whose text they would blur.
        "subject": re.sub("[/=&]", " ", attempt.description),
        "time_expire": _to_beijing(attempt.expires_at),
    }


def _to_yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"


def _to_beijing(moment: datetime) -> str:
    return moment.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def _refuse_unless(**possible: object) -> None:
    """Raises Impossible, before anything is sent, for the first field that Alipay cannot take."""
    for name, is_possible in possible.items():
        if not is_possible:
            raise Impossible(f"Alipay cannot take this {name}", code=f"invalid_{name}")
