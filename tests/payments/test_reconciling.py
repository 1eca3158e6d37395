"""A channel's books against ours: every difference has one row, a kind and both amounts, and both sums are explained to the cent."""

from datetime import datetime, time, timedelta
from decimal import Decimal

import pytest

from payments.channels.base import Outcome, PaymentReport
from payments.models import Difference, Entry, Statement
from payments.reconciling import SEVERITIES, compare, compare_around
from payments.refunding import ask_refund
from payments.repairing import repair_safe
from payments.settling import settle_unmatched
from shop.env import Fee
from shop.models import Source
from tests.factories import make_order, make_payment
from tests.statements import BEIJING, DAY, NOON, make_statement, paid, refund_line, refunded, sale

pytestmark = pytest.mark.django_db


def found(statement: Statement) -> list[tuple[str, str, int | None, int | None]]:
    return [(row.kind, row.subject, row.theirs, row.ours) for row in compare(statement)]


def test_books_that_agree_show_nothing():
    payment = paid("T1")
    assert found(make_statement(sale(payment, "T1"))) == []


def test_payment_that_only_they_know_as_paid_is_unsettled():
    payment = make_payment(make_order())
    assert found(make_statement(sale(payment, "T1"))) == [("unsettled", "T1", 12900, None)]


def test_trade_that_names_no_payment_of_ours_is_a_stranger():
    assert found(make_statement(sale("POS-7", "T1", amount=500))) == [("stranger", "T1", 500, None)]


def test_money_that_we_set_aside_as_unmatched_is_no_difference():
    stray = PaymentReport(
        outcome=Outcome.SUCCEEDED, number="POS-7", channel_number="T1", amount_minor=500, currency="CNY"
    )
    settle_unmatched(stray, channel="wechat", source=Source.CALLBACK)
    assert found(make_statement(sale("POS-7", "T1", amount=500))) == []


def test_payment_that_their_books_lack_is_missing():
    paid("T1")
    assert found(make_statement()) == [("missing", "T1", None, 12900)]


def test_payment_of_another_channel_is_not_missed():
    paid("T1", channel="alipay")
    assert found(make_statement()) == []


@pytest.mark.parametrize("minutes", [10, 24 * 60 - 10])
def test_payment_around_midnight_is_not_missed_before_the_statement_beside_is_there(minutes):
    payment = paid("T1", at=datetime.combine(DAY, time(), BEIJING) + timedelta(minutes=minutes))
    statement = make_statement()
    assert found(statement) == []
    beside = DAY + timedelta(days=-1 if minutes < 720 else 1)
    with_it = make_statement(sale(payment, "T1"), day=beside)
    assert list(compare_around(with_it)) == []
    assert found(statement) == []
    Entry.objects.filter(statement=with_it).delete()
    assert found(statement) == [("missing", "T1", None, 12900)]


def test_other_amount_and_other_currency_are_named_with_both_sides():
    first, second = paid("T1"), paid("T2")
    statement = make_statement(sale(first, "T1", amount=12800), sale(second, "T2", currency="USD"))
    assert found(statement) == [("amount", "T1", 12800, 12900), ("currency", "T2", 12900, 12900)]


def test_trade_on_two_lines_is_doubled():
    payment = paid("T1")
    assert found(make_statement(sale(payment, "T1"), sale(payment, "T1"))) == [
        ("doubled", "T1", 25800, 12900)
    ]


def test_trade_that_stands_in_two_days_is_doubled():
    payment = paid("T1")
    make_statement(sale(payment, "T1"), day=DAY + timedelta(days=1))
    assert found(make_statement(sale(payment, "T1"))) == [("doubled", "T1", 12900, 12900)]


def test_fee_is_compared_where_one_was_agreed(settings):
    settings.CHANNEL_FEES = {("wechat", "CNY"): Fee(rate=Decimal("0.006"), fixed_minor=0)}
    first, second = paid("T1"), paid("T2")
    statement = make_statement(sale(first, "T1", fee=77), sale(second, "T2", fee=79))
    assert found(statement) == [("fee", "T2", 79, 77)]


