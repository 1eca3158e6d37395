"""WeChat Pay API v3 as its merchants meet it: direct merchant, native, H5 and app orders, refunds, bills, notifications.

Written from the channel's public documentation and never from the shop's adapter, so that the two check each
other. It is as strict as the real one, and where the real one is silent it says no. Error codes are spelled
as its tables spell them, with and without `_`. In one thing it is quicker: the bill of a day is made at once, also of
the present one, where the real one takes until the next morning.
"""

import re
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import serialization
from werkzeug import Request, Response

from payments.sandbox.clock import BEIJING, SECOND_US, now_us, to_us
from payments.sandbox.fields import BadField, read_integer, read_moment, read_notify_url, read_text, split_url
from payments.sandbox.keys import Keyring, make_digits
from payments.sandbox.ledger import Ledger
from payments.sandbox.records import Notice, Refund, Trade
from payments.sandbox.side import Call, Message, Reply, Route, Side, send_to_wallet
from payments.sandbox.signing import is_signed
from payments.sandbox.wechat_bills import digest, pack, write_bill
from payments.sandbox.wechat_documents import (
    TRADE_STATES,
    bend_document,
    describe_refund,
    describe_refund_notice,
    describe_trade,
    to_json,
    wrap_notice,
)
from payments.sandbox.wechat_reading import (
    H5_PAGE,
    check_same_order,
    check_scene,
    make_handle,
    parse_authorization,
    read_day,
    read_json,
    refuse_page,
    refused,
    show_handle,
    unsigned,
)
from payments.sandbox.wechat_seals import (
    WeChatKeys,
    build_app_text,
    build_request_text,
    encrypt,
    make_letters,
)

WINDOW_S = 300
_JSON = "application/json; charset=utf-8"
_OUT_TRADE_NO = r"[0-9A-Za-z_\-|*]{6,32}"
_OUT_REFUND_NO = r"[0-9A-Za-z_\-|*@]{1,64}"

_MINUTE_US = 60 * SECOND_US
_BILL_LIFE_US = 5 * _MINUTE_US
# No server is called with these parameters in real life: what comes here is what the SDK in the app hands to WeChat.
_APP_PAGE = "/_sandbox/wechat/app"
_APP_PARAMETERS = {"appid", "partnerid", "prepayid", "package", "noncestr", "timestamp", "sign"}

_SHORTEST_LIFE_US = _MINUTE_US
_LONGEST_LIFE_US = 7 * 24 * 3600 * SECOND_US
_REFUNDABLE_US = 365 * 24 * 3600 * SECOND_US
_REFUNDS_MAX = 50


# How an order is paid, by the last part of its path: the word for it in queries, and for how long its handle is good.
_PRODUCTS = {
    "native": ("NATIVE", 120 * _MINUTE_US),
    "h5": ("MWEB", 5 * _MINUTE_US),
    "app": ("APP", 120 * _MINUTE_US),
}


@dataclass(frozen=True)
class _Bill:
    """A file that waits to be fetched."""

    content: bytes
    until: int


