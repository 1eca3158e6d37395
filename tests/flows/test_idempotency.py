"""`Idempotency-Key` over real HTTP: a request that is sent again makes nothing again, in any process, after any crash."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from django.conf import settings as shop_settings
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.test import Client

from orders.access import renew_link, token_of
from orders.models import Order, Product
from payments.audit import audit
from payments.models import Payment, Refund
from payments.refunding import approve_refund
from payments.settling import settle_payment
from shop.models import IdempotencyKey, Source
from tests.factories import make_order, make_payment, make_product, report
from tests.flows.test_api import CONTACT, Api, problem
from tests.programs import ROOT, environment
from tests.redis_states import whatever_redis_does
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "7c1f0a55-2f1e-4f0e-9a53-one"
TEA = {"items": [{"sku": "tea", "quantity": 1}], "contact": CONTACT}
QR = {"channel": "wechat", "scene": "qr"}
PART = {"amount": 900, "reason": "broken"}


class KeyedApi(Api):
    """A client that sends a key with every POST."""

    def send(self, path: str, body: Any = None, *, key: str | bytes = KEY) -> requests.Response:
        headers: dict[str, str | bytes] = {**self.headers, "Idempotency-Key": key}
        return requests.post(f"{self.url}/{path}", json=body, headers=headers, timeout=40)

    def place_tea(self, *, key: str | bytes = KEY, **changed: Any) -> requests.Response:
        return self.send("orders", TEA | changed, key=key)

    def own(self, order: Order) -> "KeyedApi":
        """Be the shopper of this order."""
        self.headers["Authorization"] = f"Bearer {token_of(order)}"
        return self

    def browse(self, browser: Client) -> None:
        """Be this browser, which has a session."""
        session, token = browser.cookies[shop_settings.SESSION_COOKIE_NAME].value, "a" * 32
        cookies = {shop_settings.SESSION_COOKIE_NAME: session, shop_settings.CSRF_COOKIE_NAME: token}
        cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        self.headers = {"Cookie": cookie, "X-CSRFToken": token}


@pytest.fixture
def api(live_server) -> KeyedApi:
    make_product()
    return KeyedApi(live_server.url)


@pytest.fixture
def staff(live_server) -> KeyedApi:
    """Somebody of the shop, by session, who may give money back."""
    browser, api = Client(), KeyedApi(live_server.url)
    browser.force_login(User.objects.create_superuser("sue"))
    api.browse(browser)
    return api


def make_paid() -> Payment:
    payment = make_payment(make_order())
    settle_payment(report(payment), channel="wechat", source=Source.QUERY)
    payment.refresh_from_db()
    return payment


def is_replay(answer: requests.Response) -> bool:
    told = answer.headers.get("Idempotency-Replayed")
    assert told in (None, "true")
    return told == "true"


def number_of(answer: requests.Response, *, status: int = 201, replayed: bool = False) -> str:
    """The number of what the answer says was made."""
    assert (answer.status_code, is_replay(answer)) == (status, replayed), answer.text
    number: str = answer.json()["number"]
    return number


# ---- the same again ----------------------------------------------------------------------------------------------


@whatever_redis_does
def test_order_sent_again_is_the_same_order_and_its_goods_are_taken_once(api):
    first = api.place_tea()
    again = [api.place_tea() for _ in range(3)]
    assert not is_replay(first)
    assert {number_of(answer, replayed=True) for answer in again} == {number_of(first)}
    assert {answer.json()["token"] for answer in again} == {first.json()["token"]}
    assert (Order.objects.count(), Product.objects.get().stock) == (1, 9)
    assert audit() == []


@whatever_redis_does
def test_replay_of_an_order_tells_what_became_of_it(api):
    order = api.place_tea().json()
    api.headers["Authorization"] = f"Bearer {order['token']}"
    assert api.call("POST", f"orders/{order['number']}/cancel").status_code == 200
    again = api.place_tea()
    assert number_of(again, replayed=True) == order["number"]
    assert again.json()["status"] == "CLOSED"
    assert Order.objects.count() == 1


def test_replay_of_an_order_gives_no_token_of_a_link_that_was_made_since(api):
    order = api.place_tea().json()
    renew_link(order["number"])
    again = api.place_tea()
    assert number_of(again, replayed=True) == order["number"]
    assert "token" not in again.json()


@whatever_redis_does
def test_payment_sent_again_is_the_same_payment(api, sandbox):
    order = make_order()
    path = f"orders/{order.number}/payments"
    first, again = api.own(order).send(path, QR), api.send(path, QR)
    assert number_of(again, replayed=True) == number_of(first)
    assert again.json() == first.json()
    assert len(sandbox.trades(number_of(first))) == 1
    assert audit() == []


def test_replay_of_a_payment_tells_what_became_of_it(api, sandbox):
    order = make_order()
    path = f"orders/{order.number}/payments"
    number = number_of(api.own(order).send(path, QR))
    sandbox.pay(number)
    wait_until(lambda: Payment.objects.get().status == "PAID")
    again = api.send(path, QR)
    assert number_of(again, replayed=True) == number
    assert (again.json()["status"], again.json()["action"]) == ("PAID", None)
    assert problem(api.send(path, QR, key="another")) == (409, "order_paid")


def test_replay_of_a_payment_that_was_shown_again_is_200_as_the_first_time(api, sandbox):
    order = make_order()
    path = f"orders/{order.number}/payments"
    number = number_of(api.own(order).send(path, QR, key="another"))
    assert number_of(api.send(path, QR), status=200) == number
    assert number_of(api.send(path, QR), status=200, replayed=True) == number
    assert Payment.objects.count() == 1
    assert audit() == []


@whatever_redis_does
def test_refund_sent_again_is_the_same_refund(staff):
    payment = make_paid()
    path = f"payments/{payment.number}/refunds"
    first, again = staff.send(path, PART), staff.send(path, PART)
    assert number_of(again, replayed=True) == number_of(first)
    assert Refund.objects.count() == 1
    assert number_of(staff.send(path, PART, key="another")) != number_of(first)
    assert Refund.objects.count() == 2
    assert audit() == []


def test_replay_of_a_refund_tells_what_became_of_it(staff, settings):
    settings.REFUND_APPROVAL_ABOVE = 0
    payment = make_paid()
    path = f"payments/{payment.number}/refunds"
    first = staff.send(path, PART)
    assert first.json()["status"] == "PENDING_APPROVAL"
    approve_refund(number_of(first), actor="bo")
    again = staff.send(path, PART)
    assert number_of(again, replayed=True) == number_of(first)
    assert again.json()["status"] == "REFUNDING"


def test_same_content_written_in_another_way_is_the_same_request(api):
    first = api.place_tea()
    turned = {"contact": dict(reversed(CONTACT.items())), "items": TEA["items"]}
    assert number_of(api.send("orders", turned), replayed=True) == number_of(first)


# ---- the same key for something else -----------------------------------------------------------------------------


@whatever_redis_does
def test_key_with_another_order_in_its_body_is_422_and_nothing_is_made(api):
    api.place_tea()
    other = api.place_tea(items=[{"sku": "tea", "quantity": 2}])
    assert problem(other) == (422, "idempotency_mismatch")
    assert (Order.objects.count(), Product.objects.get().stock) == (1, 9)


def test_key_with_another_application_in_its_body_is_422_and_nothing_is_made(api, sandbox):
    order = make_order()
    path = f"orders/{order.number}/payments"
    api.own(order).send(path, QR)
    assert problem(api.send(path, QR | {"supersede": True})) == (422, "idempotency_mismatch")
    assert Payment.objects.count() == 1


def test_key_with_another_refund_in_its_body_is_422_and_nothing_is_made(staff):
    path = f"payments/{make_paid().number}/refunds"
    staff.send(path, PART)
    assert problem(staff.send(path, PART | {"amount": 901})) == (422, "idempotency_mismatch")
    assert Refund.objects.count() == 1


def test_same_key_under_another_order_is_another_key(api, sandbox):
    first, second = make_order(), make_order()
    numbers = [
        number_of(api.own(order).send(f"orders/{order.number}/payments", QR)) for order in (first, second)
    ]
    assert [Payment.objects.get(number=number).order for number in numbers] == [first, second]


def test_same_key_under_another_payment_is_another_key(staff):
    numbers = [number_of(staff.send(f"payments/{make_paid().number}/refunds", PART)) for _ in range(2)]
    assert len(set(numbers)) == 2


def test_same_key_in_another_browser_is_another_key(api):
    numbers = set()
    for name in ("Anna", "Bo"):
        browser = Client()
        browser.post("/cart/add/", {"sku": "tea", "quantity": 1})
        api.browse(browser)
        contact = CONTACT | {"name": name}
        numbers.add(number_of(api.place_tea(contact=contact)))
        assert number_of(api.place_tea(contact=contact), replayed=True) in numbers
    assert len(numbers) == 2


# ---- keys that are none ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["", "x" * 256, "a\tb", "a\x01b", "a\x7fb", "schlüssel", "钥匙".encode()],
    ids=["empty", "too long", "tab", "control character", "delete", "umlaut", "UTF-8"],
)
@pytest.mark.parametrize("thing", ["order", "payment", "refund"])
def test_senseless_key_is_refused_and_nothing_is_made(api, staff, sandbox, thing, key):
    order, payment = make_order(), make_paid()
    before = count_things()
    answer = {
        "order": lambda: api.place_tea(key=key),
        "payment": lambda: api.own(order).send(f"orders/{order.number}/payments", QR, key=key),
        "refund": lambda: staff.send(f"payments/{payment.number}/refunds", PART, key=key),
    }[thing]()
    assert problem(answer) == (400, "invalid")
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert count_things() == before


def count_things() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (Order, Payment, Refund, IdempotencyKey))


@pytest.mark.parametrize("key", ["x" * 255, "a b", '"quoted"', "'; drop table shop_idempotencykey; --", "%s"])
def test_key_may_be_any_printable_text_of_up_to_255_characters(api, key):
    assert number_of(api.place_tea(key=key)) == number_of(api.place_tea(key=key), replayed=True)


def test_query_and_cancel_take_a_key_and_need_none(api, sandbox):
    order = make_order()
    payment = number_of(api.own(order).send(f"orders/{order.number}/payments", QR, key="another"))
    asked = api.send(f"payments/{payment}/query")
    cancelled = [api.send(f"orders/{order.number}/cancel") for _ in range(2)]
    assert [answer.status_code for answer in (asked, *cancelled)] == [200, 200, 200]
    assert not any(is_replay(answer) for answer in (asked, *cancelled))
    assert not IdempotencyKey.objects.filter(key=KEY).exists()


# ---- at once -----------------------------------------------------------------------------------------------------


def at_once(*sends: Callable[[], requests.Response]) -> list[requests.Response]:
    with ThreadPoolExecutor(len(sends)) as senders:
        return [sent.result() for sent in [senders.submit(send) for send in sends]]


def assert_one_of_many(answers: list[requests.Response], *, status: int = 201) -> None:
    """One made it, the others were shown it, or told to come again soon."""
    told = [answer for answer in answers if answer.status_code == status]
    assert len({answer.json()["number"] for answer in told}) == 1
    assert [is_replay(answer) for answer in told].count(False) == 1
    for answer in answers:
        if answer not in told:
            assert problem(answer) == (409, "in_progress")
            assert int(answer.headers["Retry-After"]) >= 1


@whatever_redis_does
def test_one_of_many_rivals_places_the_order(api):
    assert_one_of_many(at_once(*[api.place_tea] * 8))
    assert (Order.objects.count(), Product.objects.get().stock) == (1, 9)
    assert number_of(api.place_tea(), replayed=True) == Order.objects.get().number
    assert audit() == []


@whatever_redis_does
def test_one_of_many_rivals_makes_the_payment(api, sandbox):
    order = make_order()
    path = f"orders/{order.number}/payments"
    api.own(order)
    assert_one_of_many(at_once(*[partial(api.send, path, QR)] * 6))
    payment = Payment.objects.get()
    assert number_of(api.send(path, QR), replayed=True) == payment.number
    assert len(sandbox.trades(payment.number)) == 1
    assert audit() == []


@whatever_redis_does
def test_one_of_many_rivals_asks_for_the_refund(staff):
    path = f"payments/{make_paid().number}/refunds"
    assert_one_of_many(at_once(*[partial(staff.send, path, PART)] * 6))
    assert Refund.objects.count() == 1
    assert audit() == []


def test_rivals_with_two_bodies_make_one_thing(api):
    two = [{"sku": "tea", "quantity": 2}]
    answers = at_once(*[api.place_tea] * 3, *[partial(api.place_tea, items=two)] * 3)
    refused = {problem(answer) for answer in answers if answer.status_code != 201}
    assert refused <= {(422, "idempotency_mismatch"), (409, "in_progress")}
    assert len({answer.json()["number"] for answer in answers if answer.status_code == 201}) == 1
    assert Order.objects.count() == 1


# ---- after a crash -----------------------------------------------------------------------------------------------


def body_hash_of_application(api: KeyedApi) -> str:
    """What the product keeps of the body that applies for a QR."""
    order = make_order()
    api.own(order).send(f"orders/{order.number}/payments", QR, key="for its hash")
    return IdempotencyKey.objects.get(key="for its hash").body_hash


@whatever_redis_does
def test_key_whose_maker_died_is_in_progress_until_its_lease_is_over_and_then_taken_over(api, sandbox):
    body_hash, order = body_hash_of_application(api), make_order()
    path = f"orders/{order.number}/payments"
    begun = IdempotencyKey.objects.create(
        scope=f"payments:{order.number}", key=KEY, body_hash=body_hash, status=201, lease_until=in_a_moment()
    )
    waits = api.own(order).send(path, QR)
    assert problem(waits) == (409, "in_progress")
    assert int(waits.headers["Retry-After"]) >= 1
    assert not Payment.objects.filter(order=order).exists()
    IdempotencyKey.objects.filter(pk=begun.pk).update(lease_until=Now())
    number = number_of(api.send(path, QR))
    assert number_of(api.send(path, QR), replayed=True) == number
    assert audit() == []


def in_a_moment() -> Any:
    return Now() + timedelta(seconds=30)


def end_leases() -> None:
    """The half minute is over in which the dead one might have lived."""
    IdempotencyKey.objects.update(lease_until=Now())
    Payment.objects.update(lease_until=Now())


@pytest.fixture
def two_processes(sandbox, live_server, tmp_path: Path) -> Iterator[tuple[KeyedApi, "Web"]]:
    """This one, and a web process of its own, on the same database."""
    make_product()
    with serving(tmp_path / "web.log") as web:
        yield KeyedApi(live_server.url), web


class Web:
    """One more web process of the shop."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str) -> None:
        self.process, self.api = process, KeyedApi(url)

    def answers(self) -> bool:
        try:
            return requests.get(self.api.url.replace("/api/v1", "/healthz"), timeout=1).status_code == 200
        except requests.RequestException:
            return False

    def die(self) -> None:
        """At once, whatever it is doing."""
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(log: Path) -> Iterator[Web]:
    # The socket is ours before the process is there, so that nobody else takes its port.
    with socket.create_server(("127.0.0.1", 0), backlog=256) as ours, log.open("ab") as out:
        options = ["--fd", str(ours.fileno()), "--lifespan", "off"]
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "shop.asgi:application", *options],
            env=environment(),
            stdout=out,
            stderr=out,
            cwd=ROOT,
            pass_fds=[ours.fileno()],
        )
        web = Web(process, f"http://127.0.0.1:{ours.getsockname()[1]}")
        try:
            wait_until(web.answers, within_s=60)
            yield web
        finally:
            web.die()


