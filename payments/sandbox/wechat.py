"""WeChat Pay API v3 as its merchants meet it: direct merchant, native scene, refunds, notifications.

Written from the channel's public documentation and never from the shop's adapter, so that the two check each
other. It is as strict as the real one, and where the real one is silent it says no. Error codes are spelled
as its tables spell them, with and without `_`.
"""

import json
import re
import time
from typing import Any

from cryptography.hazmat.primitives import serialization
from werkzeug import Request, Response

from payments.sandbox.clock import SECOND_US, now_us
from payments.sandbox.fields import BadField, read_integer, read_moment, read_notify_url, read_text
from payments.sandbox.keys import Keyring, make_digits
from payments.sandbox.ledger import Ledger
from payments.sandbox.records import Notice, Refund, Trade
from payments.sandbox.side import Call, Message, Refused, Reply, Route, Side
from payments.sandbox.wechat_documents import (
    TRADE_STATES,
    bend_document,
    describe_refund,
    describe_refund_notice,
    describe_trade,
    to_json,
    wrap_notice,
)
from payments.sandbox.wechat_seals import (
    SCHEME,
    WeChatKeys,
    build_request_text,
    encrypt,
    is_signed,
    make_letters,
)

WINDOW_S = 300
_JSON = "application/json; charset=utf-8"
_PAIR = re.compile(r'(\w+)="([^"]*)"')
_PAIRS = {"mchid", "nonce_str", "signature", "timestamp", "serial_no"}
_OUT_TRADE_NO = r"[0-9A-Za-z_\-|*]{6,32}"
_OUT_REFUND_NO = r"[0-9A-Za-z_\-|*@]{1,64}"

_CODE_LIFE_US = 2 * 3600 * SECOND_US
_SHORTEST_LIFE_US = 60 * SECOND_US
_LONGEST_LIFE_US = 7 * 24 * 3600 * SECOND_US
_REFUNDABLE_US = 365 * 24 * 3600 * SECOND_US
_REFUNDS_MAX = 50


