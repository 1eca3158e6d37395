"""Every word of a channel, from every source, on every status, and every sequence of words: nothing is left to chance.

The expected ends stand here a second time, from the contract: the tables in `payments.statuses` are what is tested.
"""

from collections.abc import Callable
from itertools import product

import pytest

from orders.models import Order
from payments.channels.base import Outcome, RefundReport
from payments.models import Case, Payment, Receipt, Refund
from payments.refunding import ask_refund, reject_refund
from payments.returning import settle_refund
from payments.settling import settle_payment
from payments.statuses import PaymentStatus, RefundStatus, Settled
from shop.models import Event, Source
from tests.factories import make_order, make_payment, make_product, report, steps

pytestmark = pytest.mark.django_db

# What is not named stays as it is.
PAYMENT_ENDS = {
    ("PAYING", Outcome.SUCCEEDED): "PAID",
    ("PAYING", Outcome.CLOSED): "CLOSED",
    ("PAYING", Outcome.REFUSED): "FAILED",
    ("CLOSED", Outcome.SUCCEEDED): "PAID",
    ("FAILED", Outcome.SUCCEEDED): "PAID",
}
REFUND_ENDS = {
    ("REFUNDING", Outcome.SUCCEEDED): "REFUNDED",
    ("REFUNDING", Outcome.CLOSED): "FAILED",
    ("REFUNDING", Outcome.REFUSED): "FAILED",
}


@pytest.fixture(autouse=True)
def _goods() -> None:
    make_product(stock=10_000)


def tell(payment: Payment, outcome: Outcome, source: Source = Source.QUERY) -> Settled:
    answer = settle_payment(report(payment, outcome), channel="wechat", source=source)
    payment.refresh_from_db()
    payment.order.refresh_from_db()
    return answer


def payment_that_is(status: str) -> Payment:
    payment = make_payment(make_order())
    words = {"PAID": Outcome.SUCCEEDED, "CLOSED": Outcome.CLOSED, "FAILED": Outcome.REFUSED}
    if status in words:
        tell(payment, words[status])
    assert payment.status == status
    return payment


def paid_receipt() -> Receipt:
    return Receipt.objects.get(payment=payment_that_is("PAID"))


def asked(amount: int) -> Refund:
    return ask_refund(paid_receipt().channel_number, amount=amount, reason="size", actor="Ann")


def rejected() -> Refund:
    return reject_refund(asked(12900).number, actor="Bob", reason="no")


def told(outcome: Outcome) -> Refund:
    refund = asked(100)
    tell_refund(refund, outcome)
    return refund


REFUNDS: dict[str, Callable[[], Refund]] = {
    "PENDING_APPROVAL": lambda: asked(12900),
    "REFUNDING": lambda: asked(100),
    "REFUNDED": lambda: told(Outcome.SUCCEEDED),
    "FAILED": lambda: told(Outcome.REFUSED),
    "REJECTED": rejected,
}


def tell_refund(refund: Refund, outcome: Outcome, source: Source = Source.QUERY) -> Settled:
    said = RefundReport(outcome=outcome, number=refund.number, amount_minor=refund.amount)
    answer = settle_refund(said, channel="wechat", source=source)
    refund.refresh_from_db()
    return answer


# ---- one word ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("status", [status for status in PaymentStatus if status != "UNPAID"])
def test_each_word_from_each_source_does_to_a_payment_what_the_contract_says(status, outcome):
    for source in Source:
        payment = payment_that_is(status)
        answer = tell(payment, outcome, source)
        assert payment.status == PAYMENT_ENDS.get((status, outcome), status)
        assert (answer is Settled.MOVED) == (payment.status != status)
        assert (payment.status == "PAID") == (payment.order.status == "READY_FOR_SHIPMENT")
        assert (payment.status == "PAID") == Receipt.objects.filter(payment=payment).exists()
        assert steps(payment.number)[-1][1] == payment.status