class WeChat(Side):
    """The platform of WeChat Pay and the one merchant it knows."""

    name = "wechat"
    title = "WeChat Pay"
    answer_limit_s = 5.0
    gaps_s = (15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600)
    routes = (
        Route("POST", "/v3/pay/transactions/<any(native, h5, app):product>", "create", "create"),
        Route("GET", "/v3/pay/transactions/out-trade-no/<out_trade_no>", "query", "query_by_our_number"),
        Route("GET", "/v3/pay/transactions/id/<transaction_id>", "query", "query_by_their_number"),
        Route("POST", "/v3/pay/transactions/out-trade-no/<out_trade_no>/close", "close", "close"),
        Route("POST", "/v3/refund/domestic/refunds", "refund", "refund"),
        Route("GET", "/v3/refund/domestic/refunds/<out_refund_no>", "query_refund", "query_refund"),
        Route("GET", "/v3/bill/tradebill", "statement", "make_bill"),
        Route("GET", "/v3/billdownload/file", "statement", "download_bill"),
        Route("GET", "/v3/certificates", "", "list_certificates"),
        Route("GET", H5_PAGE, "", "open_h5"),
        Route("GET", _APP_PAGE, "", "open_app"),
    )

    def __init__(self, keyring: Keyring, ledger: Ledger, refund_delay_s: float) -> None:
        super().__init__(keyring, ledger, refund_delay_s)
        self.keys = WeChatKeys(keyring)
        self._bills: dict[str, _Bill] = {}

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
        if request.path in (H5_PAGE, _APP_PAGE):
            return  # a shopper comes, not the merchant
        if not request.headers.get("Accept") or not request.headers.get("User-Agent"):
            raise unsigned("the headers Accept and User-Agent are required", 400, "PARAM_ERROR")
        pairs = parse_authorization(request.headers.get("Authorization", ""))
        if pairs["mchid"] != self.keys.mchid or pairs["serial_no"] != self.keys.merchant_serial:
            raise unsigned("this merchant or this certificate serial is unknown")
        if (
            not re.fullmatch(r"[0-9]{10}", pairs["timestamp"])
            or abs(time.time() - int(pairs["timestamp"])) > WINDOW_S
        ):
            raise unsigned(f"timestamp must be Unix seconds within {WINDOW_S} s of now")
        if not re.fullmatch(r"[0-9A-Za-z]{1,32}", pairs["nonce_str"]):
            raise unsigned("nonce_str must be 1 to 32 letters and digits")
        text = build_request_text(
            request.method,
            request.environ["RAW_URI"],
            pairs["timestamp"],
            pairs["nonce_str"],
            request.get_data(),
        )
        if not is_signed(self.keys.merchant_key.public_key(), text, pairs["signature"]):
            raise unsigned("the signature does not fit the request")

    def act(self, handler: str, call: Call, **parts: str) -> Reply:
        """Run one handler; a field that breaks its rule becomes 400 PARAM_ERROR."""
        try:
            reply: Reply = getattr(self, f"_{handler}")(call, **parts)
        except BadField as wrong:
            detail = {"field": "/" + wrong.field.replace(".", "/"), "issue": wrong.problem}
            raise refused(400, "PARAM_ERROR", str(wrong), detail) from wrong
        return reply

    # Orders

    def _create(self, call: Call, product: str) -> Reply:
        order = read_json(call.request)
        self._check_merchant(order)
        read_text(order, "description", longest=127)
        read_text(order, "attach", longest=128, required=False)
        number = read_text(order, "out_trade_no", longest=32, pattern=_OUT_TRADE_NO) or ""
        read_notify_url(order, "notify_url", longest=255)
        read_integer(order, "amount.total", least=1)
        read_text(order, "amount.currency", longest=3, pattern="CNY", required=False)
        expires_at = read_moment(order, "time_expire")
        if product == "h5":
            check_scene(order)
        trade_type, life_us = _PRODUCTS[product]
        trade = self.ledger.find_trade(self.name, number) or self._open(order, expires_at, trade_type)
        check_same_order(trade, order, trade_type)
        content = make_handle(product)
        self.ledger.add_handle(trade, content, min(now_us() + life_us, trade.expires_at))
        return Reply(200, show_handle(product, content, call.request))

    def _open(self, order: dict[str, Any], expires_at: int | None, trade_type: str) -> Trade:
        now = now_us()
        trade = self.ledger.open_trade(
            channel=self.name,
            out_trade_no=order["out_trade_no"],
            amount=order["amount"]["total"],
            currency="CNY",
            description=order["description"],
            notify_url=order["notify_url"],
            request=order,
            expires_at=max(expires_at or now + _LONGEST_LIFE_US, now + _SHORTEST_LIFE_US),
        )
        return self.ledger.note(trade, trade_type=trade_type)

    # The shopper's way into the wallet

    def _open_h5(self, call: Call) -> Reply:
        """The page behind an h5_url. A browser must come from the merchant's registered domain, and says so by Referer."""
        found = self.ledger.find_by_handle(call.request.args.get("prepay_id", ""))
        back = call.request.args.get("redirect_url", "")
        if found is None or found[0].notes.get("trade_type") != "MWEB":
            return refuse_page("商家参数格式有误，请联系商家解决", "no H5 order has this prepay_id")
        if split_url(call.request.headers.get("Referer", "")) is None:
            return refuse_page(
                "商家参数格式有误，请联系商家解决", "the browser sent no Referer of the merchant's domain"
            )
        if back and split_url(back) is None:
            return refuse_page("商家参数格式有误，请联系商家解决", "redirect_url is no address")
        self.ledger.note(found[0], return_url=back)
        return send_to_wallet(call.request.args["prepay_id"])

    def _open_app(self, call: Call) -> Reply:
        """What the app's SDK does with the merchant's parameters: verify them, and show the order."""
        given = call.request.args.to_dict()
        wanted = {"appid": self.keys.appid, "partnerid": self.keys.mchid, "package": "Sign=WXPay"}
        if set(given) != _APP_PARAMETERS or any(given[name] != value for name, value in wanted.items()):
            raise unsigned("these are not the parameters of an app's payment", 400, "PARAM_ERROR")
        text = build_app_text(given["appid"], given["timestamp"], given["noncestr"], given["prepayid"])
        if not is_signed(self.keys.merchant_key.public_key(), text, given["sign"]):
            raise unsigned("the merchant's signature does not fit the parameters")
        found = self.ledger.find_by_handle(given["prepayid"])
        if found is None or found[0].notes.get("trade_type") != "APP":
            raise unsigned("no app order has this prepayid", 400, "PARAM_ERROR")
        return send_to_wallet(given["prepayid"])

    def read_return(self, trade: Trade) -> str:
        """The redirect_url of the H5 page; a QR code and an app lead nowhere."""
        return str(trade.notes.get("return_url", ""))

    # Query, close

    def _query_by_our_number(self, call: Call, out_trade_no: str) -> Reply:
        self._check_query(call.request)
        return Reply(200, self._describe(self._require_trade(out_trade_no)))

    def _query_by_their_number(self, call: Call, transaction_id: str) -> Reply:
        self._check_query(call.request)
        trade = self.ledger.find_paid_trade(self.name, transaction_id)
        if trade is None:
            raise refused(404, "ORDERNOTEXIST", "no such order")
        return Reply(200, self._describe(trade))

    def _close(self, call: Call, out_trade_no: str) -> Reply:
        self._check_mchid(read_json(call.request))
        trade = self._require_trade(out_trade_no)
        if trade.status == "PAID" or not self.close(call, trade):
            return self.refuse(400, "ORDERPAID", "the order is paid")
        return Reply(204, None)

    # Refunds

    def _refund(self, call: Call) -> Reply:
        wish = read_json(call.request)
        number = read_text(wish, "out_refund_no", longest=64, pattern=_OUT_REFUND_NO) or ""
        read_text(wish, "reason", longest=80, required=False)
        read_notify_url(wish, "notify_url", longest=256, required=False)
        read_integer(wish, "amount.refund", least=1)
        read_integer(wish, "amount.total", least=1)
        read_text(wish, "amount.currency", longest=3, pattern="CNY")
        trade = self._find_refunded_trade(wish)
        refund = self.ledger.find_refund(self.name, number)
        if refund is not None and (refund.trade_id, refund.request) != (trade.id, wish):
            raise refused(400, "INVALID_REQUEST", "out_refund_no is taken by a refund with other parameters")
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
            raise refused(403, "TRADE_ERROR", "the order is not paid")
        if now_us() - trade.paid_at > _REFUNDABLE_US:
            raise refused(403, "TRADE_ERROR", "the payment is older than a year")
        if len(given_back) >= _REFUNDS_MAX:
            raise refused(403, "RULE_LIMIT", f"an order has at most {_REFUNDS_MAX} refunds")
        if wish["amount"]["total"] != trade.amount:
            raise refused(400, "INVALID_REQUEST", "amount.total is not the order's amount")
        if sum(given_back) + wish["amount"]["refund"] > trade.amount:
            raise refused(400, "INVALID_REQUEST", "the refunds would exceed what was paid")

    def _find_refunded_trade(self, wish: dict[str, Any]) -> Trade:
        theirs = read_text(wish, "transaction_id", longest=32, required=False)
        ours = read_text(wish, "out_trade_no", longest=32, pattern=_OUT_TRADE_NO, required=theirs is None)
        if theirs is not None:
            trade = self.ledger.find_paid_trade(self.name, theirs)
        else:
            trade = self.ledger.find_trade(self.name, ours or "")
        if trade is None or ours not in (None, trade.out_trade_no):
            raise refused(404, "RESOURCE_NOT_EXISTS", "no such order")
        return trade

    def _query_refund(self, call: Call, out_refund_no: str) -> Reply:
        refund = self.ledger.find_refund(self.name, out_refund_no)
        if refund is None:
            raise refused(404, "RESOURCE_NOT_EXISTS", "no such refund")
        return Reply(200, describe_refund(self.ledger.get_trade(refund.trade_id), refund))

    # Bills

    def _make_bill(self, call: Call) -> Reply:
        wish = call.request.args.to_dict()
        day = read_day(read_text(wish, "bill_date", longest=10, pattern=r"\d{4}-\d\d-\d\d") or "")
        # The bills of payments alone and of refunds alone have other columns; nobody here reads them.
        read_text(wish, "bill_type", longest=10, pattern="ALL", required=False)
        packing = read_text(wish, "tar_type", longest=10, pattern="GZIP", required=False)
        start, end = (
            to_us(datetime.combine(at, datetime.min.time(), BEIJING)) for at in (day, day + timedelta(days=1))
        )
        lines = self.list_booked(call, start, end)
        if not lines:
            raise refused(400, "NO_STATEMENT_EXIST", "there were no trades on this day")
        text = write_bill(lines, mchid=self.keys.mchid, appid=self.keys.appid)
        token = self._keep_bill(pack(text) if packing else text)
        url = f"{call.request.host_url}v3/billdownload/file?token={token}"
        return Reply(200, {"hash_type": "SHA1", "hash_value": digest(text), "download_url": url})

    def _keep_bill(self, content: bytes) -> str:
        now, token = now_us(), make_letters(64)
        self._bills = {kept: bill for kept, bill in self._bills.items() if bill.until > now}
        self._bills[token] = _Bill(content, now + _BILL_LIFE_US)
        return token

    def _download_bill(self, call: Call) -> Reply:
        """The file itself, without a signature."""
        bill = self._bills.get(call.request.args.get("token", ""))
        if bill is None or bill.until <= now_us():
            raise refused(400, "PARAM_ERROR", "this token is unknown or too old")
        return Reply(200, bill.content, is_sealed=False, content_type="text/plain; charset=utf-8")

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

    def describe_notice(self, trade: Trade, refund: Refund | None, event: str) -> dict[str, Any]:
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
        response = Response(body, reply.status, content_type=reply.content_type or _JSON)
        response.headers.extend(reply.headers)
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
            raise refused(400, "APPID_MCHID_NOT_MATCH", "this appid is not bound to the mchid")

    def _check_mchid(self, document: dict[str, Any]) -> None:
        if read_text(document, "mchid", longest=32) != self.keys.mchid:
            raise refused(400, "PARAM_ERROR", "mchid is not the mchid of the signature", {"field": "/mchid"})

    def _check_query(self, request: Request) -> None:
        self._check_mchid(request.args.to_dict())

    def _require_trade(self, out_trade_no: str) -> Trade:
        trade = self.ledger.find_trade(self.name, out_trade_no)
        if trade is None:
            raise refused(404, "ORDERNOTEXIST", "no such order")
        return trade