def test_refund_that_only_they_know_is_unknown():
    payment = paid("T1")
    statement = make_statement(sale(payment, "T1"), refund_line("X1", "TR1", 500, of=payment, trade="T1"))
    assert found(statement) == [("refund_unknown", "TR1", 500, None)]


def test_refund_that_they_have_made_and_we_still_wait_for_differs_in_status():
    payment = paid("T1")
    refund = ask_refund(payment.number, amount=500, reason="r", actor="anna")
    statement = make_statement(
        sale(payment, "T1"), refund_line(refund.number, "", 500, of=payment, trade="T1")
    )
    assert found(statement) == [("refund_status", f"T1/{refund.number}", 500, 500)]


def test_refund_is_known_by_the_channels_number_too():
    payment = paid("T1")
    refunded(payment, 500, channel_number="TR1")
    assert (
        found(make_statement(sale(payment, "T1"), refund_line("", "TR1", 500, of=payment, trade="T1"))) == []
    )


def test_refund_of_another_amount_is_named():
    payment = paid("T1")
    refund = refunded(payment, 500)
    statement = make_statement(
        sale(payment, "T1"), refund_line(refund.number, "", 400, of=payment, trade="T1")
    )
    assert found(statement) == [("refund_amount", f"T1/{refund.number}", 400, 500)]


def test_refund_that_their_books_lack_is_missing_once_the_next_day_is_there_too():
    payment = paid("T1")
    refund = refunded(payment, 500)
    statement = make_statement(sale(payment, "T1"))
    assert found(statement) == []
    make_statement(day=DAY + timedelta(days=1))
    assert found(statement) == [("refund_missing", f"T1/{refund.number}", None, 500)]


def test_difference_stays_one_row_however_often_it_is_found():
    paid("T1")
    statement = make_statement()
    first = compare(statement).get()
    assert compare(statement).get() == first
    assert Difference.objects.count() == 1


def test_difference_ends_when_the_restated_statement_agrees():
    payment = paid("T1")
    compare(make_statement())
    assert found(make_statement(sale(payment, "T1"))) == []
    assert Difference.objects.get().state == Difference.State.GONE


def test_what_a_person_has_decided_is_not_open_again():
    paid("T1")
    statement = make_statement()
    compare(statement)
    Difference.objects.update(state=Difference.State.DECIDED)
    assert found(statement) == []


def test_what_a_person_has_decided_is_open_again_when_it_has_changed():
    payment = paid("T1")
    compare(make_statement(sale(payment, "T1", amount=100)))
    Difference.objects.update(state=Difference.State.DECIDED)
    assert found(make_statement(sale(payment, "T1", amount=200))) == [("amount", "T1", 200, 12900)]


def test_what_was_given_to_a_person_stays_with_them_when_it_is_found_again():
    payment = paid("T1")
    statement = make_statement(sale(payment, "T1"), sale(payment, "T1"))
    compare(statement)
    assert repair_safe("wechat", DAY, actor="night") == {"repaired": 0, "cases": 1}
    compare(statement)
    difference = Difference.objects.get()
    assert difference.state == Difference.State.CASE
    assert difference.note.startswith("The channel's books have it more than once")
    assert repair_safe("wechat", DAY, actor="night") == {"repaired": 0, "cases": 0}


def test_every_kind_has_a_severity():
    assert set(SEVERITIES) == set(Difference.Kind)


def test_sums_of_both_sides_are_explained_to_the_cent():
    known, other, doubled, missing = paid("T1"), paid("T2"), paid("T3"), paid("T4")
    unsettled = make_payment(make_order())
    refund = refunded(known, 500)
    refunded(other, 300)
    statement = make_statement(
        sale(known, "T1", fee=77),
        sale(other, "T2", amount=12800, fee=77),
        sale(doubled, "T3", fee=77),
        sale(doubled, "T3", fee=77),
        sale(unsettled, "T5", fee=77),
        refund_line(refund.number, "", 500, of=known, trade="T1"),
        refund_line("X1", "TR9", 100, of=doubled, trade="T3"),
    )
    compare(statement)
    totals = Statement.objects.get(pk=statement.pk).totals["CNY"]
    assert totals["theirs"] == {"sales": 64400, "refunds": 600, "fees": 385, "net": 64400 - 600 - 385}
    assert totals["ours"] == {"sales": 51600, "refunds": 800}
    assert {(line["side"], line["kind"]): (line["count"], line["amount"]) for line in totals["bridge"]} == {
        ("sales", "not_here"): (1, 12900),
        ("sales", "amount"): (1, -100),
        ("sales", "doubled"): (1, 12900),
        ("sales", "not_there"): (1, -12900),
        ("refunds", "not_here"): (1, 100),
        ("refunds", "not_there"): (1, -300),
    }
    assert totals["rest"] == {"sales": 0, "refunds": 0}
    assert missing