@whatever_redis_does
def test_two_processes_know_the_same_keys(two_processes):
    here, web = two_processes
    first = here.place_tea()
    assert number_of(web.api.place_tea(), replayed=True) == number_of(first)
    order = Order.objects.get()
    path = f"orders/{order.number}/payments"
    payment = number_of(web.api.own(order).send(path, QR))
    assert number_of(here.own(order).send(path, QR), replayed=True) == payment
    apply = [partial(client.send, path, QR, key="third") for client in (here, web.api)]
    assert_one_of_many(at_once(*apply * 3), status=200)
    assert audit() == []


def test_rivals_in_two_processes_make_one_order(two_processes):
    here, web = two_processes
    assert_one_of_many(at_once(*[here.place_tea, web.api.place_tea] * 4))
    assert (Order.objects.count(), Product.objects.get().stock) == (1, 9)
    assert audit() == []


def test_payment_whose_maker_was_killed_in_its_call_is_finished_under_the_same_number(two_processes, sandbox):
    here, web = two_processes
    order = make_order()
    path = f"orders/{order.number}/payments"
    sandbox.set_faults(
        {"script": [{"channel": "wechat", "operation": "create", "when": "after", "what": "hang"}]}
    )
    with ThreadPoolExecutor(1) as hand:
        sent = hand.submit(web.api.own(order).send, path, QR)
        number = wait_until(lambda: Payment.objects.values_list("number", flat=True).first())
        wait_until(lambda: sandbox.trades(number))
        web.die()
        assert isinstance(sent.exception(), requests.RequestException)
    sandbox.clear_faults()
    assert audit() == []
    assert problem(here.own(order).send(path, QR)) == (409, "in_progress")
    end_leases()
    finished = here.send(path, QR)
    assert finished.json()["number"] == number, finished.text
    assert (finished.status_code, finished.json()["action"]["type"]) == (201, "qr")
    assert number_of(here.send(path, QR), replayed=True) == number
    assert len(sandbox.trades(number)) == Payment.objects.count() == 1
    assert audit() == []


