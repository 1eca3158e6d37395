"""WeChat Pay API v3, ordinary merchant: our words into its calls, its answers and notifications into our words.

Whatever can decide about money is verified over the raw bytes before it is parsed, and what does not verify is
*unknown*. This room reports amounts as they came and never judges them; it keeps nothing about any payment.
Protocol facts are WeChat Pay's merchant documentation of API v3 (pay.weixin.qq.com/doc/v3/merchant), by its sections on
signatures, native orders, order query, close, refunds, notifications and error codes.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, auto
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from .base import (
    DEAD_MARGIN,
    CallbackMessage,
    CallbackReply,
    Channel,
    ChannelError,
    Created,
    CreateRequest,
    Impossible,
    NotGenuine,
    Outcome,
    PaymentReport,
    RawCallback,
    RefundReport,
    RefundRequest,
    Refused,
    Repeat,
    Scene,
    Unanswered,
)
from .fields import BadField, is_word, parse_json, read_minor, read_moment, read_object, read_word
from .seals import (
    BadKey,
    BadSeal,
    decode_base64,
    open_aes_gcm,
    read_private_key,
    read_public_key,
    sign_rsa_sha256,
    verify_rsa_sha256,
)
from .wire import Reply, Wire, is_safe_url

# ---- WeChat's words and what they mean ---------------------------------------------------------------------------

TRADE_STATES = {
    "SUCCESS": Outcome.SUCCEEDED,
    "REFUND": Outcome.SUCCEEDED,  # paid, and a refund was asked since: that does not undo the payment
    "NOTPAY": Outcome.OPEN,  # also after time_expire, until somebody closes it
    "USERPAYING": Outcome.OPEN,
    "ACCEPT": Outcome.OPEN,
    "CLOSED": Outcome.CLOSED,
    "REVOKED": Outcome.CLOSED,
    "PAYERROR": Outcome.REFUSED,
}
REFUND_STATUSES = {
    "SUCCESS": Outcome.SUCCEEDED,
    "PROCESSING": Outcome.OPEN,
    "CLOSED": Outcome.CLOSED,  # no money moved
    "ABNORMAL": Outcome.OPEN,  # the money left the merchant and did not arrive: a person must send it on
}
PAYMENT_KINDS = frozenset({"TRANSACTION.SUCCESS"})
REFUND_KINDS = frozenset({"REFUND.SUCCESS", "REFUND.ABNORMAL", "REFUND.CLOSED"})


class Meaning(Enum):
    """What an error code says about what we asked for."""

    MISSING = auto()  # there is no such order or refund
    PAID = auto()
    ENDED = auto()  # closed or reversed before
    REFUSED = auto()  # not done, nor will it be when repeated
    UNDECIDED = auto()  # may be done, or may be done when repeated


# Compared without "_": the spelling varies between the generations of WeChat's own tables. What is not here is UNDECIDED.
ERRORS = {
    **dict.fromkeys(("ORDERNOTEXIST", "RESOURCENOTEXISTS", "REFUNDNOTEXISTS", "NOTFOUND"), Meaning.MISSING),
    "ORDERPAID": Meaning.PAID,
    **dict.fromkeys(("ORDERCLOSED", "ORDERREVERSED"), Meaning.ENDED),
    **dict.fromkeys(("PARAMERROR", "INVALIDREQUEST", "APPIDMCHIDNOTMATCH", "MCHNOTEXISTS"), Meaning.REFUSED),
    **dict.fromkeys(("SIGNERROR", "NOAUTH", "REQUESTBLOCKED", "TRADEERROR", "ACCOUNTERROR"), Meaning.REFUSED),
    "OUTTRADENOUSED": Meaning.UNDECIDED,  # an order stands under our number: ask about it
    "NOTENOUGH": Meaning.UNDECIDED,  # the same refund succeeds when the merchant has money again
    "USERPAYING": Meaning.UNDECIDED,
    **dict.fromkeys(("SYSTEMERROR", "BANKERROR", "ERROR", "BIZERRNEEDRETRY"), Meaning.UNDECIDED),
    **dict.fromkeys(("FREQUENCYLIMITED", "FREQUENCYLIMITEXCEED", "RATELIMITEXCEEDED"), Meaning.UNDECIDED),
    "RULELIMIT": Meaning.UNDECIDED,
}
DECIDING_STATUSES = frozenset({400, 401, 403, 404})  # under any other HTTP status a code decides nothing


@dataclass(frozen=True, slots=True)
class Product:
    """One of WeChat's ways to pay: where an order is created, and the action made of the answer."""

    path: str
    make_action: Callable[[Mapping[str, Any]], dict[str, Any]]


