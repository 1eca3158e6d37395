"""Repairing what the books show: the safe things by a machine, once; everything else is a person's case."""

from decimal import Decimal
from typing import Any

import pytest

from payments import repairing
from payments.cases import resolve_case
from payments.channels.base import Outcome, PaymentReport, RefundReport
from payments.errors import CannotRepair
from payments.models import Case, Difference, Receipt, Refund, Statement
from payments.reconciling import compare
from payments.refunding import ask_refund
from payments.repairing import BY_PEOPLE, REPAIRS, repair, repair_safe, words_for
from shop.env import Fee
from tests.factories import make_order, make_payment
from tests.statements import DAY, make_statement, paid, refund_line, refunded, sale

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_channel_answers(settings: Any) -> None:
    """Every channel was taken out of the configuration: what it would say is unknown."""
    settings.CHANNELS = {}


def mend() -> dict[str, int]:
    return repair_safe("wechat", DAY, actor="night")


def test_unsettled_payment_is_settled_by_the_channels_own_statement():
    payment = make_payment(make_order())
    compare(make_statement(sale(payment, "T1")))
    assert mend() == {"repaired": 1, "cases": 0}
    payment.refresh_from_db()
    assert (payment.status, payment.order.status) == ("PAID", "READY_FOR_SHIPMENT")
    assert Receipt.objects.get().source == "STATEMENT"
    assert Difference.objects.get().state == "repaired"


def test_file_that_somebody_handed_in_settles_nothing():
    payment = make_payment(make_order())
    compare(make_statement(sale(payment, "T1"), origin=Statement.Origin.FILE))
    assert mend() == {"repaired": 0, "cases": 1}
    payment.refresh_from_db()
    assert payment.status == "PAYING"
    assert "two people" in Case.objects.get().evidence["why"]


def test_amount_that_differs_is_never_settled_as_if_it_did_not():
    payment = make_payment(make_order())
    compare(make_statement(sale(payment, "T1", amount=100)))
    mend()
    assert Receipt.objects.get().receipt_class == "mismatch"
    assert Case.objects.get().kind == Case.Kind.MISMATCH


def test_strange_money_is_written_down_and_has_its_own_case():
    compare(make_statement(sale("POS-7", "T1", amount=500)))
    assert mend() == {"repaired": 1, "cases": 0}
    assert Receipt.objects.get().receipt_class == "unmatched"
    assert Case.objects.get().kind == Case.Kind.UNMATCHED


def test_second_trade_of_a_number_goes_back_by_itself():
    payment = paid("T1")
    compare(make_statement(sale(payment, "T1"), sale(payment, "T2")))
    assert mend() == {"repaired": 1, "cases": 0}
    assert Receipt.objects.get(channel_number="T2").receipt_class == "surplus"
    assert Refund.objects.get().kind == Refund.Kind.AUTOMATIC


def test_refund_of_money_that_nobody_knows_is_a_persons():
    payment = make_payment(make_order())
    compare(make_statement(refund_line("X1", "TR1", 500, of=payment, trade="T9")))
    assert mend() == {"repaired": 0, "cases": 1}
    assert Case.objects.get().kind == Case.Kind.BOOKS


def test_failed_refund_that_the_books_show_as_made_is_a_persons():
    payment = paid("T1")
    refund = refunded(payment, 500)
    Refund.objects.update(status="FAILED")
    compare(make_statement(sale(payment, "T1"), refund_line(refund.number, "", 500, of=payment, trade="T1")))
    assert mend() == {"repaired": 0, "cases": 1}
    assert {case.kind for case in Case.objects.all()} == {"books", "disagrees"}


@pytest.mark.parametrize("kind", sorted(BY_PEOPLE))
def test_what_no_machine_may_decide_becomes_a_case(kind):
    difference = Difference.objects.create(
        channel="wechat", day=DAY, kind=kind, severity=3, subject="T1", currency="CNY", theirs=1, ours=2
    )
    with pytest.raises(CannotRepair):
        repair(difference.pk, actor="amy")
    difference.refresh_from_db()
    assert (difference.state, Case.objects.get().kind) == ("case", Case.Kind.BOOKS)


def test_every_kind_is_a_machines_or_a_persons():
    assert set(REPAIRS) | set(BY_PEOPLE) == set(Difference.Kind)
    assert not set(REPAIRS) & set(BY_PEOPLE)
    assert all(words_for(Difference(kind=kind)) for kind in Difference.Kind)


def test_fees_that_differ_are_one_case_for_the_whole_statement(settings):
    settings.CHANNEL_FEES = {("wechat", "CNY"): Fee(rate=Decimal("0.006"), fixed_minor=0)}
    compare(make_statement(*[sale(paid(f"T{number}"), f"T{number}", fee=500) for number in range(3)]))
    assert mend() == {"repaired": 0, "cases": 3}
    assert Case.objects.get().subject == f"wechat:{DAY}:fee"