class WeChat(Side):
    """The platform of WeChat Pay and the one merchant it knows."""

    name = "wechat"
    title = "WeChat Pay"
    answer_limit_s = 5.0
    gaps_s = (15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600)
    routes = (
        Route("POST", "/v3/pay/transactions/native", "create", "create_native"),
        Route("GET", "/v3/pay/transactions/out-trade-no/<out_trade_no>", "query", "query_by_our_number"),
        Route("GET", "/v3/pay/transactions/id/<transaction_id>", "query", "query_by_their_number"),
        Route("POST", "/v3/pay/transactions/out-trade-no/<out_trade_no>/close", "close", "close"),
        Route("POST", "/v3/refund/domestic/refunds", "refund", "refund"),
        Route("GET", "/v3/refund/domestic/refunds/<out_refund_no>", "query_refund", "query_refund"),
        Route("GET", "/v3/certificates", "", "list_certificates"),
    )

    def __init__(self, keyring: Keyring, ledger: Ledger, refund_delay_s: float) -> None:
        super().__init__(keyring, ledger, refund_delay_s)
        self.keys = WeChatKeys(keyring)

    @property
    def payee(self) -> str:
        """The merchant's name in the wallet."""
        return f"Sandbox merchant {self.keys.mchid}"

    def read_environment(self, base_url: str) -> dict[str, str]:
        """The merchant's credentials, and where this side listens."""
        return {"WECHAT_BASE_URL": base_url, **self.keys.read_environment()}

    # Who is calling (API v3, "Generate a signature" and "Verify a signature")

    def authenticate(self, request: Request) -> None:
        """Verify the merchant's signature over the bytes that came. Raises Refused, mostly 401 SIGN_ERROR."""
        if not request.headers.get("Accept") or not request.headers.get("User-Agent"):
            raise _unsigned("the headers Accept and User-Agent are required", 400, "PARAM_ERROR")
        pairs = _parse_authorization(request.headers.get("Authorization", ""))
        if pairs["mchid"] != self.keys.mchid or pairs["serial_no"] != self.keys.merchant_serial:
            raise _unsigned("this merchant or this certificate serial is unknown")
        if (
            not re.fullmatch(r"[0-9]{10}", pairs["timestamp"])
            or abs(time.time() - int(pairs["timestamp"])) > WINDOW_S
        ):
            raise _unsigned(f"timestamp must be Unix seconds within {WINDOW_S} s of now")
        if not re.fullmatch(r"[0-9A-Za-z]{1,32}", pairs["nonce_str"]):
            raise _unsigned("nonce_str must be 1 to 32 letters and digits")
        text = build_request_text(
            request.method,
            request.environ["RAW_URI"],
            pairs["timestamp"],
            pairs["nonce_str"],
            request.get_data(),
        )
        if not is_signed(self.keys.merchant_key.public_key(), text, pairs["signature"]):
            raise _unsigned("the signature does not fit the request")

    def act(self, handler: str, call: Call, **parts: str) -> Reply:
        """Run one handler; a field that breaks its rule becomes 400 PARAM_ERROR."""
        try:
            reply: Reply = getattr(self, f"_{handler}")(call, **parts)
        except BadField as wrong:
            detail = {"field": "/" + wrong.field.replace(".", "/"), "issue": wrong.problem}
            raise _refused(400, "PARAM_ERROR", str(wrong), detail) from wrong
        return reply

    # Native payment

    def _create_native(self, call: Call) -> Reply:
        order = _read_json(call.request)
        self._check_merchant(order)
        read_text(order, "description", longest=127)
        read_text(order, "attach", longest=128, required=False)
        number = read_text(order, "out_trade_no", longest=32, pattern=_OUT_TRADE_NO) or ""
        read_notify_url(order, "notify_url", longest=255)
        read_integer(order, "amount.total", least=1)
        read_text(order, "amount.currency", longest=3, pattern="CNY", required=False)
        expires_at = read_moment(order, "time_expire")
        trade = self.ledger.find_trade(self.name, number) or self._open(order, expires_at)
        _check_same_order(trade, order)
        content = f"weixin://wxpay/bizpayurl?pr={make_letters(9)}"
        self.ledger.add_handle(trade, content, min(now_us() + _CODE_LIFE_US, trade.expires_at))
        return Reply(200, {"code_url": content})

    def _open(self, order: dict[str, Any], expires_at: int | None) -> Trade:
        now = now_us()
        return self.ledger.open_trade(
            channel=self.name,
            out_trade_no=order["out_trade_no"],
            amount=order["amount"]["total"],
            currency="CNY",
            description=order["description"],
            notify_url=order["notify_url"],
            request=order,
            expires_at=max(expires_at or now + _LONGEST_LIFE_US, now + _SHORTEST_LIFE_US),
        )

    def _query_by_our_number(self, call: Call, out_trade_no: str) -> Reply:
        self._check_query(call.request)
        return Reply(200, self._describe(self._require_trade(out_trade_no)))

    def _query_by_their_number(self, call: Call, transaction_id: str) -> Reply:
        self._check_query(call.request)
        trade = self.ledger.find_paid_trade(self.name, transaction_id)
        if trade is None:
            raise _refused(404, "ORDERNOTEXIST", "no such order")
        return Reply(200, self._describe(trade))

    def _close(self, call: Call, out_trade_no: str) -> Reply:
        self._check_mchid(_read_json(call.request))
        trade = self._require_trade(out_trade_no)
        if trade.status == "PAID":
            raise _refused(400, "ORDERPAID", "the order is paid")
        self.ledger.close_trade(trade)
        return Reply(204, None)

    # Refunds

    def _refund(self, call: Call) -> Reply:
        wish = _read_json(call.request)
        number = read_text(wish, "out_refund_no", longest=64, pattern=_OUT_REFUND_NO) or ""
        read_text(wish, "reason", longest=80, required=False)
        read_notify_url(wish, "notify_url", longest=256, required=False)
        read_integer(wish, "amount.refund", least=1)
        read_integer(wish, "amount.total", least=1)
        read_text(wish, "amount.currency", longest=3, pattern="CNY")
        trade = self._find_refunded_trade(wish)
        refund = self.ledger.find_refund(self.name, number)
        if refund is not None and (refund.trade_id, refund.request) != (trade.id, wish):
            raise _refused(400, "INVALID_REQUEST", "out_refund_no is taken by a refund with other parameters")
        refund = refund or self._accept(trade, wish, call.refund_end)
        return Reply(200, describe_refund(trade, refund))

    def _accept(self, trade: Trade, wish: dict[str, Any], ends_as: str) -> Refund:
        self._check_refundable(trade, wish)
        return self.ledger.open_refund(
            trade,
            out_refund_no=wish["out_refund_no"],
            channel_number="503" + make_digits(26),
            amount=wish["amount"]["refund"],
            notify_url=wish.get("notify_url") or "",
            request=wish,
            due_at=now_us() + int(self.refund_delay_s * SECOND_US),
            ends_as=ends_as,
        )

    def refund_in_console(self, trade: Trade, amount: int) -> Refund:
        """As the merchant platform does it: under a number of its own, notified where the order is. Raises Refused."""
        wish = {
            "out_refund_no": make_digits(28),
            "notify_url": trade.notify_url,
            "amount": {"refund": amount, "total": trade.amount, "currency": trade.currency},
        }
        return self._accept(trade, wish, ends_as="SUCCESS")

    def _check_refundable(self, trade: Trade, wish: dict[str, Any]) -> None:
        given_back = [
            refund.amount for refund in self.ledger.list_refunds(trade) if refund.status != "CLOSED"
        ]
        if trade.paid_at is None:
            raise _refused(403, "TRADE_ERROR", "the order is not paid")
        if now_us() - trade.paid_at > _REFUNDABLE_US:
            raise _refused(403, "TRADE_ERROR", "the payment is older than a year")
        if len(given_back) >= _REFUNDS_MAX:
            raise _refused(403, "RULE_LIMIT", f"an order has at most {_REFUNDS_MAX} refunds")
        if wish["amount"]["total"] != trade.amount:
            raise _refused(400, "INVALID_REQUEST", "amount.total is not the order's amount")
        if sum(given_back) + wish["amount"]["refund"] > trade.amount:
            raise _refused(400, "INVALID_REQUEST", "the refunds would exceed what was paid")

    def _find_refunded_trade(self, wish: dict[str, Any]) -> Trade:
        theirs = read_text(wish, "transaction_id", longest=32, required=False)
        ours = read_text(wish, "out_trade_no", longest=32, pattern=_OUT_TRADE_NO, required=theirs is None)
        if theirs is not None:
            trade = self.ledger.find_paid_trade(self.name, theirs)
        else:
            trade = self.ledger.find_trade(self.name, ours or "")
        if trade is None or ours not in (None, trade.out_trade_no):
            raise _refused(404, "RESOURCE_NOT_EXISTS", "no such order")
        return trade

    def _query_refund(self, call: Call, out_refund_no: str) -> Reply:
        refund = self.ledger.find_refund(self.name, out_refund_no)
        if refund is None:
            raise _refused(404, "RESOURCE_NOT_EXISTS", "no such refund")
        return Reply(200, describe_refund(self.ledger.get_trade(refund.trade_id), refund))

    # Certificates, for clients in certificate mode

    def _list_certificates(self, call: Call) -> Reply:
        certificate = self.keys.platform_certificate
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        return Reply(
            200,
            {
                "data": [
                    {
                        "serial_no": self.keys.platform_serial,
                        "effective_time": certificate.not_valid_before_utc.isoformat(),
                        "expire_time": certificate.not_valid_after_utc.isoformat(),
                        "encrypt_certificate": encrypt(self.keys.apiv3_key, pem, "certificate"),
                    }
                ]
            },
        )

    # Notifications

    def describe_notice(self, trade: Trade, refund: Refund | None) -> dict[str, Any]:
        """The content of a payment's is the query's; a refund's has its own, smaller set of fields."""
        if refund is None:
            return describe_trade(trade, "SUCCESS", mchid=self.keys.mchid, appid=self.keys.appid)
        return describe_refund_notice(trade, refund, mchid=self.keys.mchid)

    def compose(
        self,
        notice: Notice,
        refund: Refund | None,
        document: dict[str, Any] | bytes,
        *,
        is_forged: bool = False,
    ) -> Message:
        """The envelope of a notification, signed anew for this try under the same id."""
        body = document if isinstance(document, bytes) else self._wrap(notice, refund, document)
        headers = {"Content-Type": "application/json", "User-Agent": "Mozilla/4.0", "Connection": "close"}
        return Message(notice.url, headers | self.keys.seal(body, is_forged=is_forged), body)

    def _wrap(self, notice: Notice, refund: Refund | None, document: dict[str, Any]) -> bytes:
        kind = "transaction" if refund is None else "refund"
        sealed = encrypt(self.keys.apiv3_key, to_json(document), kind)
        return to_json(wrap_notice(notice, refund, {"original_type": kind, **sealed}))

    def is_acknowledged(self, status: int, body: bytes) -> bool:
        """The HTTP status alone decides; the body is not read."""
        return status in (200, 204)

    # Answers, errors, lies

    def seal(self, reply: Reply, request: Request, *, is_forged: bool = False) -> Response:
        """Sign an answer; every call whose own signature was right gets a signed one, refusals too."""
        document = reply.document
        body = b"" if document is None else document if isinstance(document, bytes) else to_json(document)
        response = Response(body, reply.status, content_type=_JSON)
        if reply.is_sealed:
            serial = request.headers.get("Wechatpay-Serial")
            response.headers.extend(self.keys.seal(body, serial=serial, is_forged=is_forged))
        return response

    def refuse(self, status: int, code: str, message: str) -> Reply:
        """`{"code", "message"}` with an HTTP status."""
        return Reply(status, {"code": code, "message": message})

    def find_words(self, what: str, operation: str) -> tuple[int, str]:
        """How `notfound` and `syserr` are said to an operation."""
        if what == "syserr":
            return 500, "SYSTEM_ERROR"
        return 404, "RESOURCE_NOT_EXISTS" if "refund" in operation else "ORDERNOTEXIST"

    def bend(self, document: dict[str, Any], lie: dict[str, Any]) -> dict[str, Any]:
        """The document with the told fields in place of the true ones."""
        return bend_document(document, lie)

    def make_channel_number(self) -> str:
        """A transaction_id: 28 digits."""
        return "4200" + make_digits(24)

    # What several calls share

    def _describe(self, trade: Trade) -> dict[str, Any]:
        is_refunded = trade.status == "PAID" and bool(self.ledger.list_refunds(trade))
        state = "REFUND" if is_refunded else TRADE_STATES[trade.status]
        return describe_trade(trade, state, mchid=self.keys.mchid, appid=self.keys.appid)

    def _check_merchant(self, document: dict[str, Any]) -> None:
        self._check_mchid(document)
        if read_text(document, "appid", longest=32) != self.keys.appid:
            raise _refused(400, "APPID_MCHID_NOT_MATCH", "this appid is not bound to the mchid")

    def _check_mchid(self, document: dict[str, Any]) -> None:
        if read_text(document, "mchid", longest=32) != self.keys.mchid:
            raise _refused(400, "PARAM_ERROR", "mchid is not the mchid of the signature", {"field": "/mchid"})

    def _check_query(self, request: Request) -> None:
        self._check_mchid(request.args.to_dict())

    def _require_trade(self, out_trade_no: str) -> Trade:
        trade = self.ledger.find_trade(self.name, out_trade_no)
        if trade is None:
            raise _refused(404, "ORDERNOTEXIST", "no such order")
        return trade


