"""Alipay's gateway as a merchant's app meets it: codes, mobile and app payments, refunds, notifications, bills.

Written from the open platform's documentation and never from the shop's adapter, so that the two check each other. As strict
as the real one, and where that is silent it says no. A trade of Alipay's comes into being when the shopper scans the code
or logs in; until then there is only a row of ours, of which no call knows.
"""

import json
import secrets
from collections.abc import Iterator
from datetime import datetime
from html import escape
from itertools import chain
from typing import Any
from urllib.parse import urlencode

from werkzeug import Request, Response

from payments.sandbox.alipay_bills import BillShelf, write_bill
from payments.sandbox.alipay_documents import (
    OK,
    bend_document,
    describe_delayed_refund,
    describe_failure,
    describe_known_refund,
    describe_missing,
    describe_notice,
    describe_refund,
    describe_trade,
    find_status,
    format_time,
    format_yuan,
    name_trade,
    number_notice,
    sum_refunds,
)
from payments.sandbox.alipay_reading import (
    METHODS,
    NUMBER,
    check_common,
    check_same_order,
    read_content,
    read_day,
    read_expiry,
    read_fen,
    read_fields,
    read_life,
    read_method,
    refused,
)
from payments.sandbox.alipay_seals import AlipayKeys, build_text
from payments.sandbox.clock import BEIJING, SECOND_US, now_us, to_datetime, to_us
from payments.sandbox.fields import BadField, read_notify_url, read_text
from payments.sandbox.keys import Keyring, make_digits
from payments.sandbox.ledger import Ledger
from payments.sandbox.records import Notice, NotPayable, Refund, Trade, find_hindrance
from payments.sandbox.side import Call, Message, Reply, Route, Side, send_to_wallet
from payments.sandbox.signing import is_signed

_BILL_PATH = "/downloadBillFile.resource"
_DAY_US = 24 * 3600 * SECOND_US


