"""One attempt is closed at its channel because a person wants it; its order stays as it is."""

import pytest

from orders.models import Order
from payments.applying import apply_for_payment
from payments.channels.base import Outcome
from payments.ending import close_by_person
from payments.errors import CannotClose, PaymentIsDecided, PaymentNotFound
from payments.models import Payment
from payments.moves import lock_payment, supersede_payment
from shop.models import Event
from shop.transactions import transactional
from tests.factories import make_order, make_payment
from tests.payments.audit_world import pay
from tests.redis_states import whatever_redis_does

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def payment(sandbox) -> Payment:
    sandbox.set_faults({"notify": {"drop": 1.0}})
    return apply_for_payment(make_order().number, channel="wechat", scene="qr").payment


def status_of(payment: Payment) -> str:
    payment.refresh_from_db()
    return payment.status


@transactional
def supersede(payment: Payment) -> None:
    supersede_payment(*lock_payment(payment.number, channel=payment.channel))


@whatever_redis_does
def test_open_payment_is_closed_at_its_channel_and_its_order_stays_open(sandbox, payment):
    assert close_by_person(payment.number, actor="sue") is Outcome.CLOSED
    assert status_of(payment) == "CLOSED"
    assert sandbox.trades(payment.number)[0]["status"] == "CLOSED"
    assert Order.objects.get().status == "UNPAID"
    assert Event.objects.get(subject=payment.number, to_status="CLOSED").actor == "sue"


def test_superseded_payment_is_closed_too(payment):
    supersede(payment)
    assert close_by_person(payment.number, actor="sue") is Outcome.CLOSED
    assert status_of(payment) == "CLOSED"


def test_payment_that_was_paid_meanwhile_is_settled_instead(sandbox, payment):
    sandbox.pay(payment.number)
    assert close_by_person(payment.number, actor="sue") is Outcome.SUCCEEDED
    assert status_of(payment) == "PAID"
    assert Order.objects.get().status == "READY_FOR_SHIPMENT"


def test_payment_stays_open_while_its_channel_does_not_answer(sandbox, payment):
    broken = {"channel": "wechat", "operation": "close", "when": "before", "what": "reset", "times": 20}
    sandbox.set_faults({"notify": {"drop": 1.0}, "script": [broken]})
    assert close_by_person(payment.number, actor="sue") is Outcome.UNKNOWN
    assert status_of(payment) == "PAYING"
    assert payment.is_unsure


def test_decided_payment_is_not_closed(db):
    payment = make_payment(make_order())
    pay(payment)
    with pytest.raises(PaymentIsDecided, match="it is PAID"):
        close_by_person(payment.number, actor="sue")


@pytest.mark.parametrize(("channel", "title"), [("unionpay", "UnionPay"), ("boleto", "Boleto")])
def test_channel_that_cannot_close_is_not_asked(db, channel, title):
    payment = make_payment(make_order(), channel=channel)
    with pytest.raises(CannotClose, match=f"{title}.* cannot close"):
        close_by_person(payment.number, actor="sue")
    assert status_of(payment) == "PAYING"


def test_unknown_payment_is_not_found(db):
    with pytest.raises(PaymentNotFound):
        close_by_person("P00000000000000000000000", actor="sue")