def test_repairing_twice_is_harmless():
    payment = make_payment(make_order())
    compare(make_statement(sale(payment, "T1")))
    mend()
    assert mend() == {"repaired": 0, "cases": 0}
    assert Receipt.objects.count() == 1


def test_second_person_at_the_same_button_is_told():
    compare(make_statement(sale(make_payment(make_order()), "T1")))
    difference = Difference.objects.get()
    repair(difference.pk, actor="amy")
    with pytest.raises(CannotRepair, match="meanwhile"):
        repair(difference.pk, actor="ben")


def test_case_closes_when_the_restated_books_agree():
    payment = paid("T1")
    compare(make_statement())
    mend()
    compare(make_statement(sale(payment, "T1")))
    assert Case.objects.get().resolution == "the books agree"


def test_what_a_person_has_resolved_is_not_asked_again(admin_user):
    paid("T1")
    statement = make_statement()
    compare(statement)
    mend()
    resolve_case(Case.objects.get().pk, actor=admin_user, resolution="WeChat has booked it next week")
    assert Difference.objects.get().state == "decided"
    compare(statement)
    assert mend() == {"repaired": 0, "cases": 0}
    assert Case.objects.count() == 1


def test_sale_and_its_refund_that_nobody_knew_end_as_a_refunded_order():
    payment = make_payment(make_order())
    compare(make_statement(refund_line("X1", "TR1", 12900, of=payment, trade="T1"), sale(payment, "T1")))
    assert mend() == {"repaired": 2, "cases": 0}
    payment.order.refresh_from_db()
    assert payment.order.status == "REFUNDED"


def test_what_a_file_has_shown_is_settled_when_the_channels_own_shows_it_too(admin_user):
    payment = make_payment(make_order())
    compare(make_statement(sale(payment, "T1"), origin=Statement.Origin.FILE))
    mend()
    resolve_case(Case.objects.get().pk, actor=admin_user, resolution="seen")
    compare(make_statement(sale(payment, "T1")))
    assert mend() == {"repaired": 1, "cases": 0}
    payment.refresh_from_db()
    assert payment.status == "PAID"


def test_console_refunds_of_one_number_are_both_written_down():
    first, second = paid("T1"), paid("T2")
    compare(
        make_statement(
            sale(first, "T1"),
            sale(second, "T2"),
            refund_line("1", "", 500, of=first, trade="T1"),
            refund_line("1", "", 500, of=second, trade="T2"),
        )
    )
    assert mend() == {"repaired": 2, "cases": 0}
    assert {refund.receipt.channel_number for refund in Refund.objects.all()} == {"T1", "T2"}
    assert not Difference.objects.filter(ended_at=None).exists()


def test_one_that_breaks_does_not_stop_the_others(monkeypatch):
    first, second = make_payment(make_order()), make_payment(make_order(sku="cup"))
    compare(make_statement(sale(first, "T1"), sale(second, "T2")))
    whole = repairing.settle_payment

    def break_off(report: PaymentReport, **more: Any) -> Any:
        if report.channel_number == "T1":
            raise RuntimeError("poisoned")
        return whole(report, **more)

    monkeypatch.setattr(repairing, "settle_payment", break_off)
    assert mend() == {"repaired": 1, "cases": 1}
    assert "RuntimeError" in Case.objects.get().evidence["why"]


@pytest.mark.parametrize(
    ("outcome", "state", "status"),
    [
        (Outcome.OPEN, "open", "REFUNDING"),
        (Outcome.REFUSED, "case", "FAILED"),
        (Outcome.SUCCEEDED, "repaired", "REFUNDED"),
        (Outcome.UNKNOWN, "repaired", "REFUNDED"),
    ],
)
def test_channel_is_asked_before_its_statement_ends_a_refund(monkeypatch, outcome, state, status):
    payment = paid("T1")
    refund = ask_refund(payment.number, amount=500, reason="r", actor="anna")
    told = RefundReport(outcome=outcome, number=refund.number)
    monkeypatch.setattr(repairing, "_ask_about", lambda channel, refund: told)
    compare(make_statement(sale(payment, "T1"), refund_line(refund.number, "", 500, of=payment, trade="T1")))
    mend()
    refund.refresh_from_db()
    assert (Difference.objects.get(kind="refund_status").state, refund.status) == (state, status)


def test_case_about_a_payment_stands_in_the_story_of_its_order():
    payment = paid("T1")
    compare(make_statement())
    mend()
    assert Case.objects.get().order == payment.order
