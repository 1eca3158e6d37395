"""UnionPay's online gateway 5.1.0 as its merchants meet it: QR, WAP page, app, query, refund, undo, statement.

Written from the channel's public documentation and never from the shop's adapter, so that the two check each other. It is
as strict as the real one, and where the real one is silent it says no. Its habits: every answer is HTTP 200 and not
url-encoded, a fresh trade may be invisible to the first query, nothing can be closed, and only successes are notified.
"""

import re
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode

from werkzeug import Request, Response

from payments.sandbox.clock import SECOND_US, now_us
from payments.sandbox.fields import BadField, read_text
from payments.sandbox.keys import Keyring, make_digits
from payments.sandbox.ledger import Ledger
from payments.sandbox.records import Booking, Notice, Refund, Trade
from payments.sandbox.side import Call, Message, Refused, Reply, Route, Side, send_to_wallet
from payments.sandbox.unionpay_documents import (
    REFUND_CODES,
    bend_document,
    describe_refund,
    describe_trade,
    find_clearing_day,
    find_clearing_window,
    say,
    write_answer,
    write_time,
)
from payments.sandbox.unionpay_reading import (
    FORM,
    ORDER_ID,
    TEXT,
    read_form,
    read_moment,
    read_order,
    read_question,
    read_refund,
    read_settle_date,
    refused,
)
from payments.sandbox.unionpay_seals import RSA_METHOD, VERSION, UnionPayKeys
from payments.sandbox.unionpay_statement import pack_book

FRONT, BACK = "/gateway/api/frontTransReq.do", "/gateway/api/backTransReq.do"
APP, QUERY = "/gateway/api/appTransReq.do", "/gateway/api/queryTrans.do"
# The real one has a host of its own for files and takes them at /, which is no path of one channel here.
FILES = "/gateway/api/fileTransReq.do"

_BACK_CALLS = {"01": ("create", "qr"), "04": ("refund", "refund"), "31": ("refund", "undo")}
_HIDDEN_US = SECOND_US
_REFUNDABLE_US = 330 * 24 * 3600 * SECOND_US


