"""WeChat Pay API v3, ordinary merchant: our words into its calls, its answers and notifications into our words.

Whatever can decide about money is verified over the raw bytes before it is parsed, and what does not verify is
*unknown*. This room reports amounts as they came and never judges them; it keeps nothing about any payment.
Protocol facts, here and in the rooms `wechat_…` beside, are WeChat Pay's merchant documentation of API v3
(pay.weixin.qq.com/doc/v3/merchant), by its sections on signatures, native, H5 and app orders, order query, close, refunds,
bills, notifications and error codes.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from tempfile import TemporaryFile
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from .base import (
    DEAD_MARGIN,
    Attempt,
    CallbackMessage,
    CallbackReply,
    Channel,
    ChannelError,
    Created,
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
    StatementLine,
    Unanswered,
)
from .fields import BadField, is_word, parse_json, read_object, read_word
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
from .wechat_orders import (
    CURRENCY,
    LEAST_LIFE,
    PRODUCTS,
    check_order,
    check_refund,
    read_action,
    write_order,
    write_refund,
)
from .wechat_reading import (
    NOT_READY,
    PAYMENT_KINDS,
    REFUND_KINDS,
    Answer,
    Meaning,
    cut_notice,
    error_code,
    read_error,
    read_payment,
    read_refund,
    word_or_empty,
)
from .wechat_statement import BEIJING, digest, read_bill, read_place
from .wire import Reply, Wire

# ---- the protocol ------------------------------------------------------------------------------------------------

SIGNATURE_TYPE = "WECHATPAY2-SHA256-RSA2048"
WINDOW_S = 300  # WeChat's own Java SDK refuses an answer or notification of this age, either way
BILL_READY = time(10, tzinfo=BEIJING)  # of the next day

ORDERS = "/v3/pay/transactions/out-trade-no/"
REFUNDS = "/v3/refund/domestic/refunds"
BILLS = "/v3/bill/tradebill"


class WeChat(Channel):
    """One merchant's account. `platform_keys` are WeChat's keys by serial or public key id, the preferred one first."""

    name = "wechat"
    title = "WeChat Pay"
    limits = {CURRENCY: Limits(1, 10**10)}
    repeat = Repeat.SAME_NUMBER
    calendar = BEIJING
    refunded_codes = frozenset({"SUCCESS"})
    payer_keys = ("ip",)

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

    def expires_at(self, *, scene: str, order_expires_at: datetime, now: datetime) -> datetime:
        return min(order_expires_at, now + PRODUCTS[scene].life)

    def dead_at(self, *, scene: str, expires_at: datetime, now: datetime) -> datetime:
        return max(expires_at, now + LEAST_LIFE) + DEAD_MARGIN

    # ---- payments ----

    def create(self, attempt: Attempt) -> Created:
        check_order(attempt, now=self._clock())
        order = write_order(attempt, appid=self._appid, mchid=self._mchid)
        answer = self._ask("POST", PRODUCTS[attempt.scene].path, "create", attempt.number, order)
        # An error answer need not be signed. It may end a create all the same: what can be paid stands only in the
        # answer of a create that succeeded, so nobody holds it; and if money came, a failed payment would take it.
        if answer.meaning is Meaning.REFUSED:
            raise Refused("WeChat refused the payment", code=answer.code)
        if answer.status != 200:
            raise Unanswered("WeChat did not say whether it took the payment", code=answer.code)
        try:
            return Created(action=read_action(attempt, answer.data, sign_app=self._sign_app))
        except BadField as error:
            raise Unanswered("the answer holds nothing to pay with", code="malformed") from error

    def query(self, attempt: Attempt) -> PaymentReport:
        number = attempt.number
        answer = self._try("GET", f"{ORDERS}{quote(number, safe='')}?mchid={self._mchid}", "query", number)
        if answer.status != 200:
            # After dead_at "not found" ends the attempt, so it must come from WeChat and not from some proxy.
            outcome = Outcome.NOT_FOUND if answer.is_missing and answer.is_signed else Outcome.UNKNOWN
            return PaymentReport(outcome=outcome, number=number, code=answer.code)
        if not _is_about(answer.data, out_trade_no=number, mchid=self._mchid, appid=self._appid):
            return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code="about_another")
        return read_payment(answer.data)

    def close(self, attempt: Attempt) -> PaymentReport:
        number = attempt.number
        content = {"mchid": self._mchid}
        answer = self._try("POST", f"{ORDERS}{quote(number, safe='')}/close", "close", number, content)
        if answer.status == 204:
            return PaymentReport(outcome=Outcome.CLOSED, number=number)
        if answer.meaning not in (Meaning.PAID, Meaning.ENDED):
            # Signed or not: what cannot be closed is only watched on.
            outcome = Outcome.NOT_FOUND if answer.is_missing else Outcome.UNKNOWN
            return PaymentReport(outcome=outcome, number=number, code=answer.code)
        # "Paid" and "closed before" come as errors, which decide nothing about money: a verified query does.
        report = self.query(attempt)
        if report.outcome in (Outcome.SUCCEEDED, Outcome.CLOSED):
            return report
        return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code=answer.code)

    def _sign_app(self, prepay_id: str) -> dict[str, str]:
        """What the app hands to WeChat's SDK."""
        timestamp, nonce = str(int(self._clock().timestamp())), self._make_nonce()
        text = f"{self._appid}\n{timestamp}\n{nonce}\n{prepay_id}\n"
        return {
            "appid": self._appid,
            "partnerid": self._mchid,
            "prepayid": prepay_id,
            "package": "Sign=WXPay",
            "noncestr": nonce,
            "timestamp": timestamp,
            "sign": sign_rsa_sha256(self._merchant_key, text.encode()),
        }

    # ---- refunds ----

    def refund(self, request: RefundRequest) -> RefundReport:
        check_refund(request)
        try:
            answer = self._ask("POST", REFUNDS, "refund", request.number, write_refund(request))
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

    def query_refund(self, request: RefundRequest) -> RefundReport:
        return self._refund_report(self._ask_refund(request.number), request.number)

    def _ask_refund(self, number: str) -> Answer:
        return self._try("GET", f"{REFUNDS}/{quote(number, safe='')}", "query_refund", number)

    def _refund_report(self, answer: Answer, number: str) -> RefundReport:
        if answer.status == 200:
            return _read_refund_answer(answer, number)
        # Signed or not: a refund that is not there is only sent again under the same number.
        outcome = Outcome.NOT_FOUND if answer.is_missing else Outcome.UNKNOWN
        return RefundReport(outcome=outcome, number=number, code=answer.code)

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

    def kept_body(self, raw: RawCallback) -> bytes:
        envelope = parse_json(raw.body)
        return cut_notice(envelope, self._open(envelope))

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
            return read_refund(content, "refund_status")
        if kind not in PAYMENT_KINDS:  # genuine, but we cannot read it: kept, and nothing follows from it
            number = word_or_empty(content, "out_trade_no")
            return PaymentReport(outcome=Outcome.UNKNOWN, number=number, code=kind)
        if content.get("appid") != self._appid:
            raise NotGenuine("appid", number=_named_number(content))
        return read_payment(content)

    # ---- statements ----

    def statement_ready_at(self, day: date) -> datetime:
        return datetime.combine(day + timedelta(days=1), BILL_READY).astimezone(UTC)

    def fetch_statement(self, day: date, into: BinaryIO) -> None:
        """As `Channel.fetch_statement`. It comes packed by gzip; only what has the announced digest is written."""
        target = f"{BILLS}?bill_date={day.isoformat()}&bill_type=ALL&tar_type=GZIP"
        answer = self._ask("GET", target, "statement", day.isoformat())
        _raise_unless_made(answer)
        try:
            url, announced = read_place(answer.data)
        except BadField as error:
            raise Unanswered("the answer names no bill that can be verified", code="malformed") from error
        with TemporaryFile() as file:
            self._download(url, file)
            file.seek(0)
            if digest(file) != announced:
                raise Unanswered("the bill is not the one that was announced", code="digest")
            file.seek(0)
            shutil.copyfileobj(file, into)

    def _download(self, url: str, into: BinaryIO) -> None:
        """The file itself comes without a signature: its digest stands in the signed answer before."""
        parts = urlsplit(url)
        headers = self._headers("GET", f"{parts.path}?{parts.query}", b"")
        try:
            reply = self._wire.download("GET", url, headers=headers, into=into, operation="statement")
        except ValueError as error:
            raise Unanswered("the bill is where nothing may be called", code="malformed") from error
        if reply.status != 200:
            _raise_unless_made(self._believe(reply))

    def read_statement(self, file: BinaryIO) -> Iterator[StatementLine]:
        return read_bill(file, mchid=self._mchid)

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
            code_of=error_code,
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
            return read_error(reply)
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


def _read_refund_answer(answer: Answer, number: str, **also: str) -> RefundReport:
    if not _is_about(answer.data, out_refund_no=number, **also):
        return RefundReport(outcome=Outcome.UNKNOWN, number=number, code="about_another")
    return read_refund(answer.data, "status")


def _is_about(data: Mapping[str, Any], **expected: str) -> bool:
    return all(data.get(name) == value for name, value in expected.items())


def _named_number(content: Mapping[str, Any]) -> str:
    return word_or_empty(content, "out_refund_no") or word_or_empty(content, "out_trade_no")


def _raise_unless_made(answer: Answer) -> None:
    if answer.status == 200:
        return
    if answer.code in NOT_READY:
        raise NotReady("WeChat has no bill of this day", code=answer.code)
    if answer.meaning is Meaning.REFUSED and answer.is_signed:
        raise Refused("WeChat refused the bill", code=answer.code)
    raise Unanswered("WeChat gave no bill", code=answer.code)
