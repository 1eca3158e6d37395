"""UnionPay's online gateway (银联全渠道) 5.1.0: our words into its requests, its answers and notifications into our words.

A trade is named by merchant, number and the moment of the intent, so a moment that was stored goes with every number.
Nothing can be closed here: a payment ends by its payTimeout. Money goes back by a refund (04) only; an undo (31) would
take the payment out of the statement. This room reports amounts as they came and keeps nothing about any payment.
Protocol facts are UnionPay's documentation (open.unionpay.com, API lists of the gateway, QR and app products, their
dictionary of response codes) and the comments in its demo packages; what those leave open is said where it matters.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from django.utils.translation import gettext_lazy as _

from shop.sentences import in_english

from .base import (
    Attempt,
    BadStatement,
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
from .fields import BadField, is_word, read_word
from .seals import read_private_key
from .unionpay_reading import (
    DONE,
    DUPLICATE,
    FILE,
    NO_FILE,
    PAY,
    QUERY,
    REFUND,
    REFUND_REFUSING,
    REFUSING,
    TAKEN_TOO_LATE,
    WRONG_REQUEST,
    cut_notice,
    read_accepted,
    read_code,
    read_notice,
    read_payment,
    read_refund,
)
from .unionpay_seals import (
    SIGN_METHOD,
    VERSION,
    Trust,
    parse_answer,
    parse_form,
    read_certificate,
    read_certificates,
    sign,
    verify,
)
from .unionpay_statement import (
    BEIJING,
    CLEARING_ENDS,
    has_book,
    read_lines,
    unpack,
)
from .wire import Reply, Wire, is_safe_url

# ---- ways to pay -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Product:
    """One of UnionPay's ways to pay. `path` is where an order is begun; `biz_type` goes with all that concerns it."""

    path: str
    sub_type: str
    biz_type: str


FRONT, BACK = "/gateway/api/frontTransReq.do", "/gateway/api/backTransReq.do"
APP, QUERY_TRADE = "/gateway/api/appTransReq.do", "/gateway/api/queryTrans.do"
PRODUCTS: Mapping[str, Product] = {
    Scene.QR: Product(BACK, "07", "000000"),
    Scene.WAP: Product(FRONT, "01", "000201"),
    Scene.APP: Product(APP, "01", "000201"),
}

# ---- limits ------------------------------------------------------------------------------------------------------

NUMBER = re.compile(r"[0-9A-Za-z]{8,32}")  # some pages allow 40, the statement has room for 32
MAX_URL = 256
# After payTimeout the shopper cannot pay any more; what the bank reports for this long was on its way before.
LATE = timedelta(minutes=5)
# What was charged after payTimeout UnionPay gives back "in about 5 working days", which holidays make many more; and it tells
# nobody. So long such an attempt is undecided: charged, and not the shop's.
GIVEN_BACK_AFTER = timedelta(days=14)
# A trade may be invisible to a query right after it was begun; UnionPay's own schedule of queries has ended after 32 s.
VISIBLE_AFTER = timedelta(seconds=60)
MAX_STATEMENT_BYTES = 20_000_000  # of the answer, some hundred bytes a trade
READY_AT = time(10)  # "the next morning"; the hour is not documented