def test_payment_whose_maker_died_before_it_could_say_so_is_told_as_it_is_by_now(api, sandbox):
    order = make_order()
    path = f"orders/{order.number}/payments"
    number = number_of(api.own(order).send(path, QR))
    end_leases()  # of a maker who had stored the code, and no more
    sandbox.pay(number)
    wait_until(lambda: Payment.objects.get().status == "PAID")
    assert api.send(path, QR | {"supersede": True}).status_code == 422
    again = api.send(path, QR)
    assert number_of(again, replayed=True) == number
    assert again.json()["status"] == "PAID"
    assert IdempotencyKey.objects.get().lease_until is None


# ---- nothing was made --------------------------------------------------------------------------------------------


def assert_made_nothing(answer: requests.Response, status: int, code: str) -> None:
    assert problem(answer) == (status, code)
    assert not is_replay(answer)
    assert not IdempotencyKey.objects.filter(key=KEY).exists()


@whatever_redis_does
def test_key_of_an_order_that_was_sold_out_may_be_tried_again(api):
    Product.objects.update(stock=0)
    assert_made_nothing(api.place_tea(), 409, "out_of_stock")
    Product.objects.update(stock=10)
    assert number_of(api.place_tea()) == Order.objects.get().number


def test_key_of_a_senseless_order_may_be_used_for_the_right_one(api):
    assert_made_nothing(api.place_tea(items=[{"sku": "nothing", "quantity": 1}]), 400, "invalid")
    assert number_of(api.place_tea()) == Order.objects.get().number


