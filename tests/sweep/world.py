"""The small world that a point is visited in: a shop with one product, the sandbox, and callbacks on their way.

Its verbs are what people, the channel and time do from outside; each goes through a real door of ours.
"""

import http.client
import json
import logging
import re
import select
import socket
from collections.abc import Callable, Container, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import redis
import requests
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.test import Client
from django_redis import get_redis_connection

from orders.access import token_of
from orders.models import Order, Product
from orders.moves import lock_order
from payments.attempts import attempt_of
from payments.callbacks import KEPT_HEADERS
from payments.channels.base import DEAD_MARGIN
from payments.channels.registry import get_channel
from payments.models import Case, Payment, Receipt, Refund
from payments.moves import start_payment
from shop.alarms import claim_due, handle, handle_now
from shop.hints import full_name
from shop.models import Alarm
from shop.webhooks.publishing import DELIVER
from tests.checkout.conftest import fill_cart, form_of
from tests.factories import ANNA, make_order
from tests.sandbox_process import SandboxProcess
from tests.sweep.children import describe_error
from tests.sweep.ways import WAYS, WECHAT, Way

# What may stay when all is well: a payment that can still be paid is asked about, an unpaid order will expire.
RESTING = ("query_payment", "recheck_payment", "expire_order", DELIVER)
# Who sleeps with a row in hand keeps it as it is.
TIME_PASSES = """
update payments_payment set lease_until = now() where id in
    (select id from payments_payment where lease_until > now() for update skip locked);
update payments_payment set queried_at = queried_at - interval '1 minute' where id in
    (select id from payments_payment where queried_at is not null for update skip locked);
update shop_alarm set due_at = now() where id in
    (select id from shop_alarm where due_at > now() for update skip locked);
update payments_callback set received_at = received_at - interval '2 minutes' where id in
    (select id from payments_callback where taken_at is null for update skip locked);
update shop_idempotencykey set lease_until = now() where id in
    (select id from shop_idempotencykey where lease_until > now() for update skip locked);
"""
# What Redis keeps for less than this has ended when time passes: places in a line, cached answers.
MINUTE_MS = 60_000
KEY = {"Idempotency-Key": "9d0b7a52-the-only-one"}


@dataclass(frozen=True)
class Message:
    """One genuine callback as the channel sent it. Its id stays the same over all tries."""

    headers: Mapping[str, str]
    body: bytes
    channel: str = WECHAT.channel

    @property
    def id(self) -> str:
        return WAYS[self.channel].read_id(self.body)


class Mailbox:
    """The address that the channels notify. Messages are caught here, and brought to our door by hand."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def catch(
        self,
        sandbox: SandboxProcess,
        number: str,
        refund_number: str | None = None,
        *,
        channel: str = "wechat",
    ) -> list[Message]:
        """Have the sandbox send its notifications about a payment, or one refund of it; none when it has none."""
        asking = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
        wish = json.dumps({} if refund_number is None else {"out_refund_no": refund_number})
        asking.request("POST", f"/_sandbox/trades/{channel}/{number}/notify", wish)
        caught = []
        while asking.sock not in (ready := select.select([self._listener, asking.sock], [], [], 10)[0]):
            assert ready, "the sandbox neither notifies nor answers"
            caught.append(self._take())
        asking.close()
        return caught

    def _take(self) -> Message:
        sender, _ = self._listener.accept()
        with sender, sender.makefile("rb") as stream:
            channel = stream.readline().decode().split("/")[2]  # POST /notify/<channel>/ HTTP/1.1
            headers = {name.lower(): value for name, value in http.client.parse_headers(stream).items()}
            body = stream.read(int(headers["content-length"]))
            sender.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        kept = {name: headers[name] for name in headers if name.startswith(KEPT_HEADERS)}
        return Message(kept, body, channel)

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()


class Failures(logging.Handler):
    """The errors of alarms that failed: they are logged, and tried again, and told nowhere else."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.errors.append(describe_error())


