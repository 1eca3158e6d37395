"""What staff do in the back office, over HTTP: each deed says what will happen, does that, and is written down."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from orders.access import is_token_of, token_of
from orders.models import Order
from payments.admin import deeds as deeds_door
from payments.admin.deeds import address_of, links_for, page_of
from payments.applying import apply_for_payment
from payments.channels.base import PaymentReport, report_to_json
from payments.deeds import DEEDS, carry_out, find_deed
from payments.deeds import money as money_deeds
from payments.deeds.base import AmountField
from payments.models import Callback, Case, Payment, Proposal, Receipt, Refund, StaffAction
from payments.reconciling import compare
from payments.refunding import ask_refund
from payments.settling import settle_payment
from shop.languages import speaking
from shop.models import Alarm, Source
from tests.factories import make_order, make_payment, report
from tests.statements import make_statement, sale

pytestmark = pytest.mark.django_db
PRICE = 12900
WHY = {"reason": "She asked for it."}


def make_staff(name: str, *groups: str) -> User:
    user = User.objects.create_user(name, is_staff=True)
    user.groups.set(Group.objects.filter(name__in=groups))
    return user


@pytest.fixture
def sue(client) -> User:
    """Of Support; the client is hers."""
    sue = make_staff("sue", "Support")
    client.force_login(sue)
    return sue


@pytest.fixture
def fay() -> User:
    return make_staff("fay", "Finance")


@pytest.fixture
def as_fay(fay) -> Client:
    client = Client()
    client.force_login(fay)
    return client


@pytest.fixture
def order() -> Order:
    return make_order()


@pytest.fixture
def payment(order) -> Payment:
    """Paid in full: ¥129.00."""
    payment = make_payment(order)
    settle_payment(report(payment), channel="wechat", source=Source.CALLBACK)
    payment.refresh_from_db()
    order.refresh_from_db()
    return payment


@pytest.fixture
def waiting(payment, settings) -> Refund:
    """A refund that sue asked for, above the limit."""
    settings.REFUND_APPROVAL_ABOVE = 0
    return ask_refund(payment.number, amount=900, reason="broken", actor="sue")


@pytest.fixture
def case(order) -> Case:
    """A receipt that cannot be delivered."""
    return Case.objects.create(kind="mail", subject=order.number, order=order, deadline=order.created_at)


def url_of(name: str, row: Model) -> str:
    return address_of(find_deed(name, type(row)), row)


def do(client: Client, name: str, row: Any, *, status: int = 302, **data: Any) -> str:
    """Send the form of the deed; what the next page says."""
    form = {**WHY, **data}
    answer = client.post(url_of(name, row), {key: value for key, value in form.items() if value is not None})
    assert answer.status_code == status, answer.content.decode()
    row.refresh_from_db()
    if status == 302:
        answer = client.get(answer["Location"])
    return answer.content.decode().replace("&#x27;", "'")


def last_action() -> tuple[str, str, str, bool]:
    action = StaffAction.objects.latest("id")
    return action.actor, action.action, action.subject, action.is_done


# ---- how every deed is done --------------------------------------------------------------------------------------


def test_looking_says_what_will_happen_to_the_money_and_changes_nothing(client, sue, order):
    page = client.get(url_of("cancel_order", order)).content.decode()
    assert "¥129.00 is not paid yet" in page
    assert 'name="reason"' in page
    order.refresh_from_db()
    assert (order.status, StaffAction.objects.count()) == ("UNPAID", 0)


def test_deed_leads_back_to_the_story_and_stands_in_both_logs(client, sue, order):
    answer = client.post(url_of("cancel_order", order), WHY)
    assert answer["Location"] == reverse("admin:orders_order_change", args=[order.pk])
    action = StaffAction.objects.get()
    assert (action.order_number, action.action, action.subject) == (
        order.number,
        "cancel_order",
        order.number,
    )
    assert (action.actor, action.reason, action.is_done) == ("sue", WHY["reason"], True)
    logged = LogEntry.objects.get()
    assert (logged.user, logged.object_id) == (sue, str(order.pk))
    assert WHY["reason"] in logged.change_message


@pytest.mark.parametrize("reason", ["", "   ", "x" * 301, "a\x07b"])
def test_nothing_is_done_without_a_reason_that_can_be_read(client, sue, order, reason):
    page = do(client, "cancel_order", order, status=200, reason=reason)
    assert "Please correct" in page
    assert (order.status, StaffAction.objects.count()) == ("UNPAID", 0)


@pytest.mark.parametrize("reason", ["", " ", "x" * 301, "two\nlines"])
def test_no_other_door_does_it_without_a_reason_either(sue, order, reason):
    with pytest.raises(Exception, match="Say why, in 1 to 300"):
        carry_out(find_deed("cancel_order", Order), order, user=sue, reason=reason, data={})
    order.refresh_from_db()
    assert (order.status, StaffAction.objects.get().is_done) == ("UNPAID", False)


def test_who_lacks_the_permission_is_told_which_and_the_attempt_is_kept(client, order):
    client.force_login(make_staff("vera", "Viewer"))
    assert client.get(url_of("cancel_order", order)).status_code == 403
    page = do(client, "cancel_order", order, status=403)
    assert "Can cancel an unpaid order" in page
    assert order.status == "UNPAID"
    assert last_action() == ("vera", "cancel_order", order.number, False)


def test_second_of_two_who_press_the_button_is_told_so(client, as_fay, sue, waiting):
    other = Client()
    other.force_login(make_staff("finn", "Finance"))
    assert "is REFUNDING" in do(as_fay, "approve_refund", waiting)
    assert "not waiting for approval any more: on its way (fay)" in do(
        other, "approve_refund", waiting, status=409
    )
    assert waiting.approved_by == "fay"
    assert last_action() == ("finn", "approve_refund", waiting.number, False)


def test_page_of_a_deed_that_is_past_says_so(client, sue, payment):
    answer = client.get(url_of("cancel_order", payment.order))
    assert answer.status_code == 409
    assert "only an unpaid one can be cancelled" in answer.content.decode()


@pytest.mark.parametrize(
    "path",
    [
        "cancel_order/orders.order/999999/",
        "cancel_order/payments.payment/1/",
        "eat_order/orders.order/1/",
        "cancel_order/orders.nothing/1/",
        "cancel_order/nonsense/1/",
    ],
)
def test_unknown_deeds_and_rows_are_not_there(client, sue, path):
    assert client.get(f"/admin/deeds/{path}").status_code == 404


def test_shoppers_are_sent_to_the_login(client, order):
    answer = client.post(url_of("cancel_order", order), WHY)
    assert answer["Location"].startswith("/admin/login/")
    order.refresh_from_db()
    assert order.status == "UNPAID"


def test_form_of_another_site_is_refused(sue, order):
    client = Client(enforce_csrf_checks=True)
    client.force_login(sue)
    assert client.post(url_of("cancel_order", order), WHY).status_code == 403
    order.refresh_from_db()
    assert order.status == "UNPAID"


def test_deed_whose_flow_breaks_is_kept_as_refused(client, sue, payment, monkeypatch):
    """No input makes a flow break: a bug is planted."""

    def break_off(*_: object, **__: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(money_deeds, "ask_refund", break_off)
    with pytest.raises(RuntimeError):
        client.post(url_of("refund_payment", payment), WHY | {"amount": "1", "seen": 0})
    action = StaffAction.objects.get()
    assert (action.is_done, action.result) == (
        False,
        "It broke off (RuntimeError): see what has become of it.",
    )


def test_every_deed_has_one_name_and_says_what_will_happen():
    assert len({deed.name for deed in DEEDS}) == len(DEEDS)
    assert all(deed.foretells and deed.title for deed in DEEDS)


# ---- orders ------------------------------------------------------------------------------------------------------


def test_unpaid_order_is_cancelled(client, sue, order):
    assert f"{order.number} is cancelled" in do(client, "cancel_order", order)
    assert (order.status, order.close_reason) == ("CLOSED", "CANCELLED")


def test_paid_order_is_shipped_then_completed(client, sue, payment):
    order = payment.order
    do(client, "ship_order", order)
    assert order.status == "SHIPPED"
    assert "is shipped: only one that is ready" in do(client, "ship_order", order, status=409)
    do(client, "complete_order", order)
    assert order.status == "COMPLETED"


def test_order_is_not_shipped_while_its_money_is_going_back(client, sue, payment):
    ask_refund(payment.number, amount=PRICE, reason="broken", actor="tom")
    page = do(client, "ship_order", payment.order, status=409)
    assert "is going back" in page
    assert payment.order.status == "READY_FOR_SHIPMENT"
    assert last_action()[3] is False


def test_receipt_is_mailed_once_more(client, sue, payment):
    Alarm.objects.filter(kind="mail_receipt").delete()
    assert "mailed to the shopper once more" in do(client, "resend_receipt", payment.order)
    assert Alarm.objects.filter(kind="mail_receipt", subject=payment.order.number).exists()


def test_new_link_is_mailed_and_the_old_one_opens_nothing(client, sue, order):
    token = token_of(order)
    assert "A new link is mailed to the shopper" in do(client, "renew_link", order)
    order.refresh_from_db()
    assert not is_token_of(order, token)
    assert Alarm.objects.filter(kind="mail_link", subject=order.number).exists()


def test_buttons_are_what_may_be_done_now(sue, order):
    titles = [title for title, _ in links_for(sue, order)]
    assert titles == ["Make a new link and mail it", "Cancel the order"]
    assert links_for(make_staff("vera", "Viewer"), order) == []


# ---- many orders -------------------------------------------------------------------------------------------------


@pytest.fixture
def in_bulk(client) -> Callable[..., str]:
    def send(*orders: Order, **more: str) -> str:
        form = {"action": "bulk_ship", "_selected_action": [order.pk for order in orders], **more}
        page = client.post(reverse("admin:orders_order_changelist"), form, follow=True).content.decode()
        for order in orders:
            order.refresh_from_db()
        return page

    return send


def test_many_orders_are_shipped_after_a_confirmation_and_each_says_what_became_of_it(in_bulk, sue, payment):
    unpaid = make_order()
    page = in_bulk(payment.order, unpaid)
    assert payment.order.number in page
    assert "only one that is ready" in page
    assert payment.order.status == "READY_FOR_SHIPMENT"
    page = in_bulk(payment.order, unpaid, **WHY)
    assert "Done" in page
    assert "Refused" in page
    assert (payment.order.status, unpaid.status) == ("SHIPPED", "UNPAID")
    assert set(StaffAction.objects.values_list("subject", "is_done", "reason")) == {
        (payment.order.number, True, WHY["reason"]),
        (unpaid.number, False, WHY["reason"]),
    }


def test_many_orders_are_not_shipped_without_a_reason(in_bulk, sue, payment):
    assert "This field is required" in in_bulk(payment.order, reason="")
    assert payment.order.status == "READY_FOR_SHIPMENT"


def test_too_many_orders_at_once_are_refused(in_bulk, sue, payment, monkeypatch):
    monkeypatch.setattr(deeds_door, "MOST_AT_ONCE", 1)
    assert "Choose at most 1 orders at once." in in_bulk(payment.order, make_order(), **WHY)
    assert payment.order.status == "READY_FOR_SHIPMENT"


def test_many_orders_are_shipped_by_who_may_only(client, in_bulk, payment):
    client.force_login(make_staff("vera", "Viewer"))
    in_bulk(payment.order, **WHY)
    assert payment.order.status == "READY_FOR_SHIPMENT"


# ---- payments ----------------------------------------------------------------------------------------------------


@pytest.fixture
def open_payment(sandbox) -> Payment:
    """At the sandbox, whose messages are lost."""
    sandbox.set_faults({"notify": {"drop": 1.0}})
    return apply_for_payment(make_order().number, channel="wechat", scene="qr").payment


@pytest.mark.django_db(transaction=True)
def test_channel_is_asked_and_its_money_settled_without_a_reason(client, sue, sandbox, open_payment):
    sandbox.pay(open_payment.number)
    assert "was asked: the payment is PAID" in do(client, "ask_payment", open_payment, reason=None)
    assert open_payment.status == "PAID"


@pytest.mark.django_db(transaction=True)
def test_channel_is_not_asked_again_at_once(client, sue, open_payment):
    do(client, "ask_payment", open_payment)
    assert "asked a moment ago" in do(client, "ask_payment", open_payment, status=409)
    assert last_action()[3] is False


@pytest.mark.django_db(transaction=True)
def test_payment_is_closed_at_its_channel(client, sue, sandbox, open_payment):
    assert "takes no money for it any more" in do(client, "close_payment", open_payment)
    assert open_payment.status == "CLOSED"
    assert sandbox.trades(open_payment.number)[0]["status"] == "CLOSED"


def test_payment_of_a_channel_that_closes_nothing_is_left_alone(client, sue, order):
    payment = make_payment(order, channel="unionpay")
    assert "closes nothing before its time" in do(client, "close_payment", payment, status=409)


# ---- giving money back -------------------------------------------------------------------------------------------


def refund(client: Client, row: Any, amount: str, *, status: int = 302, seen: int | None = None) -> str:
    name = "refund_payment" if isinstance(row, Payment) else "refund_receipt"
    receipt = row.receipts.get() if isinstance(row, Payment) else row
    return do(
        client,
        name,
        row,
        amount=amount,
        seen=receipt.refunds.count() if seen is None else seen,
        status=status,
    )


@pytest.mark.parametrize("typed", ["14.00", "$14.00", "US$14.00"])
def test_amount_may_be_typed_with_the_sign_that_stands_beside_it(typed):
    with speaking("zh-hans"):
        assert AmountField(currency="USD").clean(typed) == 1400


@pytest.mark.parametrize(("amount", "minor"), [("129", PRICE), ("0.01", 1), (" 12.5 ", 1250), ("¥9.90", 990)])
def test_refund_is_asked_for_in_the_currencys_own_decimals(client, sue, payment, amount, minor):
    assert "is on its way back" in refund(client, payment, amount)
    made = Refund.objects.get()
    assert (made.amount, made.status, made.asked_by, made.reason) == (
        minor,
        "REFUNDING",
        "sue",
        WHY["reason"],
    )


@pytest.mark.parametrize(
    "amount", ["", "0", "0.00", "-1", "1.005", "1,50", "1e2", "1_0", "١٢", "NaN", "12 9", "9" * 19]
)
def test_amount_that_is_none_is_not_refunded(client, sue, payment, amount):
    assert "Please correct" in refund(client, payment, amount, status=200)
    assert not Refund.objects.exists()


def test_refund_above_the_rest_is_told_what_the_rest_is_and_may_be_asked_for_anew(client, sue, payment):
    refund(client, payment, "100")
    page = refund(client, payment, "29.01", status=409)
    assert "¥29.01 is more than what may still be given back, which is ¥29.00." in page
    assert 'value="29.01"' in page
    refund(client, payment, "29")
    assert sum(Refund.objects.values_list("amount", flat=True)) == PRICE


def test_second_of_two_who_refund_what_they_saw_alike_is_told_of_the_first(client, as_fay, sue, payment):
    refund(client, payment, "10", seen=0)
    page = refund(as_fay, payment, "10", seen=0, status=409)
    assert "sue has asked for a refund of ¥10.00 since this page was opened" in page
    assert Refund.objects.count() == 1
    refund(as_fay, payment, "10", seen=1)
    assert Refund.objects.count() == 2


def test_receipt_is_refunded_by_itself(client, sue, payment):
    settle_payment(report(payment, channel_number="second"), channel="wechat", source=Source.CALLBACK)
    first = Receipt.objects.get(receipt_class="settled")
    refund(client, first, "1")
    assert Refund.objects.get(kind="ASKED").receipt == first
    second = Receipt.objects.get(receipt_class="surplus")
    assert "all of it went back, or is on its way" in refund(client, second, "1", status=409)


def test_large_refund_waits_and_another_approves_it(client, as_fay, sue, payment, settings):
    settings.REFUND_APPROVAL_ABOVE = 0
    assert "waits for a second person" in refund(client, payment, "9")
    made = Refund.objects.get()
    assert "is REFUNDING" in do(as_fay, "approve_refund", made)
    assert made.approved_by == "fay"


def test_who_asked_for_a_refund_cannot_approve_it_nor_is_offered_to(as_fay, fay, waiting):
    Refund.objects.update(asked_by="fay")
    waiting.refresh_from_db()
    assert "Approve" not in dict(links_for(fay, waiting))
    assert "somebody else" in do(as_fay, "approve_refund", waiting, status=409)
    assert waiting.status == "PENDING_APPROVAL"


def test_refund_is_rejected_with_the_reason(as_fay, waiting):
    assert "is REJECTED" in do(as_fay, "reject_refund", waiting)
    assert waiting.status == "REJECTED"
    assert WHY["reason"] in Case.objects.get(kind="approval").resolution


def test_what_the_channel_cannot_return_is_paid_back_by_hand_and_confirmed(client, as_fay, sue, order):
    payment = make_payment(order, channel="boleto")
    settle_payment(report(payment), channel="boleto", source=Source.CALLBACK)
    receipt = Receipt.objects.get()
    assert "cannot give money back" in do(client, "refund_receipt", receipt, amount="1", seen=0, status=409)
    assert "waits for a second person" in do(client, "payback_receipt", receipt)
    by_hand = Refund.objects.get()
    assert by_hand.kind == "BY_HAND"
    page = as_fay.get(url_of("approve_refund", by_hand)).content.decode()
    assert "Nothing is sent from here" in page
    do(as_fay, "approve_refund", by_hand)
    assert by_hand.status == "REFUNDED"


@pytest.mark.parametrize(("currency", "amount"), [("EUR", "9.00"), ("JPY", "900")])
def test_trade_in_a_currency_that_we_do_not_sell_in_is_shown_and_given_back(
    client, as_fay, sue, order, currency, amount
):
    payment = make_payment(order, channel="paypal", scene="page")
    told = report(payment, currency=currency, amount_minor=900)
    settle_payment(told, channel="paypal", source=Source.QUERY)
    receipt = Receipt.objects.get()
    for page in (page_of(receipt), page_of(Case.objects.get()), page_of(order), page_of(payment)):
        assert f"{currency} {amount}" in as_fay.get(page).content.decode()
    refund(client, receipt, amount)
    assert Refund.objects.get().amount == 900
    assert f"{currency} {amount}" in as_fay.get(page_of(Refund.objects.get())).content.decode()


def test_what_the_channel_gives_back_is_not_paid_back_by_hand(client, sue, payment):
    receipt = payment.receipts.get()
    assert "gives money back itself" in do(client, "payback_receipt", receipt, status=409)


# ---- settling by evidence ----------------------------------------------------------------------------------------


@pytest.fixture
def unpaid(order) -> Payment:
    """Its shopper says that she has paid."""
    return make_payment(order)


WORD = {
    "evidence": "word",
    "said_by": "The bank's hotline",
    "channel_number": "4200001",
    "amount": "129.00",
    "paid_at": f"{datetime.now(ZoneInfo(settings.DISPLAY_TIME_ZONE)):%Y-%m-%d %H:%M}",
}


def test_word_of_somebody_is_proposed_and_another_settles_it(client, as_fay, sue, unpaid):
    assert "waits for a second person" in do(client, "propose_settlement", unpaid, **WORD)
    proposal = Proposal.objects.get()
    assert (proposal.asked_by, proposal.amount, unpaid.status) == ("sue", PRICE, "PAYING")
    assert f"{proposal.number} is approved" in do(as_fay, "approve_settlement", proposal)
    unpaid.refresh_from_db()
    assert (unpaid.status, unpaid.order.status) == ("PAID", "READY_FOR_SHIPMENT")


@pytest.mark.parametrize("missing", ["said_by", "channel_number", "amount", "paid_at"])
def test_word_has_to_name_everything(client, sue, unpaid, missing):
    page = do(client, "propose_settlement", unpaid, status=409, **WORD | {missing: ""})
    assert "has to name everything; missing" in page
    assert not Proposal.objects.exists()


def test_message_that_was_kept_is_evidence(client, sue, unpaid):
    kept = keep_message(unpaid, report(unpaid))
    page = client.get(url_of("propose_settlement", unpaid)).content.decode()
    assert f"Message TRANSACTION.SUCCESS of {kept.received_at:%Y-%m-%d}" in page
    do(client, "propose_settlement", unpaid, evidence=f"callback:{kept.pk}")
    assert Proposal.objects.get().channel_number == report(unpaid).channel_number


def test_line_of_the_channels_books_is_evidence(client, sue, unpaid):
    line = sale(unpaid, "4200009", at=unpaid.created_at)
    compare(make_statement(line, day=unpaid.created_at.date()))
    page = client.get(url_of("propose_settlement", unpaid)).content.decode()
    assert f"Line 1 of the statement of {unpaid.created_at.date()}: 4200009, ¥129.00" in page
    do(client, "propose_settlement", unpaid, evidence=f"entry:{line.pk}")
    assert Proposal.objects.get().channel_number == "4200009"


def test_evidence_that_was_not_offered_is_none(client, sue, unpaid):
    other = keep_message(make_payment(make_order()), report(unpaid))
    assert "Please correct" in do(
        client, "propose_settlement", unpaid, status=200, evidence=f"callback:{other.pk}"
    )
    assert not Proposal.objects.exists()


def keep_message(payment: Payment, told: PaymentReport) -> Callback:
    return Callback.objects.create(
        channel="wechat", message_id=f"m{payment.pk}", kind="TRANSACTION.SUCCESS", number=payment.number,
        payment=payment, body=b"{}", report=report_to_json(told),
    )  # fmt: skip


def test_second_proposal_about_a_payment_waits_for_the_first(client, sue, unpaid):
    do(client, "propose_settlement", unpaid, **WORD)
    assert "has proposed it already" in do(client, "propose_settlement", unpaid, status=409, **WORD)
    assert Proposal.objects.count() == 1


def test_own_proposal_is_withdrawn_and_not_approved(client, as_fay, fay, unpaid):
    do(as_fay, "propose_settlement", unpaid, **WORD)
    proposal = Proposal.objects.get()
    assert [title for title, _ in links_for(fay, proposal)] == ["Withdraw"]
    assert "somebody else" in do(as_fay, "approve_settlement", proposal, status=409)
    assert "nothing was settled" in do(as_fay, "withdraw_settlement", proposal)
    assert (proposal.status, proposal.decided_by) == ("REJECTED", "fay")


def test_proposal_of_another_is_not_withdrawn_but_rejected(client, as_fay, sue, fay, unpaid):
    do(client, "propose_settlement", unpaid, **WORD)
    proposal = Proposal.objects.get()
    assert "Only who asked" in do(as_fay, "withdraw_settlement", proposal, status=409)
    do(as_fay, "reject_settlement", proposal)
    assert proposal.status == "REJECTED"


# ---- callbacks and cases -----------------------------------------------------------------------------------------


def test_kept_message_is_taken_once_more(client, sue, unpaid):
    kept = keep_message(unpaid, report(unpaid))
    assert "what it says is settled" in do(client, "replay_callback", kept)
    unpaid.refresh_from_db()
    assert unpaid.status == "PAID"
    assert StaffAction.objects.get().order_number == unpaid.order.number


def test_case_is_taken_without_a_reason_and_everybody_sees_whose_it_is(client, sue, case):
    assert f"{case} is yours." in do(client, "take_case", case, reason=None)
    assert case.owner == sue
    page = client.get(reverse("admin:payments_case_changelist")).content.decode()
    assert '<td class="field-owner nowrap">sue</td>' in page


def test_case_of_somebody_else_is_not_taken_and_their_name_is_shown(client, sue, fay, case):
    Case.objects.update(owner=fay)
    assert "fay looks after this case." in do(client, "take_case", case, status=409)
    assert case.owner == fay


def test_case_is_given_to_a_colleague_who_may_decide_it(client, sue, fay, case):
    vera = make_staff("vera", "Viewer")
    assert "Please correct" in do(client, "assign_case", case, status=200, owner=vera.pk)
    assert "fay looks after" in do(client, "assign_case", case, owner=fay.pk)
    assert case.owner == fay


def test_case_is_resolved_with_the_words_of_who_did(client, sue, case):
    assert "is resolved." in do(client, "resolve_case", case, reason="Called her.")
    assert (case.owner, case.resolution) == (sue, "Called her.")
    assert "This case is closed: Called her." in do(client, "resolve_case", case, status=409)


def test_case_that_money_hangs_on_says_what_to_do_instead(client, sue, waiting):
    approval = Case.objects.get(kind="approval")
    assert "Approve or reject the refund" in do(client, "resolve_case", approval, status=409)
    assert approval.resolved_at is None