def _check_same_order(trade: Trade, order: dict[str, Any]) -> None:
    if trade.status == "PAID":
        raise _refused(400, "ORDERPAID", "the order is paid")
    if trade.status == "CLOSED":
        raise _refused(400, "ORDERCLOSED", "the order is closed; use a new out_trade_no")
    if now_us() >= trade.expires_at:
        raise _refused(400, "INVALID_REQUEST", "the time to pay is over; use a new out_trade_no")
    if trade.request != order:
        raise _refused(400, "INVALID_REQUEST", "out_trade_no is taken by an order with other parameters")


def _parse_authorization(header: str) -> dict[str, str]:
    """The five pairs, in any order."""
    scheme, _, rest = header.partition(" ")
    parts = [_PAIR.fullmatch(part.strip()) for part in rest.split(",")]
    pairs = {part[1]: part[2] for part in parts if part}
    if scheme != SCHEME or set(pairs) != _PAIRS or len(parts) != len(_PAIRS):
        raise _unsigned(f"Authorization must be {SCHEME} with {', '.join(sorted(_PAIRS))}, once each")
    return pairs


def _read_json(request: Request) -> dict[str, Any]:
    if request.mimetype != "application/json":
        raise _refused(400, "PARAM_ERROR", "Content-Type must be application/json")
    try:
        document = json.loads(request.get_data().decode(), parse_constant=_refuse_constant)
        to_json(document)  # a lone surrogate can be escaped in JSON but is no text
    except (ValueError, RecursionError) as error:
        raise _refused(400, "PARAM_ERROR", "the body is not JSON in UTF-8") from error
    if not isinstance(document, dict):
        raise _refused(400, "PARAM_ERROR", "the body is not a JSON object")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _refused(status: int, code: str, message: str, detail: dict[str, str] | None = None) -> Refused:
    return Refused(Reply(status, {"code": code, "message": message} | ({"detail": detail} if detail else {})))


def _unsigned(message: str, status: int = 401, code: str = "SIGN_ERROR") -> Refused:
    """A caller who did not sign gets no signature either."""
    return Refused(Reply(status, {"code": code, "message": message}, is_sealed=False))