@pytest.mark.parametrize("outcome", Outcome)
def test_each_word_does_to_a_payment_whose_money_is_being_taken_what_the_contract_says(outcome):
    """Only the answer to a close, which is our own promise, ends nothing."""
    for source in Source:
        payment = payment_that_is("PAYING")
        assert tell(payment, Outcome.APPROVED) is Settled.CAPTURE
        answer = tell(payment, outcome, source)
        is_promise = outcome is Outcome.CLOSED and source is Source.RESPONSE
        assert payment.status == ("PAYING" if is_promise else PAYMENT_ENDS.get(("PAYING", outcome), "PAYING"))
        assert (answer is Settled.UNDECIDED) == is_promise
        assert (payment.captures, answer is Settled.CAPTURE) == (1, False)


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("status", RefundStatus)
def test_each_word_from_each_source_does_to_a_refund_what_the_contract_says(status, outcome, settings):
    settings.REFUND_APPROVAL_ABOVE = 1000
    for source in Source:
        refund = REFUNDS[status]()
        assert refund.status == status
        answer = tell_refund(refund, outcome, source)
        assert refund.status == REFUND_ENDS.get((status, outcome), status)
        assert (answer is Settled.MOVED) == (refund.status != status)
        assert steps(refund.number)[-1][1] == refund.status
        assert refund.receipt.payment.status == "PAID"


@pytest.mark.parametrize("status", ["FAILED", "REJECTED"])
def test_money_that_went_back_though_we_say_it_did_not_is_for_a_person(status, settings):
    settings.REFUND_APPROVAL_ABOVE = 1000
    refund = REFUNDS[status]()
    assert tell_refund(refund, Outcome.SUCCEEDED) is Settled.REVIEW
    assert Case.objects.filter(kind=Case.Kind.DISAGREES, subject=refund.number, resolved_at=None).exists()


# ---- every sequence ----------------------------------------------------------------------------------------------

# The words that keep a status are all alike, see above: one stands for them.
WORDS = (Outcome.SUCCEEDED, Outcome.CLOSED, Outcome.REFUSED, Outcome.OPEN)


def end_of(words: tuple[Outcome, ...]) -> str:
    """Money wins, whenever it is told; else the first word that ends; else it is still open."""
    if Outcome.SUCCEEDED in words:
        return "PAID"
    ends = [PAYMENT_ENDS[key] for word in words if (key := ("PAYING", word)) in PAYMENT_ENDS]
    return ends[0] if ends else "PAYING"


@pytest.mark.parametrize("first", WORDS)
def test_no_sequence_of_words_undoes_money_or_loses_it(first):
    for words in product([first], WORDS, WORDS):
        payment = make_payment(make_order())
        for count, said in enumerate(words, 1):
            tell(payment, said)
            assert payment.status == end_of(words[:count])
            assert (payment.order.status == "READY_FOR_SHIPMENT") == (payment.status == "PAID")
        assert Receipt.objects.filter(payment=payment).count() == (Outcome.SUCCEEDED in words)


@pytest.mark.parametrize("first", WORDS)
def test_no_sequence_of_words_takes_a_refund_back_or_sends_another(first):
    receipt = paid_receipt()
    for words in product([first], WORDS, WORDS):
        refund = ask_refund(receipt.channel_number, amount=1, reason="size", actor="Ann")
        for said in words:
            before = refund.status
            tell_refund(refund, said)
            assert refund.status == REFUND_ENDS.get((before, said), before)
    assert Refund.objects.count() == len(WORDS) ** 2


def test_the_words_lead_to_every_status_and_to_no_other():
    for words in product(WORDS, repeat=2):
        payment = make_payment(make_order())
        for said in words:
            tell(payment, said)
    assert {to for _, to in all_steps("payment")} == set(PaymentStatus)
    assert set(Order.objects.values_list("status", flat=True)) == {"UNPAID", "READY_FOR_SHIPMENT"}


def all_steps(kind: str) -> set[tuple[str, str]]:
    return set(Event.objects.filter(subject_kind=kind).values_list("from_status", "to_status"))