def test_trade_of_the_day_before_in_todays_books_is_explained():
    payment = paid("T1", at=NOON - timedelta(days=1))
    statement = make_statement(sale(payment, "T1"))
    assert found(statement) == []
    totals = Statement.objects.get(pk=statement.pk).totals["CNY"]
    assert totals["bridge"] == [{"kind": "other_day_here", "side": "sales", "count": 1, "amount": 12900}]
    assert totals["rest"]["sales"] == 0


def test_number_of_statements_does_not_grow_with_the_lines(django_assert_max_num_queries):
    lines = [sale(paid(f"T{number}"), f"T{number}") for number in range(20)]
    statement = make_statement(*lines)
    with django_assert_max_num_queries(40):
        assert found(statement) == []


def test_why_it_is_a_persons_stays_while_the_books_stay_as_they_are():
    paid("T1")
    statement = make_statement()
    compare(statement)
    Difference.objects.update(state=Difference.State.CASE, note="ask the channel")
    compare(statement)
    difference = Difference.objects.get()
    assert (difference.state, difference.note) == (Difference.State.CASE, "ask the channel")


@pytest.mark.parametrize("code", ["PROCESSING", "FAIL"])
def test_refund_that_has_not_ended_well_there_is_no_difference(code):
    payment = paid("T1")
    refund = ask_refund(payment.number, amount=500, reason="r", actor="anna")
    line = refund_line(refund.number, "TR1", 500, of=payment, trade="T1")
    line.code = code
    assert found(make_statement(sale(payment, "T1"), line)) == []


def test_refund_that_stands_in_two_days_is_doubled():
    payment = paid("T1")
    refund = refunded(payment, 500, channel_number="TR1")
    line = (refund.number, "TR1", 500)
    make_statement(refund_line(*line, of=payment, trade="T1"), day=DAY + timedelta(days=1))
    statement = make_statement(sale(payment, "T1"), refund_line(*line, of=payment, trade="T1"))
    assert found(statement) == [("doubled", "TR1", 500, 500)]


def test_one_number_for_refunds_of_two_trades_is_two_refunds():
    first, second = paid("T1"), paid("T2")
    statement = make_statement(
        sale(first, "T1"),
        sale(second, "T2"),
        refund_line("1", "", 500, of=first, trade="T1"),
        refund_line("1", "", 500, of=second, trade="T2"),
    )
    assert found(statement) == [("refund_unknown", "T1/1", 500, None), ("refund_unknown", "T2/1", 500, None)]


def test_line_that_was_moved_to_the_next_day_is_looked_at_there():
    stray = sale("POS-7", "T1", amount=500)
    compare(make_statement(stray))
    Difference.objects.update(state=Difference.State.CASE)
    make_statement()
    moved = make_statement(sale("POS-7", "T1", amount=500), day=DAY + timedelta(days=1))
    compare_around(moved)
    states = Difference.objects.values_list("day", "state").order_by("day")
    assert list(states) == [(DAY, "gone"), (DAY + timedelta(days=1), "open")]


def test_trade_in_two_currencies_leaves_nothing_unexplained():
    payment = paid("T1")
    statement = make_statement(sale(payment, "T1"), sale(payment, "T1", currency="USD"))
    compare(statement)
    totals = Statement.objects.get().totals
    assert {currency: each["rest"] for currency, each in totals.items()} == {
        "CNY": {"sales": 0, "refunds": 0},
        "USD": {"sales": 0, "refunds": 0},
    }