def _qr_action(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "qr", "content": read_word(answer, "code_url", limit=512)}


PRODUCTS: Mapping[str, Product] = {Scene.QR: Product("/v3/pay/transactions/native", _qr_action)}

# ---- limits ------------------------------------------------------------------------------------------------------

SIGNATURE_TYPE = "WECHATPAY2-SHA256-RSA2048"
WINDOW_S = 300  # WeChat's own Java SDK refuses an answer or notification of this age, either way
LEAST_LIFE = timedelta(minutes=1)  # WeChat lifts a time_expire that is nearer
BEIJING = timezone(timedelta(hours=8))
PAYMENT_NUMBER = re.compile(r"[0-9A-Za-z_\-|*]{6,32}")
REFUND_NUMBER = re.compile(r"[0-9A-Za-z_\-|*@]{1,64}")
MAX_DESCRIPTION = 127  # characters
MAX_REASON = 80  # characters
MAX_NOTIFY_URL = 255

ORDERS = "/v3/pay/transactions/out-trade-no/"
REFUNDS = "/v3/refund/domestic/refunds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that may be believed: `data` of a verified 2xx, else `code` and its `meaning`; status 0 is none."""

    status: int
    data: Mapping[str, Any]
    code: str = ""
    meaning: Meaning = Meaning.UNDECIDED
    is_signed: bool = False

    @property
    def is_missing(self) -> bool:
        """The channel says, signed or not, that there is no such thing."""
        return self.meaning is Meaning.MISSING