class UnionPay(Channel):
    """One merchant's account. `cert_id` is the serial number of its signing certificate, in decimal."""

    name = "unionpay"
    title = "UnionPay"
    limits = {"CNY": Limits(1, 10**10)}
    # Whether a repeated create is answered with the first code or as a duplicate (12) is not documented.
    repeat = Repeat.ASK_THEN_NEW
    calendar = BEIJING
    can_close = False

    def __init__(
        self,
        *,
        base_url: str,
        statement_url: str,
        mer_id: str,
        key: RSAPrivateKey,
        cert_id: str,
        trust: Trust,
        wire: Wire,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._base_url, self._statement_url = base_url.rstrip("/"), statement_url
        self._mer_id, self._key, self._cert_id = mer_id, key, cert_id
        self._trust, self._wire, self._clock = trust, wire, clock

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> UnionPay:
        return cls(
            base_url=settings["BASE_URL"],
            statement_url=settings["STATEMENT_URL"],
            mer_id=settings["MER_ID"],
            key=read_private_key(settings["KEY_FILE"]),
            cert_id=str(read_certificate(settings["CERT_FILE"]).serial_number),
            trust=Trust(
                roots=read_certificates(settings["ROOT_CERT_FILE"]),
                middles=read_certificates(settings["MIDDLE_CERT_FILE"]),
                signer=settings["SIGNER"],
            ),
            wire=Wire(channel=cls.name),
        )

    def scenes(self) -> frozenset[str]:
        return frozenset(PRODUCTS)

    def dead_at(self, *, scene: str, expires_at: datetime, now: datetime) -> datetime:
        return expires_at + LATE

    # ---- payments ----

    def create(self, attempt: Attempt) -> Created:
        self._refuse_impossible_order(attempt)
        product = PRODUCTS[attempt.scene]
        params = self._order_of(attempt, product)
        if attempt.scene == Scene.WAP:  # the shopper's browser brings it there
            return Created(action={"type": "form", "url": self._base_url + FRONT, "fields": params})
        answer = self._ask(product.path, params, "create")
        code = read_code(answer)
        if code in REFUSING:
            raise Refused("UnionPay refused the payment", code=code)
        if code != DONE:
            raise Unanswered("UnionPay did not say whether it took the payment", code=code)
        try:
            return Created(action=_action_of(attempt.scene, answer))
        except BadField as error:
            raise Unanswered("the answer holds nothing to pay with", code="malformed") from error

    def query(self, attempt: Attempt) -> PaymentReport:
        answer = self._query(attempt.number, attempt.started_at, attempt.scene, "query")
        report = read_payment(answer, attempt.number)
        if report.outcome is Outcome.REFUSED and not self._is_over(attempt):
            # One try of the shopper's failed; until payTimeout another one may not.
            return replace(report, outcome=Outcome.OPEN)
        is_charged = report.needs_person and report.code == TAKEN_TOO_LATE
        if is_charged and self._clock() > attempt.expires_at + GIVEN_BACK_AFTER:
            return replace(report, outcome=Outcome.CLOSED)
        return report

    def close(self, attempt: Attempt) -> PaymentReport:
        """There is no such call: before payTimeout, what is not paid can still be."""
        report = self.query(attempt)
        if report.outcome is Outcome.NOT_FOUND and not self._is_over(attempt):
            return PaymentReport(outcome=Outcome.OPEN, number=attempt.number, code=report.code)
        return report

    def _is_over(self, attempt: Attempt) -> bool:
        return self._clock() > attempt.expires_at + LATE

    def _order_of(self, attempt: Attempt, product: Product) -> dict[str, str]:
        front = {"frontUrl": attempt.return_url} if attempt.scene == Scene.WAP else {}
        return self._sign(
            front
            | {
                "txnType": PAY,
                "txnSubType": product.sub_type,
                "bizType": product.biz_type,
                "channelType": "08",
                "orderId": attempt.number,
                "txnTime": _to_beijing(attempt.started_at),
                "txnAmt": str(attempt.amount_minor),
                "currencyCode": "156",
                "backUrl": attempt.notify_url,
                "payTimeout": _to_beijing(attempt.expires_at),
            }
        )

    def _refuse_impossible_order(self, attempt: Attempt) -> None:
        limits = self.limits.get(attempt.currency)
        _refuse_unless(
            scene=attempt.scene in PRODUCTS,
            currency=limits,
            amount=limits and limits.least <= attempt.amount_minor <= limits.most,
            number=NUMBER.fullmatch(attempt.number),
            notify_url=_is_notify_url(attempt.notify_url),
            return_url=attempt.scene != Scene.WAP or _is_url(attempt.return_url),
            expires_at=attempt.expires_at > self._clock(),
        )

    # ---- refunds ----

    def refund(self, request: RefundRequest) -> RefundReport:
        self._refuse_impossible_refund(request)
        try:
            answer = self._ask(BACK, self._refund_of(request), "refund")
        except Unanswered as error:
            return RefundReport(outcome=Outcome.UNKNOWN, number=request.number, code=error.code)
        code = read_code(answer)
        if code == DONE:  # accepted: how it ended, a query of its own number or a notification says
            return read_accepted(answer, request.number)
        if code not in REFUND_REFUSING and code != DUPLICATE:
            return RefundReport(outcome=Outcome.UNKNOWN, number=request.number, code=code)
        return self._ask_about_refused(request, code)

    def _ask_about_refused(self, request: RefundRequest, code: str) -> RefundReport:
        """A repeat is refused as a duplicate, or by what its first try did: only if that is not there, it is refused."""
        known = self.query_refund(request)
        if known.outcome is not Outcome.NOT_FOUND:
            return known
        is_surely_missing = self._clock() >= request.started_at + VISIBLE_AFTER
        if code == DUPLICATE or not is_surely_missing:
            return RefundReport(outcome=Outcome.UNKNOWN, number=request.number, code=code)
        raise Refused("UnionPay refused the refund", code=code)

    def query_refund(self, request: RefundRequest) -> RefundReport:
        answer = self._query(request.number, request.started_at, request.scene, "query_refund")
        return read_refund(answer, request.number)

    def _refund_of(self, request: RefundRequest) -> dict[str, str]:
        return self._sign(
            {
                "txnType": REFUND,
                "txnSubType": "00",
                "bizType": _product_of(request.scene).biz_type,
                "channelType": "08",
                "orderId": request.number,
                "txnTime": _to_beijing(request.started_at),
                "txnAmt": str(request.amount_minor),
                "currencyCode": "156",
                "origQryId": request.channel_number,
                "backUrl": request.notify_url,
            }
        )

    def _refuse_impossible_refund(self, request: RefundRequest) -> None:
        _refuse_unless(
            currency=request.currency in self.limits,
            amount=1 <= request.amount_minor <= request.paid_minor,
            number=NUMBER.fullmatch(request.number),
            channel_number=is_word(request.channel_number),
            notify_url=_is_notify_url(request.notify_url),
        )

    # ---- callbacks ----

    def read_callback(self, raw: RawCallback) -> CallbackMessage:
        try:
            params = verify(parse_form(raw.body), self._trust, self._clock())
            number = read_word(params, "orderId", limit=40)
            # The same text every time, and no id of its own: these three name a trade.
            message_id = f"{number}.{read_word(params, 'txnTime', limit=14)}.{read_word(params, 'queryId')}"
            kind = f"{read_word(params, 'txnType')}-{read_word(params, 'txnSubType')}"
        except BadField as error:
            raise NotGenuine("body") from error
        if params.get("merId") != self._mer_id:
            raise NotGenuine("merId", number=number)
        return CallbackMessage(message_id=message_id, kind=kind, report=read_notice(params, number))

    def kept_body(self, raw: RawCallback) -> bytes:
        return cut_notice(parse_form(raw.body))

    def acknowledge(self) -> CallbackReply:
        return CallbackReply(status=200, body=b"ok", content_type="text/plain")  # the body is not read

    def refuse_callback(self, reason: str) -> CallbackReply:
        return CallbackReply(status=400, body=reason.encode(), content_type="text/plain")

    # ---- statements ----

    @classmethod
    def statement_span(cls, day: date) -> tuple[datetime, datetime]:
        """From 23:00 in Beijing on, a trade belongs to the next clearing day."""
        start, end = super().statement_span(day)
        early = start - datetime.combine(day - timedelta(days=1), CLEARING_ENDS, BEIJING)
        return start - early, end - early

    def statement_ready_at(self, day: date) -> datetime:
        return datetime.combine(day + timedelta(days=1), READY_AT, BEIJING)

    def fetch_statement(self, day: date, into: BinaryIO) -> None:
        params = self._sign(
            {
                "txnType": FILE,
                "txnSubType": "01",
                "bizType": "000000",
                "txnTime": _to_beijing(self._clock()),
                "settleDate": f"{day:%m%d}",
                "fileType": "00",
            }
        )
        with SpooledTemporaryFile(max_size=1_000_000) as spool:
            answer = self._download(params, cast("BinaryIO", spool))
        code = read_code(answer)
        if code == NO_FILE:
            raise NotReady("there is no statement of this day", code=code)
        if code in WRONG_REQUEST:
            raise Refused("UnionPay refused the statement", code=code)
        if code != DONE or answer.get("settleDate") != params["settleDate"]:
            raise Unanswered("UnionPay gave no statement", code=code)
        try:
            self._unpack(answer.get("fileContent", ""), day, into)
        except BadStatement as error:
            raise Unanswered(
                f"the statement cannot be read: {in_english(error)}", code="malformed"
            ) from error

    def _download(self, params: Mapping[str, str], spool: BinaryIO) -> dict[str, str]:
        reply = self._wire.download(
            "POST",
            self._statement_url,
            headers=_HEADERS,
            body=_encode(params),
            into=spool,
            operation="statement",
            limit_bytes=MAX_STATEMENT_BYTES,
        )
        spool.seek(0)
        # The signature covers the whole answer, so it is held whole once: bounded, and packed.
        return self._believe(reply.status, spool.read(), {"merId": self._mer_id})

    def _unpack(self, content: str, day: date, into: BinaryIO) -> None:
        with SpooledTemporaryFile(max_size=1_000_000) as spool:
            file = cast("BinaryIO", spool)
            unpack(content, file)
            # The request says no year: the name of the book does.
            if not has_book(file, mer_id=self._mer_id, day=day):
                raise BadStatement(_("it is of another day or merchant"))
            file.seek(0)
            shutil.copyfileobj(file, into)

    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        return read_lines(file, mer_id=self._mer_id)

    # ---- there and back ----

    def _sign(self, params: Mapping[str, str]) -> dict[str, str]:
        whole = {
            "version": VERSION,
            "encoding": "UTF-8",
            "signMethod": SIGN_METHOD,
            "certId": self._cert_id,
            "merId": self._mer_id,
            "accessType": "0",
            **params,
        }
        return whole | {"signature": sign(self._key, whole)}

    def _query(self, number: str, started_at: datetime, scene: str, operation: str) -> dict[str, str]:
        """The verified answer about the trade of this identity; a failure as one that only has our own code in it."""
        params = self._sign(
            {
                "txnType": QUERY,
                "txnSubType": "00",
                "bizType": _product_of(scene).biz_type,  # that of the trade's product
                "orderId": number,
                "txnTime": _to_beijing(started_at),
            }
        )
        try:
            return self._ask(QUERY_TRADE, params, operation)
        except ChannelError as error:
            return {"respCode": error.code}

    def _ask(self, path: str, params: Mapping[str, str], operation: str) -> dict[str, str]:
        """Send what is signed, and verify the answer to it. Raises Unreachable or Unanswered."""
        reply = self._wire.send(
            "POST",
            self._base_url + path,
            headers=_HEADERS,
            body=_encode(params),
            operation=operation,
            number=params["orderId"],
            code_of=_log_code,
        )
        expected = {name: params[name] for name in ("merId", "orderId", "txnTime")}
        return self._believe(reply.status, reply.body, expected)

    def _believe(self, status: int, body: bytes, expected: Mapping[str, str]) -> dict[str, str]:
        """What UnionPay signed and says about what we asked for. Raises Unanswered."""
        if status != 200:
            raise Unanswered(f"answered with status {status}", code=f"HTTP{status}")
        try:
            params = verify(parse_answer(body), self._trust, self._clock())
        except NotGenuine as error:
            raise Unanswered(f"the answer does not verify: {error.reason}", code="unverified") from error
        except BadField as error:
            raise Unanswered("the answer cannot be read", code="malformed") from error
        if any(params.get(name) != value for name, value in expected.items()):
            raise Unanswered("the answer is about another trade", code="about_another")
        return params


_HEADERS = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}


