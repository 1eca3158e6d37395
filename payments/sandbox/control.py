"""The control API: what the shopper does, what goes wrong, and the truth of the money, as JSON for tests.

It is not part of any channel's protocol and asks for no signature, which is one reason why the gateway
listens on loopback only. A wrong request gets a clear 400, 404 or 409 and changes nothing.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from werkzeug import Request, Response

from payments.sandbox.clock import now_us
from payments.sandbox.faults import Faults
from payments.sandbox.fields import BadField, read_integer, read_notify_url
from payments.sandbox.ledger import Ledger
from payments.sandbox.notifier import Notifier
from payments.sandbox.records import NotPayable, Trade, describe_try, find_hindrance
from payments.sandbox.side import Refused, Side

Door = Callable[..., Response]


class ControlError(Exception):
    """The request cannot be followed; `code` is stable, the message is for people."""

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field

    def describe(self) -> dict[str, str]:
        """The error as JSON; `field` only where one is wrong."""
        described = {"error": self.code, "message": str(self)}
        return described if self.field is None else {**described, "field": self.field}


class Control:
    """What people and tests can do to the gateway, beside the channels' protocols."""

    def __init__(self, sides: dict[str, Side], ledger: Ledger, faults: Faults, notifier: Notifier) -> None:
        self.sides = sides
        self.ledger = ledger
        self.faults = faults
        self.notifier = notifier

    @property
    def doors(self) -> list[tuple[str, str, Door]]:
        """Method, path and door of each call."""
        deed = "/_sandbox/trades/<channel>/<out_trade_no>"
        return [
            ("GET", "/_sandbox/trades", self._list_trades),
            ("POST", f"{deed}/pay", self._pay),
            ("POST", f"{deed}/decline", self._decline),
            ("POST", f"{deed}/notify", self._notify),
            ("POST", f"{deed}/refund", self._refund),
            ("POST", f"{deed}/scan", self._scan),
            ("DELETE", "/_sandbox/notifications", self._end_notifications),
            ("PUT", "/_sandbox/webhooks", self._set_webhooks),
            ("GET", "/_sandbox/faults", self._show_faults),
            ("PUT", "/_sandbox/faults", self._set_faults),
            ("DELETE", "/_sandbox/faults", self._clear_faults),
            ("POST", "/_sandbox/age", self._age),
        ]

    # Deeds, also for the pages

    def pay(self, channel: str, out_trade_no: str, *, is_forced: bool = False) -> None:
        """Pay as the shopper would; forced money comes although the trade is closed, expired or paid.

        Raises ControlError 404 or 409.
        """
        with self.ledger.transaction():
            trade = self._require_trade(channel, out_trade_no)
            reason = find_hindrance(trade, now_us())
            if reason is not None and not is_forced:
                raise _refuse_deed(reason)
            fault = self.faults.draw_exact(channel, "pay")
            copies = 2 if fault is not None and fault.what == "two_trades" else 1
            try:
                self.sides[channel].pay(trade, copies=copies, is_forced=is_forced)
            except NotPayable as error:
                raise _refuse_deed(error.reason) from error
        self.notifier.wake()

    def look(self, channel: str, out_trade_no: str) -> None:
        """Scan the code or open the link as the shopper would. Raises ControlError 404."""
        with self.ledger.transaction():
            self.sides[channel].look(self._require_trade(channel, out_trade_no))
        self.notifier.wake()

    def decline(self, channel: str, out_trade_no: str) -> None:
        """Decline as the shopper would. Raises ControlError 404 or 409."""
        with self.ledger.transaction():
            trade = self._require_trade(channel, out_trade_no)
            try:
                self.ledger.decline_trade(trade)
            except NotPayable as error:
                raise _refuse_deed(error.reason) from error

    def notify(
        self, channel: str, out_trade_no: str, out_refund_no: str | None = None
    ) -> list[dict[str, Any]]:
        """Send the notifications about the payment, or about one refund, once more; returns the tries.

        Raises ControlError 404, or 409 when nothing has happened yet that is notified.
        """
        with self.ledger.transaction():
            self._require_trade(channel, out_trade_no)
            refund_id = None if out_refund_no is None else self._require_refund_id(channel, out_refund_no)
            notices = self.ledger.list_notices(channel, out_trade_no)
        notices = [notice for notice in notices if notice.refund_id == refund_id]
        if not notices:
            raise ControlError(409, "nothing_to_notify", "nothing has happened yet that is notified")
        return [
            describe_try(notice.id, notice.refund_id, made)
            for notice in notices
            for made in self.notifier.send_now(notice)
        ]

    def refund(self, channel: str, out_trade_no: str, amount: int, channel_number: str | None = None) -> None:
        """Give `amount` minor units back as the merchant's staff would in the channel's own console.

        `channel_number` says which trade of a number that was paid twice. Raises ControlError 404, or 409 when the
        channel refuses.
        """
        with self.ledger.transaction():
            trade = self._require_trade(channel, out_trade_no)
            if channel_number is not None:
                trade = self._require_part(trade, channel_number)
            try:
                self.sides[channel].refund_in_console(trade, amount)
            except Refused as refused:
                raise ControlError(409, "not_refundable", refused.reason) from refused
        self.notifier.wake()  # it ends soon

    # Doors

    def serve(self, door: Door, request: Request, parts: Mapping[str, str]) -> Response:
        """Open one door; what it refuses becomes a JSON answer."""
        try:
            return door(request, **parts)
        except ControlError as error:
            return _answer(error.describe(), error.status)
        except BadField as wrong:
            return _answer(ControlError(400, "invalid", str(wrong), wrong.field).describe(), 400)

    def _list_trades(self, request: Request) -> Response:
        channel, number = request.args.get("channel"), request.args.get("out_trade_no")
        return _answer(self._describe_trades(channel, number))

    def _pay(self, request: Request, channel: str, out_trade_no: str) -> Response:
        wish = _read_wish(request, {"force": bool})
        self.pay(channel, out_trade_no, is_forced=wish.get("force", False))
        return _answer({"trades": self._describe_trades(channel, out_trade_no)})

    def _scan(self, request: Request, channel: str, out_trade_no: str) -> Response:
        _read_wish(request, {})
        self.look(channel, out_trade_no)
        return _answer({"trades": self._describe_trades(channel, out_trade_no)})

    def _set_webhooks(self, request: Request) -> Response:
        """Where each channel sends what no request names an address for, as a merchant enters it in the channel's console."""
        wish = _read_wish(request, dict.fromkeys(self.sides, str))
        with self.ledger.transaction():
            for channel, url in wish.items():
                self.ledger.set_webhook(channel, read_notify_url({"url": url}, "url", longest=255) or "")
        return Response(status=204)

    def _decline(self, request: Request, channel: str, out_trade_no: str) -> Response:
        _read_wish(request, {})
        self.decline(channel, out_trade_no)
        return _answer({"trades": self._describe_trades(channel, out_trade_no)})

    def _notify(self, request: Request, channel: str, out_trade_no: str) -> Response:
        wish = _read_wish(request, {"out_refund_no": str})
        return _answer({"notifications": self.notify(channel, out_trade_no, wish.get("out_refund_no"))})

    def _refund(self, request: Request, channel: str, out_trade_no: str) -> Response:
        wish = _read_wish(request, {"amount": int, "channel_number": str})
        amount = read_integer(wish, "amount", least=1)
        self.refund(channel, out_trade_no, amount, wish.get("channel_number"))
        return _answer({"trades": self._describe_trades(channel, out_trade_no)})

    def _end_notifications(self, request: Request) -> Response:
        """Give up what is still to be tried, so that one test does not reach into the next."""
        self.notifier.end_all()
        return Response(status=204)

    def _show_faults(self, request: Request) -> Response:
        return _answer(self.faults.describe())

    def _set_faults(self, request: Request) -> Response:
        self.faults.set(_read_json(request.get_data()))
        return _answer(self.faults.describe())

    def _clear_faults(self, request: Request) -> Response:
        self.faults.clear()
        return Response(status=204)

    def _age(self, request: Request) -> Response:
        """Let all that has happened be some days older, so that its statements can be had today."""
        days = read_integer(_read_wish(request, {"days": int}), "days", least=1, most=31)
        with self.ledger.transaction():
            self.ledger.finish_refunds(now_us())  # what is due belongs to the day that passes
            self.ledger.age(days * 86_400 * 1_000_000)
        return Response(status=204)

    def _describe_trades(self, channel: str | None, out_trade_no: str | None) -> list[dict[str, Any]]:
        with self.ledger.transaction():
            trades = self.ledger.list_trades(channel=channel, out_trade_no=out_trade_no)
            return [self.ledger.describe_trade(trade) for trade in trades]

    def _require_trade(self, channel: str, out_trade_no: str) -> Trade:
        if channel not in self.sides:
            raise ControlError(404, "not_found", f"no channel {channel}; there are {', '.join(self.sides)}")
        trade = self.ledger.find_trade(channel, out_trade_no)
        if trade is None:
            raise ControlError(404, "not_found", f"{channel} has no trade {out_trade_no}")
        return trade

    def _require_part(self, trade: Trade, channel_number: str) -> Trade:
        part = self.ledger.find_paid_trade(trade.channel, channel_number)
        if part is None or part.out_trade_no != trade.out_trade_no:
            raise ControlError(404, "not_found", f"{trade.out_trade_no} has no trade {channel_number}")
        return part

    def _require_refund_id(self, channel: str, out_refund_no: str) -> int:
        refund = self.ledger.find_refund(channel, out_refund_no)
        if refund is None:
            raise ControlError(404, "not_found", f"{channel} has no refund {out_refund_no}")
        return refund.id


def _refuse_deed(reason: str) -> ControlError:
    return ControlError(409, reason, f"this trade is {reason}")


def _read_wish(request: Request, known: dict[str, type]) -> dict[str, Any]:
    """The optional JSON object of a deed; an empty body is an empty wish."""
    wish = _read_json(request.get_data() or b"{}")
    if not isinstance(wish, dict):
        raise BadField("body", "must be an object")
    for name, value in wish.items():
        if name not in known:
            raise BadField(name, "is unknown")
        if type(value) is not known[name]:
            raise BadField(name, f"must be of type {known[name].__name__}")
    return wish


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadField("body", "must be JSON in UTF-8") from error


def _answer(document: Any, status: int = 200) -> Response:
    return Response(
        json.dumps(document, ensure_ascii=False), status, content_type="application/json; charset=utf-8"
    )