class WeChat(Channel):
    """One merchant's account. `platform_keys` are WeChat's keys by serial or public key id, the preferred one first."""

    name = "wechat"
    title = "WeChat Pay"
    currencies = frozenset({"CNY"})
    repeat = Repeat.SAME_NUMBER

    def __init__(
        self,
        *,
        base_url: str,
        mchid: str,
        appid: str,
        merchant_serial: str,
        merchant_key: RSAPrivateKey,
        apiv3_key: str,
        platform_keys: Mapping[str, RSAPublicKey],
        wire: Wire,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        make_nonce: Callable[[], str] = lambda: secrets.token_hex(16).upper(),
    ) -> None:
        if not platform_keys:
            raise BadKey("WeChat needs at least one platform key")
        if len(apiv3_key.encode()) != 32:
            raise BadKey("WeChat's API v3 key has 32 characters")
        self._base_url = base_url.rstrip("/")
        self._mchid, self._appid = mchid, appid
        self._merchant_serial, self._merchant_key = merchant_serial, merchant_key
        self._apiv3_key = apiv3_key.encode()
        self._platform_keys = dict(platform_keys)
        self._wire, self._clock, self._make_nonce = wire, clock, make_nonce

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> WeChat:
        """Build it from settings, all of them required. Raises BadKey for a key that cannot be used."""
        return cls(
            base_url=settings["BASE_URL"],
            mchid=settings["MCHID"],
            appid=settings["APPID"],
            merchant_serial=settings["MERCHANT_SERIAL"],
            merchant_key=read_private_key(settings["MERCHANT_KEY_FILE"]),
            apiv3_key=settings["APIV3_KEY"],
            platform_keys={
                key_id: read_public_key(path) for key_id, path in list_platform_keys(settings).items()
            },
            wire=Wire(channel=cls.name),
        )

    def scenes(self) -> frozenset[str]:
        return frozenset(PRODUCTS)

    def dead_at(self, *, scene: str, expires_at: datetime, now: datetime) -> datetime:
        return max(expires_at, now + LEAST_LIFE) + DEAD_MARGIN

    # ---- payments ----

    def create(self, request: CreateRequest) -> Created:
        self._refuse_impossible_order(request)
        product = PRODUCTS[request.scene]
        answer = self._ask("POST", product.path, "create", request.number, self._order_of(request))
        # An error answer need not be signed. It may end a create all the same: what can be paid stands only in the
        # answer of a create that succeeded, so nobody holds it; and if money came, a failed payment would take it.
        if answer.meaning is Meaning.REFUSED:
            raise Refused("WeChat refused the payment", code=answer.code)
        if answer.status != 200:
            raise Unanswered("WeChat did not say whether it took the payment", code=answer.code)
        try:
            return Created(action=product.make_action(answer.data))
        except BadField as error:
            raise Unanswered("the answer holds nothing to pay with", code="malformed") from error

    def query(self, number: str) -> PaymentReport:
        answer = self._try("GET", f"{ORDERS}{quote(number, safe='')}?mchid={self._mchid}", "query", number)
        if answer.status != 200:
            # After dead_at "not found" ends the attempt, so it must come from WeChat and not from some proxy.
            outcome = Outcome.NOT_FOUND if answer.is_missing and answer.is_signed else Outcome.UNKNOWN
            return PaymentReport(outcome=outcome, number=number, code=answer.code)
        if not _is_about(answer.data, out_trade_no=number, mchid=self._mchid, appid=self._appid):
            return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code="about_another")
        return _read_payment(answer.data)

    def close(self, number: str) -> PaymentReport:
        content = {"mchid": self._mchid}
        answer = self._try("POST", f"{ORDERS}{quote(number, safe='')}/close", "close", number, content)
        if answer.status == 204:
            return PaymentReport(outcome=Outcome.CLOSED, number=number)
        if answer.meaning not in (Meaning.PAID, Meaning.ENDED):
            # Signed or not: what cannot be closed is only watched on.
            outcome = Outcome.NOT_FOUND if answer.is_missing else Outcome.UNKNOWN
            return PaymentReport(outcome=outcome, number=number, code=answer.code)
        # "Paid" and "closed before" come as errors, which decide nothing about money: a verified query does.
        report = self.query(number)
        if report.outcome in (Outcome.SUCCEEDED, Outcome.CLOSED):
            return report
        return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code=answer.code)

    def _refuse_impossible_order(self, request: CreateRequest) -> None:
        _refuse_unless(
            scene=request.scene in PRODUCTS,
            currency=request.currency in self.currencies,
            amount=request.amount_minor >= 1,
            number=PAYMENT_NUMBER.fullmatch(request.number),
            description=1 <= len(request.description) <= MAX_DESCRIPTION,
            notify_url=_is_notify_url(request.notify_url),
            # Sent later, WeChat would lift time_expire to a minute from then, beyond the dead_at stored before.
            expires_at=request.expires_at > self._clock(),
        )

    def _order_of(self, request: CreateRequest) -> dict[str, Any]:
        # Of the stored request alone: under the same number another time_expire would be refused.
        return {
            "appid": self._appid,
            "mchid": self._mchid,
            "description": request.description,
            "out_trade_no": request.number,
            "time_expire": request.expires_at.astimezone(BEIJING).isoformat(timespec="seconds"),
            "notify_url": request.notify_url,
            "amount": {"total": request.amount_minor, "currency": request.currency},
        }

    # ---- refunds ----

    def refund(self, request: RefundRequest) -> RefundReport:
        self._refuse_impossible_refund(request)
        try:
            answer = self._ask("POST", REFUNDS, "refund", request.number, _refund_of(request))
        except Unanswered as error:
            return RefundReport(outcome=Outcome.UNKNOWN, number=request.number, code=error.code)
        if answer.status == 200:
            return _read_refund_answer(answer, request.number, out_trade_no=request.payment_number)
        if answer.meaning not in (Meaning.REFUSED, Meaning.MISSING):
            return RefundReport(outcome=Outcome.UNKNOWN, number=request.number, code=answer.code)
        # What was refused is one day sent again under a new number, so one error is not enough: WeChat must also say,
        # signed, that it does not know this refund.
        known = self._ask_refund(request.number)
        if known.is_missing and known.is_signed:
            raise Refused("WeChat refused the refund", code=answer.code)
        return self._refund_report(known, request.number)

    def query_refund(self, number: str) -> RefundReport:
        return self._refund_report(self._ask_refund(number), number)

    def _ask_refund(self, number: str) -> Answer:
        return self._try("GET", f"{REFUNDS}/{quote(number, safe='')}", "query_refund", number)

    def _refund_report(self, answer: Answer, number: str) -> RefundReport:
        if answer.status == 200:
            return _read_refund_answer(answer, number)
        # Signed or not: a refund that is not there is only sent again under the same number.
        outcome = Outcome.NOT_FOUND if answer.is_missing else Outcome.UNKNOWN
        return RefundReport(outcome=outcome, number=number, code=answer.code)

    def _refuse_impossible_refund(self, request: RefundRequest) -> None:
        _refuse_unless(
            currency=request.currency in self.currencies,
            amount=1 <= request.amount_minor <= request.paid_minor,
            number=REFUND_NUMBER.fullmatch(request.number),
            reason=len(request.reason) <= MAX_REASON,
            notify_url=_is_notify_url(request.notify_url),
        )

    # ---- callbacks ----

    def read_callback(self, raw: RawCallback) -> CallbackMessage:
        self._verify(raw.headers, raw.body)
        try:
            envelope = parse_json(raw.body)
            message_id, kind = read_word(envelope, "id"), read_word(envelope, "event_type")
            content = self._open(envelope)
        except (BadField, BadSeal) as error:
            raise NotGenuine("body") from error
        return CallbackMessage(message_id=message_id, kind=kind, report=self._report_of(kind, content))

    def acknowledge(self) -> CallbackReply:
        return CallbackReply(status=204)

    def refuse_callback(self, reason: str) -> CallbackReply:
        return CallbackReply(status=401, body=json.dumps({"code": "FAIL", "message": reason}).encode())

    def _open(self, envelope: Mapping[str, Any]) -> dict[str, Any]:
        resource = read_object(envelope, "resource")
        associated_data = resource.get("associated_data") or ""  # may be empty or absent
        if resource.get("algorithm") != "AEAD_AES_256_GCM" or not isinstance(associated_data, str):
            raise BadField("resource")
        plain = open_aes_gcm(
            self._apiv3_key,
            nonce=read_word(resource, "nonce").encode(),
            ciphertext=decode_base64(read_word(resource, "ciphertext", limit=1_000_000)),
            associated_data=associated_data.encode(errors="surrogatepass"),
        )
        return parse_json(plain)

    def _report_of(self, kind: str, content: Mapping[str, Any]) -> PaymentReport | RefundReport:
        if content.get("mchid") != self._mchid:
            raise NotGenuine("mchid", number=_named_number(content))
        if kind in REFUND_KINDS:
            return _read_refund(content, "refund_status")
        if kind not in PAYMENT_KINDS:  # genuine, but we cannot read it: kept, and nothing follows from it
            number = _word_or_none(content, "out_trade_no")
            return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code=kind)
        if content.get("appid") != self._appid:
            raise NotGenuine("appid", number=_named_number(content))
        return _read_payment(content)

    # ---- there and back ----

    def _try(self, *call: Any) -> Answer:
        """`_ask`, with a failure as an answer that decides nothing."""
        try:
            return self._ask(*call)
        except ChannelError as error:
            return Answer(status=0, data={}, code=error.code)

    def _ask(
        self, method: str, target: str, operation: str, number: str, content: Mapping[str, Any] | None = None
    ) -> Answer:
        """Sign, send, verify. `target` is the path with its query as it is sent. Raises Unreachable or Unanswered."""
        body = b"" if content is None else json.dumps(content).encode()
        reply = self._wire.send(
            method,
            self._base_url + target,
            headers=self._headers(method, target, body),
            body=body or None,
            operation=operation,
            number=number,
            code_of=_error_code,
        )
        return self._believe(reply)

    def _headers(self, method: str, target: str, body: bytes) -> dict[str, str]:
        timestamp, nonce = str(int(self._clock().timestamp())), self._make_nonce()
        text = f"{method}\n{target}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"
        signature = sign_rsa_sha256(self._merchant_key, text)
        return {
            "Authorization": (
                f'{SIGNATURE_TYPE} mchid="{self._mchid}",nonce_str="{nonce}",signature="{signature}",'
                f'timestamp="{timestamp}",serial_no="{self._merchant_serial}"'
            ),
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": "nodrop",  # WeChat refuses an empty one
            "Wechatpay-Serial": next(iter(self._platform_keys)),  # asks for an answer signed with it
        }

    def _believe(self, reply: Reply) -> Answer:
        succeeded = 200 <= reply.status < 300
        # WeChat's own SDKs verify no error answer, so an unsigned one is let through to say what little ERRORS lets
        # it say; one that carries a signature must carry a good one.
        if succeeded or "wechatpay-signature" in reply.headers:
            try:
                self._verify(reply.headers, reply.body)
            except NotGenuine as error:
                raise Unanswered(f"the answer does not verify: {error.reason}", code="unverified") from error
        if not succeeded:
            return _read_error(reply)
        try:
            return Answer(status=reply.status, data=parse_json(reply.body) if reply.body else {})
        except BadField as error:
            raise Unanswered("the answer cannot be read", code="malformed") from error

    def _verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raises NotGenuine unless WeChat signed exactly these bytes less than five minutes ago (or ahead)."""
        if headers.get("wechatpay-signature-type") != SIGNATURE_TYPE:
            raise NotGenuine("signature_type")
        key = self._platform_keys.get(headers.get("wechatpay-serial", ""))
        if key is None:
            raise NotGenuine("serial")
        timestamp, nonce = headers.get("wechatpay-timestamp", ""), headers.get("wechatpay-nonce", "")
        if not re.fullmatch(r"[0-9]{1,11}", timestamp):
            raise NotGenuine("timestamp")
        if abs(self._clock().timestamp() - int(timestamp)) >= WINDOW_S:
            raise NotGenuine("timestamp")
        # A line feed in the nonce would move bytes between it and the body under one signature.
        if not is_word(nonce):
            raise NotGenuine("nonce")
        # WeChat's probes, whose signatures begin with WECHATPAY/SIGNTEST/, fail here like any other.
        text = f"{timestamp}\n{nonce}\n".encode() + body + b"\n"
        if not verify_rsa_sha256(key, headers.get("wechatpay-signature", ""), text):
            raise NotGenuine("signature")


def list_platform_keys(settings: Mapping[str, str]) -> dict[str, str]:
    """Key files by key id. Both settings may hold two, by comma, while WeChat changes keys. Raises BadKey."""
    key_ids = [part.strip() for part in settings["PLATFORM_KEY_ID"].split(",")]
    paths = [part.strip() for part in settings["PLATFORM_KEY_FILE"].split(",")]
    if len(key_ids) != len(paths) or not all(key_ids + paths):
        raise BadKey("PLATFORM_KEY_ID and PLATFORM_KEY_FILE must name as many keys as each other")
    return dict(zip(key_ids, paths, strict=True))


# ---- reading -----------------------------------------------------------------------------------------------------


def _read_payment(data: Mapping[str, Any]) -> PaymentReport:
    """Read a payment object that is verified and of our account. What is not as documented makes it UNKNOWN."""
    try:
        number, state = read_word(data, "out_trade_no"), read_word(data, "trade_state")
        outcome = TRADE_STATES.get(state, Outcome.UNKNOWN)
        if outcome is not Outcome.SUCCEEDED:
            return PaymentReport(outcome=outcome, number=number, code=state)
        amount = read_object(data, "amount")
        return PaymentReport(
            outcome=outcome,
            number=number,
            channel_number=read_word(data, "transaction_id"),
            amount_minor=read_minor(amount, "total"),  # payer_total is less where WeChat gave a coupon
            currency=read_word(amount, "currency", limit=3),
            paid_at=read_moment(data, "success_time"),
            code=state,
        )
    except BadField:
        number = _word_or_none(data, "out_trade_no")
        return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code="malformed")


def _read_refund_answer(answer: Answer, number: str, **also: str) -> RefundReport:
    if not _is_about(answer.data, out_refund_no=number, **also):
        return RefundReport(outcome=Outcome.UNKNOWN, number=number, code="about_another")
    return _read_refund(answer.data, "status")


def _read_refund(data: Mapping[str, Any], status_name: str) -> RefundReport:
    try:
        status = read_word(data, status_name)
        return RefundReport(
            outcome=REFUND_STATUSES.get(status, Outcome.UNKNOWN),
            number=read_word(data, "out_refund_no"),
            channel_number=read_word(data, "refund_id"),
            payment_number=read_word(data, "out_trade_no"),
            trade_number=_word_or_none(data, "transaction_id"),
            amount_minor=read_minor(read_object(data, "amount"), "refund"),
            code=status,
            needs_person=status == "ABNORMAL",
        )
    except BadField:
        number = _word_or_none(data, "out_refund_no")
        return RefundReport(outcome=Outcome.UNKNOWN, number=number, code="malformed")


def _read_error(reply: Reply) -> Answer:
    code = _error_code(reply)
    meaning = ERRORS.get(code, Meaning.UNDECIDED)
    if reply.status not in DECIDING_STATUSES or (meaning is Meaning.MISSING and reply.status != 404):
        meaning = Meaning.UNDECIDED
    is_signed = "wechatpay-signature" in reply.headers  # and a bad one has been refused before
    return Answer(
        status=reply.status, data={}, code=code or f"HTTP{reply.status}", meaning=meaning, is_signed=is_signed
    )


def _error_code(reply: Reply) -> str:
    """The code of an error answer, normalised and safe to store and log; "" when there is none."""
    if 200 <= reply.status < 300:
        return ""
    try:
        return read_word(parse_json(reply.body), "code").replace("_", "")
    except BadField:
        return ""


def _is_about(data: Mapping[str, Any], **expected: str) -> bool:
    return all(data.get(name) == value for name, value in expected.items())


def _named_number(content: Mapping[str, Any]) -> str:
    return _word_or_none(content, "out_refund_no") or _word_or_none(content, "out_trade_no")


def _word_or_none(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if is_word(value) else ""


# ---- writing -----------------------------------------------------------------------------------------------------


def _refund_of(request: RefundRequest) -> dict[str, Any]:
    reason = {"reason": request.reason} if request.reason else {}  # optional, but never empty
    return reason | {
        # Not out_trade_no: a number that was paid twice has two trades, and it is this one's money that goes back.
        "transaction_id": request.channel_number,
        "out_refund_no": request.number,
        "notify_url": request.notify_url,
        "amount": {
            "refund": request.amount_minor,
            "total": request.paid_minor,  # the whole order's, also for a part
            "currency": request.currency,
        },
    }


def _refuse_unless(**possible: object) -> None:
    """Raises Impossible, before anything is sent, for the first field that WeChat cannot take."""
    for name, is_possible in possible.items():
        if not is_possible:
            raise Impossible(f"WeChat cannot take this {name}", code=f"invalid_{name}")


def _is_notify_url(url: str) -> bool:
    return is_safe_url(url) and len(url) <= MAX_NOTIFY_URL and not set(url) & set("?# ")
