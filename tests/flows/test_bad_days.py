"""Days on which something of ours is away or busy: a clear answer, nothing changed, and sales go on where they can."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from django.db import connection, transaction

from orders.models import Order
from orders.moves import lock_order
from payments.applying import apply_for_payment
from payments.attempts import attempt_of
from payments.channels.registry import get_channel
from payments.channels.wire import CallInsideTransaction
from payments.models import Callback, Payment
from tests.factories import make_order
from tests.flows.test_api import CONTACT, Api, problem
from tests.redis_states import whatever_redis_does
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def impatient(settings):
    """A lock is waited for 200 ms instead of 3 s."""
    connection.close()
    options = connection.settings_dict["OPTIONS"]
    before = options["options"]
    options["options"] = before.replace("lock_timeout=3s", "lock_timeout=200ms")
    yield
    options["options"] = before
    connection.close()


def test_order_that_is_locked_for_too_long_is_503_with_a_hint_and_nothing_changed(
    sandbox, live_server, impatient
):
    api = Api(live_server.url)
    number = api.place()["number"]
    with transaction.atomic():
        lock_order(number)
        answer = api.apply(number)
    assert problem(answer) == (503, "busy")
    assert "may have been done or not" in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    assert not Payment.objects.exists()


def test_callback_for_a_locked_order_is_not_acknowledged_and_comes_again(sandbox, live_server, impatient):
    order = make_order()
    payment = apply_for_payment(order.number, channel="wechat", scene="qr").payment
    with transaction.atomic():
        lock_order(order.number)
        sandbox.pay(payment.number)
        tries = wait_until(lambda: sandbox.trades(payment.number)[0]["notifications"])
        assert not tries[0]["acknowledged"]
        assert tries[0]["status"] == 503
    wait_until(lambda: Order.objects.get().status == "READY_FOR_SHIPMENT")
    assert Callback.objects.count() == 1


@pytest.fixture
def read_only():
    """PostgreSQL takes no writes, as after a failover to a standby."""
    connection.close()
    options = connection.settings_dict["OPTIONS"]
    before = options["options"]
    options["options"] = f"{before} -c default_transaction_read_only=on"
    yield
    options["options"] = before
    connection.close()


def test_shop_that_cannot_write_acknowledges_no_callback_and_takes_no_order(sandbox, live_server, request):
    order = make_order()
    payment = apply_for_payment(order.number, channel="wechat", scene="qr").payment
    request.getfixturevalue("read_only")
    sandbox.pay(payment.number)
    tries = wait_until(lambda: sandbox.trades(payment.number)[0]["notifications"])
    assert (tries[0]["status"], tries[0]["acknowledged"]) == (503, False)
    body = {"items": [{"sku": "tea", "quantity": 1}], "contact": CONTACT}
    assert problem(Api(live_server.url).call("POST", "orders", body)) == (503, "busy")


@whatever_redis_does
def test_browsers_that_apply_at_once_get_one_payment_and_the_same_qr_by_one_call(
    sandbox, live_server, caplog
):
    caplog.set_level("INFO", "nodrop.wire")
    api = Api(live_server.url)
    number = api.place()["number"]
    sandbox.set_faults({"api": {"slow_s": 0.5}, "operations": ["create"]})
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.apply(number), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["action"]["content"] for answer in answers}) == 1
    assert Payment.objects.count() == 1
    assert [getattr(line, "operation", "") for line in caplog.records].count("create") == 1


def test_channel_is_never_called_inside_a_transaction(sandbox):
    payment = apply_for_payment(make_order().number, channel="wechat", scene="qr").payment
    attempt = attempt_of(payment)
    with transaction.atomic(), pytest.raises(CallInsideTransaction):
        get_channel("wechat").query(attempt)


def test_wrong_address_of_a_page_is_a_page_and_of_the_api_a_problem(live_server):
    page = requests.get(f"{live_server.url}/nothing/here/", timeout=5)
    assert (page.status_code, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert problem(requests.get(f"{live_server.url}/api/v1/nothing", timeout=5)) == (404, "not_found")
    assert problem(requests.post(f"{live_server.url}/api/v2/orders", timeout=5)) == (404, "not_found")