def test_key_of_an_unknown_channel_may_be_used_for_another(api, sandbox):
    order = make_order()
    path = f"orders/{order.number}/payments"
    assert_made_nothing(api.own(order).send(path, QR | {"channel": "cash"}), 400, "invalid")
    assert number_of(api.send(path, QR)) == Payment.objects.get().number


def test_key_on_a_closed_order_makes_nothing(api, sandbox):
    order = make_order()
    path = f"orders/{order.number}/payments"
    api.own(order).call("POST", f"orders/{order.number}/cancel")
    assert_made_nothing(api.send(path, QR), 409, "order_closed")


def test_key_on_a_channel_out_of_reach_goes_on_with_what_was_begun(api, sandbox, settings):
    order, reachable = make_order(), settings.CHANNELS
    path = f"orders/{order.number}/payments"
    settings.CHANNELS = {"wechat": reachable["wechat"] | {"BASE_URL": "http://127.0.0.1:9"}}
    assert problem(api.own(order).send(path, QR)) == (503, "channel_unavailable")
    settings.CHANNELS = reachable
    number = api.send(path, QR).json()["number"]
    assert number == Payment.objects.get().number == number_of(api.send(path, QR), replayed=True)


def test_key_of_a_refund_that_was_too_large_may_be_used_for_a_smaller_one(staff):
    path = f"payments/{make_paid().number}/refunds"
    assert_made_nothing(staff.send(path, PART | {"amount": 10**6}), 409, "over_refund")
    assert number_of(staff.send(path, PART)) == Refund.objects.get().number


# ---- keys and the same content -----------------------------------------------------------------------------------


@whatever_redis_does
def test_key_of_somebody_unknown_does_not_allow_the_same_order_twice(api):
    first = number_of(api.place_tea(key="first"))
    assert_made_nothing(api.place_tea(), 409, "duplicate_order")
    assert number_of(api.place_tea(key="first"), replayed=True) == first
    assert Order.objects.count() == 1


@whatever_redis_does
def test_same_order_is_placed_on_purpose_once_for_each_key(api):
    first = number_of(api.place_tea(key="first"))
    second = number_of(api.place_tea(again=True))
    assert number_of(api.place_tea(again=True), replayed=True) == second != first
    assert number_of(api.place_tea(key="first"), replayed=True) == first
    assert Order.objects.count() == 2


@whatever_redis_does
def test_same_content_under_two_keys_at_once_is_one_order(api):
    answers = at_once(*[partial(api.place_tea, key=key) for key in "abcdef"])
    told = sorted(answer.status_code for answer in answers)
    assert told == [201, *[409] * 5]
    assert {problem(answer)[1] for answer in answers if answer.status_code == 409} == {"duplicate_order"}
    assert (Order.objects.count(), IdempotencyKey.objects.count()) == (1, 1)
    assert audit() == []
