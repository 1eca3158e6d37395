"""A channel that does not exist, to try what the ground offers to every side: it is known when its link is opened, its money
moves when the merchant captures it, its calls name no notify address, and its statement is a file."""

import json
from typing import Any, ClassVar

from werkzeug import Request, Response
from werkzeug.test import Client

from payments.sandbox.clock import now_us
from payments.sandbox.control import Control
from payments.sandbox.faults import Faults
from payments.sandbox.gateway import Gateway
from payments.sandbox.keys import Keyring
from payments.sandbox.ledger import Ledger
from payments.sandbox.notifier import Notifier
from payments.sandbox.pages import Pages
from payments.sandbox.records import Notice, NotPayable, Refund, Trade
from payments.sandbox.side import Call, Message, Refused, Reply, Route, Side, Wallet, send_to_wallet

HOUR_US = 3600 * 1_000_000


class Toy(Side):
    name = "toy"
    title = "Toy Pay"
    gaps_s = (1,)
    answer_limit_s = 5.0
    wallet = Wallet(title="Toy approval", pay="Agree to", agreed=("You said yes", "Now the shop takes it."))
    needs_webhook = True
    routes: ClassVar[tuple[Route, ...]] = (
        Route("POST", "/toy/call", "", ""),
        Route("GET", "/toy/statement", "statement", "statement"),
        Route("GET", "/toy/pay/<number>", "", "send"),
    )

    @property
    def payee(self) -> str:
        return "Toy merchant"

    def read_environment(self, base_url: str) -> dict[str, str]:
        return {"TOY_URL": base_url}

    def read_route(self, route: Route, request: Request) -> tuple[str, str]:
        if route.operation or route.handler:
            return route.operation, route.handler
        return request.args["do"], request.args["do"]

    def authenticate(self, request: Request) -> None:
        if request.headers.get("Key") == "wrong":
            raise Refused(self.refuse(401, "KEY", "wrong key"))

    def act(self, handler: str, call: Call, **parts: str) -> Reply:
        reply: Reply = getattr(self, f"_{handler}")(call, **parts)
        return reply

    def _create(self, call: Call) -> Reply:
        order = call.request.get_json()
        trade = self.ledger.open_trade(
            channel=self.name,
            out_trade_no=order["number"],
            amount=order.get("amount", 5000),
            currency=order.get("currency", "USD"),
            description="toy",
            notify_url="",
            request=order,
            expires_at=now_us() + HOUR_US,
        )
        self.ledger.add_handle(trade, f"toy:{trade.out_trade_no}", trade.expires_at)
        self.ledger.note(trade, token=f"T{trade.out_trade_no}")
        return Reply(200, {"token": f"T{trade.out_trade_no}"})

    def _capture(self, call: Call) -> Reply:
        trade = self.ledger.find_noted(self.name, "token", call.request.get_json()["token"])
        if trade is None or not self.has_agreed(trade):
            raise Refused(self.refuse(422, "NOT_AGREED", "not agreed"))
        self.ledger.pay_trade(trade, self.make_channel_number, event="CAPTURED")
        return Reply(200, {"state": "CAPTURED"})

    def _close(self, call: Call) -> Reply:
        trade = self.ledger.find_trade(self.name, call.request.get_json()["number"])
        return Reply(204, None) if trade and self.close(call, trade) else self.refuse(400, "PAID", "paid")

    def _statement(self, call: Call) -> Reply:
        lines = [
            f"{'refund' if line.refund else 'payment'} {line.trade.out_trade_no}\n"
            for line in self.list_booked(call, 0, now_us() + HOUR_US)
        ]
        return Reply(200, "".join(lines).encode(), is_sealed=False, content_type="text/csv")

    def _send(self, call: Call, number: str) -> Reply:
        return send_to_wallet(f"toy:{number}")

    def look(self, trade: Trade) -> Trade:
        return self.ledger.note(trade, looks=trade.notes.get("looks", 0) + 1)

    def pay(self, trade: Trade, *, copies: int = 1, is_forced: bool = False) -> None:
        if is_forced:
            super().pay(trade, copies=copies, is_forced=True)
            return
        if self.has_agreed(trade):
            raise NotPayable("agreed")
        self.ledger.note(trade, agreed=True)
        self.ledger.announce(trade, "AGREED")

    def has_agreed(self, trade: Trade) -> bool:
        return bool(trade.notes.get("agreed"))

    def read_return(self, trade: Trade) -> str:
        return str(trade.request.get("back", ""))

    def refuse(self, status: int, code: str, message: str) -> Reply:
        return Reply(status, {"code": code, "message": message})

    def find_words(self, what: str, operation: str) -> tuple[int, str]:
        return (500, "BROKEN") if what == "syserr" else (404, "MISSING")

    def bend(self, document: dict[str, Any], lie: dict[str, Any]) -> dict[str, Any]:
        return document | lie

    def seal(self, reply: Reply, request: Request, *, is_forged: bool = False) -> Response:
        is_document = isinstance(reply.document, dict)
        body = json.dumps(reply.document) if is_document else reply.document or b""
        response = Response(body, reply.status, content_type=reply.content_type or "application/json")
        response.headers.extend(reply.headers)
        if reply.is_sealed:
            response.headers["Seal"] = "forged" if is_forged else "toy"
        return response

    def make_channel_number(self) -> str:
        return f"C{now_us()}"

    def refund_in_console(self, trade: Trade, amount: int) -> Refund:
        return self.ledger.open_refund(
            trade,
            out_refund_no=f"R{now_us()}",
            channel_number=f"RC{now_us()}",
            amount=amount,
            notify_url="",
            request={},
            due_at=now_us(),
            ends_as="SUCCESS",
        )

    def describe_notice(self, trade: Trade, refund: Refund | None, event: str) -> dict[str, Any]:
        return {"number": trade.out_trade_no, "event": "REFUNDED" if refund else event}

    def compose(
        self,
        notice: Notice,
        refund: Refund | None,
        document: dict[str, Any] | bytes,
        *,
        is_forged: bool = False,
    ) -> Message:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return Message(notice.url, {"Content-Type": "application/json"}, body)

    def is_acknowledged(self, status: int, body: bytes) -> bool:
        return status == 200