# ---- reading -----------------------------------------------------------------------------------------------------


def _product_of(scene: str) -> Product:
    """The product of a trade; of one that we did not start, the plain code."""
    return PRODUCTS.get(scene, PRODUCTS[Scene.QR])


def _action_of(scene: str, answer: Mapping[str, str]) -> dict[str, Any]:
    if scene == Scene.APP:
        return {"type": "sdk", "params": {"tn": read_word(answer, "tn")}}
    return {"type": "qr", "content": read_word(answer, "qrCode", limit=512)}


def _log_code(reply: Reply) -> str:
    """The code of an answer that is not verified yet, safe to log."""
    try:
        code = read_code(parse_answer(reply.body))
    except BadField:
        return ""
    return "" if code == DONE else code


# ---- writing -----------------------------------------------------------------------------------------------------


def _to_beijing(moment: datetime) -> str:
    return moment.astimezone(BEIJING).strftime("%Y%m%d%H%M%S")


def _encode(params: Mapping[str, str]) -> bytes:
    return urlencode(sorted(params.items())).encode()


def _is_notify_url(url: str) -> bool:
    # Parameters of its query string would come back among the signed ones.
    return _is_url(url) and not set(url) & set("?#")


def _is_url(url: str) -> bool:
    return is_safe_url(url) and len(url) <= MAX_URL and url.isascii() and " " not in url


def _refuse_unless(**possible: object) -> None:
    """Raises Impossible, before anything is sent, for the first field that UnionPay cannot take."""
    for name, is_possible in possible.items():
        if not is_possible:
            raise Impossible(f"UnionPay cannot take this {name}", code=f"invalid_{name}")