class UnionPay(Side):
    """The gateway and the one merchant it knows."""

    name = "unionpay"
    title = "UnionPay"
    answer_limit_s = 10.0
    gaps_s = (60, 120, 240, 300)
    routes = (
        Route("POST", FRONT, "create", "front"),
        Route("POST", BACK, "", "unknown"),
        Route("POST", APP, "create", "app"),
        Route("POST", QUERY, "query", "query"),
        Route("POST", FILES, "statement", "file"),
    )

    def __init__(self, keyring: Keyring, ledger: Ledger, refund_delay_s: float) -> None:
        super().__init__(keyring, ledger, refund_delay_s)
        self.keys = UnionPayKeys(keyring)

    @property
    def payee(self) -> str:
        """The merchant's name in the wallet."""
        return f"Sandbox merchant {self.keys.mer_id}"

    def read_environment(self, base_url: str) -> dict[str, str]:
        """The merchant's credentials, and where this side listens."""
        addresses = {"UNIONPAY_BASE_URL": base_url, "UNIONPAY_STATEMENT_URL": base_url + FILES}
        return addresses | self.keys.read_environment()

    def read_route(self, route: Route, request: Request) -> tuple[str, str]:
        """backTransReq carries most calls, told apart by txnType; it takes queries too, as queryTrans does."""
        params = dict(parse_qsl(request.get_data().decode(errors="replace")))
        if route.path == BACK and params.get("txnType") != "00":
            return _BACK_CALLS.get(params.get("txnType", ""), ("", "unknown"))
        if route.path in (BACK, QUERY):
            is_refund = self.ledger.find_refund(self.name, params.get("orderId", "")) is not None
            return "query_refund" if is_refund else "query", "query"
        return route.operation, route.handler

    # Who is calling

    def authenticate(self, request: Request) -> None:
        """Verify the merchant's signature over the parameters. Raises Refused: 10, 31 or, not signed by us, 11."""
        try:
            self._check_caller(read_form(request))
        except Refused as error:
            raise Refused(_show_page(error) if request.path == FRONT else error.reply) from error

    def _check_caller(self, params: dict[str, str]) -> None:
        if params.get("version") != VERSION or params.get("signMethod") != RSA_METHOD:
            raise refused("10", f"version must be {VERSION} and signMethod {RSA_METHOD}")
        if params.get("merId") != self.keys.mer_id:
            raise refused("31", "this merchant is unknown")
        if not self.keys.is_from_merchant(params):
            raise refused("11", is_sealed=False)  # a caller who did not sign gets no signature either

    def act(self, handler: str, call: Call, **parts: str) -> Reply:
        """Run one handler; a parameter that is missing becomes 13, one that breaks its rule 10."""
        try:
            return self._act(handler, call)
        except Refused as error:
            raise Refused(_show_page(error) if handler == "front" else error.reply) from error

    def _act(self, handler: str, call: Call) -> Reply:
        params = read_form(call.request)
        try:
            read_text(params, "encoding", longest=20, pattern="UTF-8")
            read_text(params, "accessType", longest=1, pattern="0")
            reply: Reply = getattr(self, f"_{handler}")(call, params)
        except BadField as wrong:
            raise refused("13" if wrong.problem == "is required" else "10", str(wrong)) from wrong
        return reply

    def _unknown(self, call: Call, params: dict[str, str]) -> Reply:
        raise refused("32", "this txnType is not taken here")

    # Payments

    def _qr(self, call: Call, params: dict[str, str]) -> Reply:
        trade = self._open(params, "qr")
        content = f"https://qr.95516.com/00010000/62{make_digits(30)}"
        self.ledger.add_handle(trade, content, trade.expires_at)
        return _done({"qrCode": content})

    def _app(self, call: Call, params: dict[str, str]) -> Reply:
        trade = self._open(params, "app")
        number = make_digits(21)
        self.ledger.add_handle(trade, number, trade.expires_at)
        return _done({"tn": number})

    def _front(self, call: Call, params: dict[str, str]) -> Reply:
        """The shopper's browser comes with the form; with the same one again, to the same unpaid order."""
        known = self.ledger.find_trade(self.name, params.get("orderId", ""))
        if known is not None and known.status == "OPEN" and known.request == _drop_signature(params):
            trade = known
        else:
            trade = self._open(params, "front")
        content = f"https://cashier.95516.com/b2c/{make_digits(24)}"
        self.ledger.add_handle(trade, content, trade.expires_at)
        return send_to_wallet(content)

    def _open(self, params: dict[str, str], product: str) -> Trade:
        expires_at = read_order(params, product)
        self._check_unused(params["orderId"])
        return self.ledger.open_trade(
            channel=self.name,
            out_trade_no=params["orderId"],
            amount=int(params["txnAmt"]),
            currency="CNY",
            description=params.get("orderDesc", ""),
            notify_url=params["backUrl"],
            request=_drop_signature(params),
            expires_at=expires_at,
        )

    def _check_unused(self, order_id: str) -> None:
        # Under another txnTime it would be another trade, but a number is good for one on one day only.
        if self.ledger.find_trade(self.name, order_id) or self.ledger.find_refund(self.name, order_id):
            raise refused("12", "this orderId is taken")

    def _query(self, call: Call, params: dict[str, str]) -> Reply:
        """Of a payment or a refund, by orderId and txnTime of it. `respCode` is the query's, `origRespCode` the trade's."""
        order_id = read_question(params)
        refund = self.ledger.find_refund(self.name, order_id)
        trade = (
            self.ledger.get_trade(refund.trade_id) if refund else self.ledger.find_trade(self.name, order_id)
        )
        subject = refund or trade
        if trade is None or subject is None or subject.request["txnTime"] != params["txnTime"]:
            raise refused("34", "no such trade")
        if subject.request["bizType"] != params["bizType"]:
            raise refused("34", "no such trade of this product")
        if subject.status in ("OPEN", "PROCESSING") and self._is_hidden(trade, order_id, subject.created_at):
            return Reply(200, {"respCode": "34", "respMsg": say("34")})
        code = REFUND_CODES[refund.status] if refund else _find_trade_code(trade)
        described = describe_refund(trade, refund) if refund else describe_trade(trade)
        return _done(described | {"origRespCode": code, "origRespMsg": say(code)})

    def _is_hidden(self, trade: Trade, order_id: str, created_at: int) -> bool:
        """Whether a query comes too early: the first one, within a second after a trade was begun."""
        if now_us() - created_at >= _HIDDEN_US or order_id in trade.notes:
            return False
        self.ledger.note(trade, **{order_id: "asked about"})
        return True

    # Refunds

    def _refund(self, call: Call, params: dict[str, str]) -> Reply:
        trade = self._find_original(params, "04")
        given_back = self._list_given_back(trade)
        if sum(given_back) >= trade.amount:
            raise refused("45", "nothing is left to give back")
        if sum(given_back) + int(params["txnAmt"]) > trade.amount:
            raise refused("36", "the refunds would exceed what was paid")
        return self._accept(trade, params, call.refund_end)

    def _undo(self, call: Call, params: dict[str, str]) -> Reply:
        trade = self._find_original(params, "31")
        if self._list_given_back(trade):
            raise refused("45", "it has been given back already")
        if int(params["txnAmt"]) != trade.amount:
            raise refused("36", "an undo is of the whole amount")
        if find_clearing_day(trade.paid_at or 0) != find_clearing_day(now_us()):
            raise refused("39", "an undo is for the same clearing day")
        return self._accept(trade, params, call.refund_end)

    def _find_original(self, params: dict[str, str], txn_type: str) -> Trade:
        """The paid trade that a refund or an undo names, once its parameters are right."""
        read_refund(params, txn_type)
        self._check_unused(params["orderId"])
        trade = self._find_named(params)
        if trade is None or trade.paid_at is None:
            raise refused("35", "no such paid trade")
        if trade.request["bizType"] != params["bizType"]:
            raise refused("36", "bizType is not the original's")
        if now_us() - trade.paid_at > _REFUNDABLE_US:
            raise refused("39", "the payment is too old")
        return trade

    def _find_named(self, params: dict[str, str]) -> Trade | None:
        if "origQryId" in params:
            return self.ledger.find_paid_trade(self.name, params["origQryId"])
        order_id = read_text(params, "origOrderId", longest=32, pattern=ORDER_ID) or ""
        trade = self.ledger.find_trade(self.name, order_id)
        read_moment(params, "origTxnTime")
        return trade if trade and trade.request["txnTime"] == params["origTxnTime"] else None

    def _list_given_back(self, trade: Trade) -> list[int]:
        return [refund.amount for refund in self.ledger.list_refunds(trade) if refund.status != "CLOSED"]

    def _accept(self, trade: Trade, params: dict[str, str], ends_as: str) -> Reply:
        refund = self._open_refund(trade, params, ends_as)
        return _done(describe_refund(trade, refund) | {"queryId": refund.channel_number})

    def _open_refund(self, trade: Trade, params: dict[str, str], ends_as: str) -> Refund:
        return self.ledger.open_refund(
            trade,
            out_refund_no=params["orderId"],
            channel_number=self.make_channel_number(),
            amount=int(params["txnAmt"]),
            notify_url=params.get("backUrl", "") if ends_as == "SUCCESS" else "",
            request=_drop_signature(params),
            due_at=now_us() + int(self.refund_delay_s * SECOND_US),
            ends_as=ends_as,
        )

    def refund_in_console(self, trade: Trade, amount: int) -> Refund:
        """As the merchant's console does it: under a number of its own, and nobody is notified. Raises Refused."""
        if trade.paid_at is None or sum(self._list_given_back(trade)) + amount > trade.amount:
            raise refused("36", "more than is left of what was paid")
        wish = {
            "txnType": "04",
            "bizType": trade.request["bizType"],
            "orderId": make_digits(20),
            "txnTime": write_time(now_us()),
            "txnAmt": str(amount),
        }
        return self._open_refund(trade, wish, "SUCCESS")

    # Statements

    def _file(self, call: Call, params: dict[str, str]) -> Reply:
        """The book of a clearing day. The real one comes the next morning; here it stands as soon as it has a line."""
        day = read_settle_date(params)
        lines = [
            line for line in self.list_booked(call, *find_clearing_window(day)) if not self._is_undone(line)
        ]
        if not lines:
            raise refused("98", "no trade stands in this clearing day")
        return _done(
            {
                "settleDate": params["settleDate"],
                "fileType": "00",
                "fileName": f"{self.keys.mer_id}_{day:%Y%m%d}.zip",
                "fileContent": pack_book(lines, day, self.keys.mer_id),
            }
        )

    def _is_undone(self, line: Booking) -> bool:
        """An undone trade vanishes from clearing, and its undo with it."""
        refunds = self.ledger.list_refunds(line.trade)
        return any(refund.request["txnType"] == "31" and refund.status == "SUCCESS" for refund in refunds)

    # Notifications

    def describe_notice(self, trade: Trade, refund: Refund | None, event: str) -> dict[str, Any]:
        """As a query tells it, but respCode is the trade's own; the signed text is the same at every try."""
        described = describe_refund(trade, refund) if refund else describe_trade(trade)
        return described | {"respCode": "00", "respMsg": say("00")}

    def compose(
        self,
        notice: Notice,
        refund: Refund | None,
        document: dict[str, Any] | bytes,
        *,
        is_forged: bool = False,
    ) -> Message:
        """A url-encoded form, unlike an answer."""
        headers = {"Content-Type": f"{FORM};charset=UTF-8", "User-Agent": "Mozilla/4.0"}
        if isinstance(document, bytes):
            return Message(notice.url, headers, document)
        params = self.keys.seal(self._wrap(document), is_forged=is_forged)
        return Message(notice.url, headers, urlencode(params).encode())

    def is_acknowledged(self, status: int, body: bytes) -> bool:
        """The HTTP status alone decides; the body is not read."""
        return status in (200, 302)

    # Answers, errors, lies

    def seal(self, reply: Reply, request: Request, *, is_forged: bool = False) -> Response:
        """Sign an answer; it says again what it answers. What is for a browser goes out as it is."""
        if not isinstance(reply.document, dict):
            kind = reply.content_type or "text/html; charset=utf-8"
            return Response(reply.document, reply.status, headers=dict(reply.headers), content_type=kind)
        params = self._wrap(_echo(request) | reply.document)
        if reply.is_sealed:
            params = self.keys.seal(params, is_forged=is_forged)
        return Response(write_answer(params), reply.status, content_type="text/html; charset=utf-8")

    def _wrap(self, document: dict[str, str]) -> dict[str, str]:
        common = {
            "version": VERSION,
            "encoding": "UTF-8",
            "signMethod": RSA_METHOD,
            "merId": self.keys.mer_id,
            "accessType": "0",
        }
        return {name: value for name, value in (common | document).items() if value != ""}

    def refuse(self, status: int, code: str, message: str) -> Reply:
        """HTTP 200 whatever the status would be: the code says it."""
        return Reply(200, {"respCode": code, "respMsg": say(code, message)})

    def find_words(self, what: str, operation: str) -> tuple[int, str]:
        """How `notfound` and `syserr` are said to an operation."""
        if what == "syserr":
            return 200, "99"
        return 200, "35" if operation == "refund" else "34"

    def bend(self, document: dict[str, Any], lie: dict[str, Any]) -> dict[str, Any]:
        """The document with the told parameters in place of the true ones."""
        return bend_document(document, lie)

    def make_channel_number(self) -> str:
        """A queryId: 21 digits, the moment first."""
        return write_time(now_us()) + make_digits(7)

    def read_return(self, trade: Trade) -> str:
        """The frontUrl of a trade that was begun in the browser."""
        return str(trade.request.get("frontUrl", ""))


# Answering


def _find_trade_code(trade: Trade) -> str:
    """Unpaid stays "taken, not decided", also after payTimeout, as the real code then is documented nowhere."""
    if trade.status == "PAID":
        return "00"
    return "05" if trade.declined_at is None else "64"


def _done(document: dict[str, str]) -> Reply:
    return Reply(200, document | {"respCode": "00", "respMsg": say("00")})


def _echo(request: Request) -> dict[str, str]:
    """What an answer says again; not what would be read as other parameters there."""
    asked = dict(parse_qsl(request.get_data().decode(errors="replace")))
    told = ("txnType", "txnSubType", "bizType", "orderId", "txnTime", "reqReserved")
    return {name: asked[name] for name in told if re.fullmatch(TEXT, asked.get(name, ""))}


def _drop_signature(params: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in params.items() if name not in ("signature", "certId")}


def _show_page(error: Refused) -> Reply:
    """The same refusal for the eyes of a shopper."""
    document = error.reply.document
    words = str(document["respMsg"]) if isinstance(document, dict) else "refused"
    page = f"<!doctype html><meta charset=utf-8><title>UnionPay</title><p>{escape(words)}</p>"
    return Reply(400, page.encode(), content_type="text/html; charset=utf-8")