class ToyGateway:
    """The gateway over this one side, in this process; `http` calls it, `ledger` is its truth."""

    def __init__(self, ledger: Ledger, keyring: Keyring) -> None:
        self.ledger = ledger
        self.side = Toy(keyring, ledger, refund_delay_s=0)
        sides: dict[str, Side] = {"toy": self.side}
        faults = Faults(list(sides))
        self.notifier = Notifier(sides, ledger, faults, speed=50, is_remote_allowed=False)
        control = Control(sides, ledger, faults, self.notifier)
        self.http = Client(Gateway(sides, ledger, faults, control, Pages(control)))
        self.notifier.start()

    def call(self, do: str, **document: Any) -> Any:
        return self.http.post(f"/toy/call?do={do}", json=document)

    def create(self, number: str = "TOY1", **more: Any) -> str:
        assert self.call("create", number=number, **more).status_code == 200
        return number

    def deed(self, number: str, deed: str, **wish: Any) -> Any:
        return self.http.post(f"/_sandbox/trades/toy/{number}/{deed}", json=wish)

    def script(self, operation: str, what: str, when: str = "before", **more: Any) -> Any:
        entry = {"channel": "toy", "operation": operation, "what": what, "when": when, **more}
        return self.http.put("/_sandbox/faults", json={"script": [entry]})

    def status(self, number: str) -> str:
        [trade] = self.http.get("/_sandbox/trades", query_string={"out_trade_no": number}).json or []
        return str(trade["status"])

    def wallet(self, number: str) -> Any:
        return self.http.get("/_sandbox/wallet", query_string={"content": f"toy:{number}"})

    def use_wallet(self, number: str, deed: str) -> Any:
        form = {"content": f"toy:{number}", "deed": deed}
        return self.http.post("/_sandbox/wallet", data=form, follow_redirects=True)