class World:
    """One order's world. `messages` are the callbacks caught so far, those in `acknowledged` will not come again."""

    order: Order

    def __init__(self, sandbox: SandboxProcess, mailbox: Mailbox, way: Way = WECHAT) -> None:
        self.sandbox, self.mailbox, self.way = sandbox, mailbox, way
        self.shopper = Client()
        self.messages: list[Message] = []
        self.acknowledged: set[str] = set()
        self.kept: dict[str, Any] = {}  # what a flow must remember of its beginning
        self.tell: Any = lambda *_: None

    def enter_child(self, tell: Any) -> None:
        """From now on in a forked process: nobody's connections are shared."""
        self.tell = tell
        self.sandbox.http = requests.Session()

    # ---- the shopper ----

    def order_tea(self, **headers: str) -> Any:
        """Order one tea through the API, as a client without a session. Returns the answer."""
        body = {"items": [{"sku": "tea", "quantity": 1}], "contact": asdict(ANNA)}
        return self.ask("orders", body, headers)

    def place(self, **product: Any) -> None:
        """Have one order of one tea, unpaid."""
        self.order = make_order(currency=self.way.currency, **product)

    def fill_form(self) -> None:
        """Stand before the filled-in checkout form."""
        fill_cart(self.shopper)
        self.kept["form"] = form_of(self.shopper)

    def send_form(self) -> Any:
        """Press the button of the checkout form. Returns the answer."""
        return self.shopper.post("/checkout/", self.kept["form"])

    def post(self, path: str, **body: Any) -> int:
        """One request of the order's shopper to the API. Returns the status; raises what would be a 500."""
        status: int = self.ask(path, body, self._bearer).status_code
        return status

    def ask(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
        """One request to the API. Returns the answer; raises what would be a 500."""
        return self.shopper.post(
            f"/api/v1/{path}", json.dumps(body), content_type="application/json", headers=headers
        )

    @property
    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {token_of(self.order)}"}

    def apply(self, way: Way | None = None, **more: Any) -> int:
        """Ask for a code, or whatever this way has, to pay with."""
        wish = (way or self.way).wish
        return self.post(f"orders/{self.order.number}/payments", **wish, **more)

    def apply_by_key(self) -> Any:
        """Ask for a code with an Idempotency-Key. Returns the answer."""
        return self.ask(f"orders/{self.order.number}/payments", self.way.wish, self._bearer | KEY)

    def cancel(self) -> int:
        """Give the order up."""
        return self.post(f"orders/{self.order.number}/cancel")

    def query(self) -> int:
        """Press "I have paid"."""
        return self.post(f"payments/{self.payment.number}/query")

    def watch_page(self) -> None:
        """Have the order's page open, which asks for news."""
        self.shopper.get(f"/api/v1/orders/{self.order.number}/status", headers=self._bearer)

    def scan(self) -> None:
        """Scan the code of the newest attempt, and pay nothing yet."""
        self.sandbox.scan(self.payment.number, channel=self.payment.channel)

    def pay(self, payment: Payment | None = None, *, force: bool = False) -> None:
        """Pay one attempt in its wallet, else the newest; what the channels tell about all of them is caught."""
        paid = payment or self.payment
        self.sandbox.pay(paid.number, channel=paid.channel, force=force)
        self.messages = self.catch_all()

    def pay_oldest(self) -> None:
        """Pay the first attempt that a channel still takes money for, and let the channel tell us at once."""
        for number, channel in Payment.objects.order_by("id").values_list("number", "channel"):
            if any(trade["status"] == "OPEN" for trade in self.sandbox.trades(number)):
                self.sandbox.pay(number, channel=channel)
                for message in self.mailbox.catch(self.sandbox, number, channel=channel):
                    self.deliver(message)
                return

    def open_two(self) -> None:
        """Have an order with two codes, the first one superseded."""
        self.place()
        self.apply()
        Payment.objects.update(superseded_at=Now())
        self.let_time_pass()
        self.apply()

    def pay_all(self) -> None:
        """Pay every code there is."""
        for payment in Payment.objects.order_by("id"):
            self.sandbox.pay(payment.number, channel=payment.channel)
        self.messages = self.catch_all()

    @property
    def payment(self) -> Payment:
        """The newest attempt."""
        return Payment.objects.latest("id")

    # ---- staff ----

    def log_in(self) -> None:
        """Be somebody who may give money back."""
        staff, _ = User.objects.get_or_create(username="anna", is_staff=True, is_superuser=True)
        self.shopper.force_login(staff)

    def refund_by_key(self, amount: int) -> Any:
        """Give back `amount` minor units, with an Idempotency-Key. Returns the answer."""
        wish = {"amount": amount, "reason": "wrong size"}
        return self.ask(f"payments/{self.payment.number}/refunds", wish, KEY)

    # ---- a payment that the channel knows before we do ----

    def open_elsewhere(self) -> None:
        """Have the order paid under a number whose row we have not committed yet."""
        payment = Payment(
            order=self.order,
            channel="wechat",
            scene="qr",
            amount=self.order.amount,
            currency=self.order.currency,
            payer="",
            request={
                "description": "tea",
                "notify_url": f"{self.mailbox.url}/notify/wechat/",
                "return_url": "",
            },
            created_at=self.order.created_at,
            expires_at=self.order.expires_at,
            dead_at=self.order.expires_at + DEAD_MARGIN,
        )
        get_channel("wechat").create(attempt_of(payment))
        self.kept["payment"] = payment
        self.sandbox.pay(payment.number)
        self.messages = self.catch_all()

    def let_it_appear(self) -> None:
        """Its row is committed, unless it is there already."""
        if Payment.objects.exists():
            return
        with transaction.atomic():
            start_payment(lock_order(self.order.number), self.kept["payment"])

    # ---- the channel ----

    def set_faults(self, *script: dict[str, Any]) -> None:
        """What goes wrong from now on. Notifications never come by themselves: they are caught and delivered."""
        self.sandbox.set_faults({"notify": {"drop": 1.0}, "script": list(script)})

    def deliver(self, message: Message) -> int:
        """Bring one callback to our door."""
        headers = dict(message.headers)
        kind = headers.pop("content-type")
        self.tell("delivering", message.id)
        door = f"/notify/{message.channel}/"
        answer = self.shopper.post(door, message.body, content_type=kind, headers=headers)
        if answer.status_code < 300:
            self.acknowledged.add(message.id)
        return answer.status_code

    def catch_all(self) -> list[Message]:
        """Every notification that the channel has about this world's payments and refunds."""
        caught = []
        for number, channel in self.numbers().items():
            refunds = [made for trade in self.sandbox.trades(number) for made in trade["refunds"]]
            for about in (None, *(made["out_refund_no"] for made in refunds)):
                caught += self.mailbox.catch(self.sandbox, number, about, channel=channel)
        return caught

    def trades(self) -> list[dict[str, Any]]:
        """What the channels say of this world's payments: the truth."""
        return [trade for number in self.numbers() for trade in self.sandbox.trades(number)]

    def numbers(self) -> dict[str, str]:
        """The payments that a channel may know and whose they are, also one that we do not know yet; the oldest first."""
        ours = dict(Payment.objects.order_by("id").values_list("number", "channel"))
        elsewhere = self.kept.get("payment")
        return ours | ({elsewhere.number: elsewhere.channel} if elsewhere else {})

    # ---- time, and the healers ----

    def let_time_pass(self) -> None:
        """Leases have ended, every alarm is due, and a message that names nothing of ours has waited for minutes."""
        with connection.cursor() as cursor:
            cursor.execute(TIME_PASSES)
        forget_in_redis(lambda client, name: client.pttl(name) < MINUTE_MS)

    def expire(self) -> None:
        """The order's time is over, and nobody has come to look for a minute."""
        Order.objects.update(expires_at=Now() - timedelta(minutes=1))
        self.neglect()

    def neglect(self) -> None:
        """Every alarm is a minute overdue."""
        self.let_time_pass()
        Alarm.objects.update(due_at=Now() - timedelta(minutes=1))

    def run_alarms(self, kind: str = "") -> list[str]:
        """Whatever is due is done once, or every alarm of one `kind`. Returns the errors of what failed."""
        failures, log = Failures(), logging.getLogger("nodrop.alarms")
        log.addHandler(failures)
        try:
            for subject in Alarm.objects.filter(kind=kind).values_list("subject", flat=True):
                handle_now(kind, subject)
            for claim in [] if kind else claim_due(100):
                handle(claim)
        finally:
            log.removeHandler(failures)
        for error in failures.errors:
            self.tell("failed", error)
        return failures.errors

    def is_at_rest(self) -> bool:
        """Whether nobody has anything left to do."""
        return not Alarm.objects.exclude(kind__in=RESTING).exists()

    # ---- how it looks ----

    def look(self) -> dict[str, Any]:
        """What has become of it, in a few words and sums."""
        trades = self.trades()
        live = set(self._live.values_list("number", flat=True))
        paid = sum(trade["amount"] for trade in trades if trade["status"] == "PAID")
        back = [made for trade in trades for made in trade["refunds"] if made["status"] == "SUCCESS"]
        return {
            "orders": [order.status for order in Order.objects.order_by("id")],
            "live": len(live),
            # Of what its channel cannot take back only that counts which we still offer.
            "payable": len([trade for trade in trades if self._is_payable(trade, live)]),
            "receipts": [receipt.receipt_class for receipt in Receipt.objects.order_by("id")],
            "refunds": [refund.status for refund in Refund.objects.order_by("id")],
            "refunds_at_channel": len(back),
            "kept_by_channel": paid - sum(made["amount"] for made in back),
            "stock": Product.objects.get().stock,
            "mails": sorted(
                {about for file in Path(settings.EMAIL_FILE_PATH).iterdir() for about in _abouts(file)}
            ),
            "cases": sorted(Case.objects.filter(resolved_at__isnull=True).values_list("kind", flat=True)),
        }

    @property
    def _live(self) -> QuerySet[Payment]:
        return Payment.objects.filter(status="PAYING", superseded_at__isnull=True)

    def _is_payable(self, trade: Mapping[str, Any], live: Container[str]) -> bool:
        way = self.way if self.way.channel == trade["channel"] else WAYS[trade["channel"]]
        return trade["status"] == "OPEN" and (way.closes or trade["out_trade_no"] in live)


def forget_in_redis(is_over: Callable[[redis.Redis, bytes], bool]) -> None:
    """Whatever of ours in Redis is over."""
    client = get_redis_connection("default")
    for name in client.scan_iter(match=full_name("*"), count=1000):
        if is_over(client, name):
            client.delete(name)


def _abouts(file: Path) -> list[str]:
    """What the mails of one file are about: "receipt", "returned" or "link", as their numbers say.

    Django names a file by the second and by where its sender lies in memory: two mails of one second may share one.
    """
    return re.findall(r"^Message-ID: <(\w+)-", file.read_text(), re.MULTILINE)