class Alipay(Side):
    """Alipay's open platform and the one app of the one merchant that it knows."""

    name = "alipay"
    title = "Alipay"
    answer_limit_s = 5.0
    gaps_s = (240, 600, 600, 3600, 7200, 21600, 54000)
    routes = (
        Route("GET", "/gateway.do", "", ""),
        Route("POST", "/gateway.do", "", ""),
        Route("GET", _BILL_PATH, "statement", "download_bill"),
    )

    def __init__(self, keyring: Keyring, ledger: Ledger, refund_delay_s: float) -> None:
        super().__init__(keyring, ledger, refund_delay_s)
        self.keys = AlipayKeys(keyring)
        self._bills = BillShelf()

    @property
    def payee(self) -> str:
        """The merchant's name in the wallet."""
        return f"Sandbox merchant {self.keys.seller_id}"

    def read_environment(self, base_url: str) -> dict[str, str]:
        """The merchant's credentials, and where this side listens."""
        return {"ALIPAY_GATEWAY_URL": f"{base_url}/gateway.do", **self.keys.read_environment()}

    def read_route(self, route: Route, request: Request) -> tuple[str, str]:
        """All calls have one path; `method` says which it is."""
        method = METHODS.get(read_method(request))
        return (method.operation, method.handler) if method else (route.operation, route.handler)

    # Who is calling ("Sign a request"; "Public error codes")

    def authenticate(self, request: Request) -> None:
        """Verify the app's signature over all parameters, of query and body together. Raises Refused."""
        if request.path == _BILL_PATH:
            return  # whoever has the address may fetch it
        fields = read_fields(request)
        check_common(fields, self.keys.app_id)
        signature = fields.pop("sign")
        if not is_signed(self.keys.app_key.public_key(), build_text(fields), signature):
            raise refused("isv.invalid-signature", "the signature does not fit the request", is_sealed=False)

    def act(self, handler: str, call: Call, **parts: str) -> Reply:
        """Run one handler; a field that breaks its rule is ACQ.INVALID_PARAMETER."""
        try:
            reply: Reply = getattr(self, f"_{handler}")(call)
        except BadField as wrong:
            raise refused("ACQ.INVALID_PARAMETER", str(wrong)) from wrong
        return reply

    # Payments

    def _precreate(self, call: Call) -> Reply:
        order = read_content(call.request)
        life = read_life(order, "qr_code_timeout_express", "2h")
        trade = self._take_order(call.request, order, until=now_us() + life)
        content = f"https://qr.alipay.com/bax{secrets.token_hex(12)}"
        self.ledger.add_handle(trade, content, min(now_us() + life, trade.expires_at))
        return Reply(200, {**OK, "out_trade_no": trade.out_trade_no, "qr_code": content})

    def _open_page(self, call: Call) -> Reply:
        """A browser, or the app on the phone, comes with the signed order: on to the wallet."""
        order = read_content(call.request)
        codes = METHODS[read_method(call.request)].product_codes
        read_text(order, "product_code", longest=64, pattern="|".join(codes))
        trade = self._take_order(call.request, order, until=now_us())
        content = f"https://mclient.alipay.com/cashier/{secrets.token_hex(16)}"
        self.ledger.add_handle(trade, content, trade.expires_at)
        return send_to_wallet(content)

    def _take_order(self, request: Request, order: dict[str, Any], *, until: int) -> Trade:
        """The row of an order, new or known. `until`: the last moment at which its trade can come into being."""
        number = read_text(order, "out_trade_no", longest=64, pattern=NUMBER) or ""
        subject = read_text(order, "subject", longest=256) or ""
        amount = read_fen(order, "total_amount")
        fields = read_fields(request)
        read_notify_url(fields, "notify_url", longest=256, required=False)
        expires_at = read_expiry(order, until)
        trade = self.ledger.find_trade(self.name, number)
        if trade is not None:
            return check_same_order(trade, amount, subject)
        trade = self.ledger.open_trade(
            channel=self.name,
            out_trade_no=number,
            amount=amount,
            currency="CNY",
            description=subject,
            notify_url=fields.get("notify_url", ""),
            request={key: str(value) for key, value in order.items()},
            expires_at=expires_at,
        )
        return self.ledger.note(trade, return_url=fields.get("return_url", ""), method=fields["method"])

    def _query(self, call: Call) -> Reply:
        trade, trade_no = self._require_trade(call.request)
        return Reply(200, describe_trade(trade, self.ledger.list_refunds(trade), trade_no))

    def _close(self, call: Call) -> Reply:
        trade, trade_no = self._require_trade(call.request)
        if trade.status == "PAID" or (trade.status == "OPEN" and not self.close(call, trade)):
            return self.refuse(200, "ACQ.TRADE_STATUS_ERROR", "a paid trade cannot be closed")
        return Reply(200, {**OK, "out_trade_no": trade.out_trade_no, "trade_no": trade_no})

    def _cancel(self, call: Call) -> Reply:
        """Whatever the state, nothing is to be paid: an unpaid trade is closed, a paid one is refunded in full."""
        content = read_content(call.request)
        trade = self._find_trade(content)
        said = {**OK, "out_trade_no": content.get("out_trade_no", ""), "retry_flag": "N"}
        if trade is None:
            return Reply(200, {**said, "action": "close"})
        if now_us() - trade.created_at > _DAY_US:
            raise refused("ACQ.TRADE_CANCEL_TIME_OUT", "the trade is older than 24 hours")
        said |= {"out_trade_no": trade.out_trade_no} | name_trade(trade)
        # A code that nobody has scanned dies with it.
        if trade.status == "CLOSED" or (trade.status == "OPEN" and self.close(call, trade)):
            return Reply(200, {**said, "action": "close"})
        trade = self.ledger.get_trade(trade.id)
        rest = trade.amount - sum_refunds(self.ledger.list_refunds(trade))
        if rest:
            self._book_refund(trade, {"out_request_no": f"cancel{trade.channel_number}"}, rest)
        return Reply(200, {**said, "action": "refund"})

    # Refunds

    def _refund(self, call: Call) -> Reply:
        trade, _ = self._require_trade(call.request)
        content = read_content(call.request)
        amount = read_fen(content, "refund_amount")
        read_text(content, "refund_reason", longest=256, required=False)
        number = read_text(content, "out_request_no", longest=64, pattern=NUMBER, required=False)
        if number is None and amount != trade.amount:
            raise BadField("out_request_no", "is required for a part")
        number = number or trade.out_trade_no
        wish = {"out_request_no": number, "refund_reason": content.get("refund_reason")}
        refund = self._find_refund(trade, number)
        if refund is not None and refund.amount != amount:
            raise refused("ACQ.DISCORDANT_REPEAT_REQUEST", "out_request_no is taken by another amount")
        is_new = refund is None and call.refund_end == "SUCCESS"
        if refund is None:
            self._check_refundable(trade, amount)
            if not is_new:  # it does not come about this time; the same request may succeed later
                return Reply(200, describe_delayed_refund(trade, self.ledger.list_refunds(trade)))
            refund = self._book_refund(trade, wish, amount)
        return Reply(200, describe_refund(trade, refund, self.ledger.list_refunds(trade), is_new=is_new))

    def _check_refundable(self, trade: Trade, amount: int) -> None:
        refunds = self.ledger.list_refunds(trade)
        status = find_status(trade, refunds)
        if trade.paid_at is None or status == "TRADE_CLOSED":
            raise refused("ACQ.TRADE_STATUS_ERROR", "nothing of this trade can go back")
        if status == "TRADE_FINISHED":
            raise refused("ACQ.TRADE_HAS_FINISHED", "the trade is finished")
        if sum_refunds(refunds) + amount > trade.amount:
            raise refused("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "the refunds would exceed what was paid")

    def _book_refund(self, trade: Trade, wish: dict[str, Any], amount: int) -> Refund:
        """Give money back at once: Alipay's refunds do not wait."""
        number, at = wish["out_request_no"], now_us()
        is_taken = self.ledger.find_refund(self.name, number) is not None  # by a refund of another trade
        refund = self.ledger.open_refund(
            trade,
            out_refund_no=f"{number}/{trade.id}" if is_taken else number,
            channel_number=f"{trade.channel_number}/{number}",
            amount=amount,
            notify_url=trade.notify_url,
            request=wish,
            due_at=at,
            ends_as="SUCCESS",
        )
        self.ledger.finish_refunds(at)
        return self.ledger.get_refund(refund.id)

    def refund_in_console(self, trade: Trade, amount: int) -> Refund:
        """As the merchant site does it: under a number of its own, notified where the order is. Raises Refused."""
        self._check_refundable(trade, amount)
        return self._book_refund(trade, {"out_request_no": make_digits(28)}, amount)

    def _query_refund(self, call: Call) -> Reply:
        content = read_content(call.request)
        number = read_text(content, "out_request_no", longest=64) or ""
        trade, _ = self._require_trade(call.request)
        refund = self._find_refund(trade, number)
        # Success, and nothing else, is what is said about a number that nobody used.
        return Reply(200, dict(OK) if refund is None else describe_known_refund(trade, refund))

    def _find_refund(self, trade: Trade, number: str) -> Refund | None:
        found = (each for each in self.ledger.list_refunds(trade) if each.request["out_request_no"] == number)
        return next(found, None)

    # Bills

    def _query_bill(self, call: Call) -> Reply:
        content = read_content(call.request)
        kind = read_text(content, "bill_type", longest=16, pattern="trade|signcustomer")
        day, lines = read_day(content), []
        if kind == "trade" and day is not None:
            start = to_us(datetime.combine(day, datetime.min.time(), BEIJING))
            lines = self.list_booked(call, start, start + _DAY_US)
        if day is None or not lines:
            raise refused("isp.bill_not_exist", "there is no such bill")
        seller_id = self.keys.seller_id
        token = self._bills.put(write_bill(f"{seller_id}0156", day, lines))
        query = {"bizType": "trade", "userId": seller_id, "bizDates": f"{day:%Y%m%d}", "token": token}
        url = f"{call.request.host_url.rstrip('/')}{_BILL_PATH}?{urlencode(query)}"
        return Reply(200, {**OK, "bill_download_url": url})

    def _download_bill(self, call: Call) -> Reply:
        content = self._bills.get(call.request.args.get("token", ""))
        if content is None:
            return Reply(404, b"this address is not good any more", content_type="text/plain")
        return Reply(200, content, content_type="application/zip")

    # What the shopper does

    def look(self, trade: Trade) -> Trade:
        """Scan a code that is alive, or log in: the trade comes into being, to be paid."""
        trade = self._close_overdue(trade)
        content = self.ledger.find_newest_handle(trade)
        handle = self.ledger.find_by_handle(content) if content else None
        is_dead = handle is not None and now_us() >= handle[1]
        if "trade_no" in trade.notes or is_dead or find_hindrance(trade, now_us()):
            return trade
        return self._begin_trade(trade)

    def pay(self, trade: Trade, *, copies: int = 1, is_forced: bool = False) -> None:
        """Pay under the number that the trade has had since the scan. Raises NotPayable."""
        trade = self.look(trade)
        if "trade_no" not in trade.notes:
            if not is_forced:
                raise NotPayable("expired")
            trade = self._begin_trade(trade)
        first = [] if trade.status == "PAID" else [str(trade.notes["trade_no"])]
        numbers: Iterator[str] = chain(first, iter(self.make_channel_number, ""))
        self.ledger.pay_trade(trade, lambda: next(numbers), copies=copies, is_forced=is_forced)

    def read_return(self, trade: Trade) -> str:
        """The shop's return_url with signed parameters, among which is no status; empty for codes and apps."""
        url = str(trade.notes.get("return_url", ""))
        if not url:
            return ""
        fields = {
            "app_id": self.keys.app_id,
            "charset": "utf-8",
            "method": f"{trade.notes['method']}.return",
            "out_trade_no": trade.out_trade_no,
            "seller_id": self.keys.seller_id,
            "timestamp": format_time(now_us()),
            "total_amount": format_yuan(trade.amount),
            "version": "1.0",
            **name_trade(trade),
        }
        return f"{url}{'&' if '?' in url else '?'}{urlencode(self.keys.seal_form(fields))}"

    def _begin_trade(self, trade: Trade) -> Trade:
        now = now_us()
        facts = {"trade_no": self.make_channel_number(), "scanned_at": now}
        if "time_expire" not in trade.request and "timeout_express" in trade.request:  # it runs from the scan
            facts["expires_at"] = now + read_life(trade.request, "timeout_express", "15d")
        return self.ledger.note(trade, **facts)

    def _close_overdue(self, trade: Trade) -> Trade:
        """What timeout_express ends; a trade's expires_at holds only the very last moment that it could mean."""
        if trade.status == "OPEN" and now_us() >= trade.notes.get("expires_at", trade.expires_at):
            if "trade_no" in trade.notes:
                self.ledger.close_trade(trade)
            return self.ledger.get_trade(trade.id)
        return trade

    # Notifications

    def describe_notice(self, trade: Trade, refund: Refund | None, event: str) -> dict[str, Any]:
        """The fields of a notification; a refund's tells the sum of all refunds until its own."""
        refunds = [each for each in self.ledger.list_refunds(trade) if refund and each.id <= refund.id]
        return describe_notice(trade, refund, refunds, app_id=self.keys.app_id, seller_id=self.keys.seller_id)

    def compose(
        self,
        notice: Notice,
        refund: Refund | None,
        document: dict[str, Any] | bytes,
        *,
        is_forged: bool = False,
    ) -> Message:
        """The form of a notification, signed anew for this try under the same id."""
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", "Connection": "close"}
        if isinstance(document, bytes):
            return Message(notice.url, headers, document)
        told = {"notify_id": number_notice(notice), "notify_time": format_time(now_us())}
        fields = self.keys.seal_form(document | told, is_forged=is_forged)
        return Message(notice.url, headers, urlencode(fields).encode())

    def is_acknowledged(self, status: int, body: bytes) -> bool:
        """The seven bytes decide."""
        return status == 200 and body == b"success"

    # Answers, errors, lies

    def seal(self, reply: Reply, request: Request, *, is_forged: bool = False) -> Response:
        """Wrap and sign an answer; pages and files go as they are, and a browser gets an error as a page."""
        document = reply.document
        if reply.content_type or not isinstance(document, dict):
            body = document if isinstance(document, bytes) else b""
            return Response(body, reply.status, reply.headers, content_type=reply.content_type or "text/html")
        name = read_method(request)
        if name in METHODS and METHODS[name].is_page:
            page = f"<h1>Alipay</h1><p>{escape(str(document.get('sub_code')))}: {escape(str(document.get('sub_msg')))}</p>"
            return Response(page, reply.status, content_type="text/html; charset=utf-8")
        document = _complete(document, name, request)
        if not reply.is_sealed:
            body = json.dumps({"error_response": document}, ensure_ascii=False).encode()
        else:
            body = self.keys.seal_answer(f"{name.replace('.', '_')}_response", document, is_forged=is_forged)
        return Response(body, reply.status, content_type="text/html;charset=utf-8")

    def refuse(self, status: int, code: str, message: str) -> Reply:
        """A sub_code of any family."""
        return Reply(status, describe_failure(code, message))

    def find_words(self, what: str, operation: str) -> tuple[int, str]:
        """How `notfound` and `syserr` are said to an operation; the HTTP status is always 200."""
        if what == "syserr":
            return 200, "isp.unknow-error" if operation == "statement" else "ACQ.SYSTEM_ERROR"
        return 200, "ACQ.TRADE_NOT_EXIST"

    def bend(self, document: dict[str, Any], lie: dict[str, Any]) -> dict[str, Any]:
        """The document with the told fields in place of the true ones."""
        return bend_document(document, lie)

    def make_channel_number(self) -> str:
        """A trade_no: the day in Beijing and 20 digits."""
        return f"{to_datetime(now_us(), BEIJING):%Y%m%d}22001400{make_digits(12)}"

    # What several calls share

    def _find_trade(self, content: dict[str, Any]) -> Trade | None:
        """By trade_no where it is told, else by out_trade_no, whether Alipay has a trade of it yet or not."""
        theirs = read_text(content, "trade_no", longest=64, required=False)
        ours = read_text(content, "out_trade_no", longest=64, required=theirs is None)
        if theirs is None:
            return self.ledger.find_trade(self.name, ours or "")
        paid = self.ledger.find_paid_trade(self.name, theirs)
        return paid or self.ledger.find_noted(self.name, "trade_no", theirs)

    def _require_trade(self, request: Request) -> tuple[Trade, str]:
        trade = self._find_trade(read_content(request))
        named = name_trade(trade) if trade else {}
        if trade is None or not named:
            raise refused("ACQ.TRADE_NOT_EXIST", "交易不存在")
        return self._close_overdue(trade), named["trade_no"]


def _complete(document: dict[str, Any], method: str, request: Request) -> dict[str, Any]:
    """What some calls say besides an error, and one says in a spelling of its own."""
    sub_code = document.get("sub_code")
    if method == "alipay.trade.query" and sub_code == "ACQ.TRADE_NOT_EXIST":
        number = read_content(request).get("out_trade_no")
        return document | describe_missing(number if isinstance(number, str) else "")
    if method == "alipay.trade.cancel" and sub_code == "ACQ.SYSTEM_ERROR":
        return document | {"sub_code": "AQC.SYSTEM_ERROR", "retry_flag": "Y"}
    return document
