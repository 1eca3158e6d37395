"""Paying through the pages, against the sandbox: one click to the code, and calm answers on every bad day."""

import re
from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client

from orders.models import Order
from payments import querying
from payments.channels.base import Outcome
from payments.models import Case, Payment
from payments.settling import settle_payment
from payments.showing import Situation
from shop.models import Event, Source
from tests.checkout.actions import QR, VOUCHER
from tests.checkout.conftest import own
from tests.checkout.situations import make_situation
from tests.factories import make_order, make_payment, report

pytestmark = pytest.mark.django_db(transaction=True)

WECHAT = {"channel": "wechat", "scene": "qr"}


def fault(sandbox, operation: str, what: str, when: str = "before", **more: object) -> None:
    entry = {"channel": "wechat", "operation": operation, "when": when, "what": what, "times": 20, **more}
    sandbox.set_faults({"notify": {"drop": 1.0}, "script": [entry]})


def text(answer) -> str:
    return answer.content.decode()


def test_one_click_leads_to_the_code(shopper, sandbox):
    path = own(shopper, make_order())
    page = text(shopper.get(f"{path}pay/"))
    assert 'class="method"' in page
    answer = shopper.post(f"{path}pay/", WECHAT, follow=True)
    assert answer.redirect_chain == [(f"{path}pay/", 302)]
    assert "<svg" in text(answer)
    assert "Open WeChat and scan" in text(answer)
    assert "Waiting for you to scan" in text(answer)


def test_looking_changes_nothing(shopper, sandbox):
    order = make_order()
    path = own(shopper, order)
    before = Event.objects.count()
    for page in ("", "pay/", "pay/?choose", "pay/?channel=wechat&scene=qr", "check/", "cancel/"):
        shopper.get(path + page)
    order.refresh_from_db()
    assert (order.status, order.version) == ("UNPAID", 1)
    assert not Payment.objects.exists()
    assert Event.objects.count() == before


def test_double_click_shows_the_same_code(shopper, sandbox):
    path = own(shopper, make_order())
    pages = [text(shopper.post(f"{path}pay/", WECHAT, follow=True)) for _ in range(2)]
    codes = [re.search(r'<svg[^>]*class="qr".*?</svg>', page, re.DOTALL)[0] for page in pages]
    assert codes[0] == codes[1]
    assert Payment.objects.count() == 1


def test_sandbox_wallet_is_linked_in_the_demo_only(shopper, sandbox, settings):
    path = own(shopper, make_order())
    page = text(shopper.post(f"{path}pay/", WECHAT, follow=True))
    link = re.search(r'href="([^"]+/_sandbox/wallet\?content=[^"]+)"', page)
    assert link
    assert "weixin%3A%2F%2Fwxpay%2Fbizpayurl%3Fpr%3D" in link[1]
    settings.SANDBOX_URL = ""
    assert "_sandbox" not in text(shopper.get(f"{path}pay/"))


@pytest.mark.parametrize(
    "method",
    [{}, {"channel": "wechat"}, {"channel": "cash", "scene": "qr"}, {"channel": "wechat", "scene": "wap"}],
)
def test_way_to_pay_that_is_not_offered_is_refused(shopper, sandbox, method):
    path = own(shopper, make_order())
    answer = shopper.post(f"{path}pay/", method)
    assert answer.status_code == 400
    assert "not offered for this order" in text(answer)
    assert not Payment.objects.exists()


@pytest.mark.parametrize("currency", ["USD", "BRL"])
def test_currency_without_a_channel_says_so(shopper, sandbox, currency):
    path = own(shopper, make_order(currency=currency))
    page = text(shopper.get(f"{path}pay/"))
    assert f"no way yet to pay {Order.objects.get().amount_text}" in page
    assert 'class="method"' not in page
    assert shopper.post(f"{path}pay/", WECHAT).status_code == 400


def test_paid_order_leads_to_its_own_page(shopper, sandbox):
    path = own(shopper, make_situation(Situation.PAID))
    answer = shopper.post(f"{path}pay/", WECHAT)
    assert (answer.status_code, answer.url) == (302, path)


def test_closed_order_leads_to_its_own_page(shopper, sandbox):
    path = own(shopper, make_situation(Situation.CANCELLED))
    assert shopper.post(f"{path}pay/", WECHAT).url == path


def test_channel_without_an_answer_is_waited_for_and_may_be_tried_again(shopper, sandbox):
    path = own(shopper, make_order())
    fault(sandbox, "create", "reset")
    answer = shopper.post(f"{path}pay/", WECHAT)
    page = text(answer)
    assert answer.status_code == 409
    assert answer["Retry-After"] == "1"
    assert f'<meta http-equiv="refresh" content="1; url={path}pay/?channel=wechat&amp;scene=qr">' in page
    assert "WeChat has not answered yet" in page
    sandbox.clear_faults()
    Payment.objects.update(lease_until=Now() - timedelta(seconds=1))
    again = shopper.post(f"{path}pay/", WECHAT, follow=True)
    assert "Waiting for you to scan" in text(again)
    assert Payment.objects.count() == 1


def test_channel_that_refuses_is_said_so(shopper, sandbox):
    path = own(shopper, make_order())
    fault(sandbox, "create", "status", value={"status": 403, "code": "NO_AUTH"})
    answer = shopper.post(f"{path}pay/", WECHAT)
    page = text(answer)
    assert answer.status_code == 503
    assert "WeChat Pay cannot take a payment at the moment. Nothing was charged." in page
    assert "WeChat Pay did not take this payment." in page
    assert 'class="method"' in page


def test_channel_out_of_reach_is_said_so_and_may_be_tried_again(shopper, sandbox, settings):
    path = own(shopper, make_order())
    settings.CHANNELS = {"wechat": settings.CHANNELS["wechat"] | {"BASE_URL": "http://127.0.0.1:9"}}
    answer = shopper.post(f"{path}pay/", WECHAT)
    assert answer.status_code == 503
    assert "WeChat Pay cannot take a payment at the moment." in text(answer)
    assert "Try again" in text(answer)


def test_check_finds_a_payment_that_nobody_told_us_about(shopper, sandbox):
    order = make_order()
    path = own(shopper, order)
    sandbox.set_faults({"notify": {"drop": 1.0}})
    shopper.post(f"{path}pay/", WECHAT)
    sandbox.pay(Payment.objects.get().number)
    answer = shopper.post(f"{path}check/", follow=True)
    assert answer.redirect_chain == [(f"{path}pay/", 302)]
    assert "Paid. Thank you." in text(answer)
    order.refresh_from_db()
    assert order.status == "READY_FOR_SHIPMENT"


def test_check_before_paying_says_that_nothing_is_reported_yet(shopper, sandbox):
    path = own(shopper, make_order())
    shopper.post(f"{path}pay/", WECHAT)
    answer = shopper.post(f"{path}check/", follow=True)
    assert "No payment is reported yet by WeChat. If you have just paid, that can take a moment.<" in text(
        answer
    )
    assert "Waiting for you to scan" in text(answer)


def test_check_that_gets_no_answer_says_so_and_not_that_nothing_is_reported(shopper, sandbox):
    path = own(shopper, make_order())
    shopper.post(f"{path}pay/", WECHAT)
    fault(sandbox, "query", "reset")
    page = text(shopper.post(f"{path}check/", follow=True))
    assert "WeChat cannot tell us yet whether you paid. We keep asking by ourselves." in page
    assert "No payment is reported" not in page


def test_check_of_what_nobody_asks_about_any_more_promises_no_asking(shopper, sandbox):
    order = make_order()
    payment = make_payment(order)
    settle_payment(report(payment, Outcome.CLOSED), channel="wechat", source=Source.QUERY)
    Payment.objects.update(dead_at=Now())
    fault(sandbox, "query", "reset")
    page = text(shopper.post(f"{own(shopper, order)}check/", follow=True))
    assert "WeChat cannot tell us yet whether you paid. Please have it checked again later." in page
    assert "We keep asking" not in page


def test_check_says_nothing_for_whoever_was_not_asked_this_time(shopper, every_channel):
    order = make_order()
    path = own(shopper, order)
    make_payment(order, channel="alipay")
    Payment.objects.update(superseded_at=Now(), queried_at=Now())
    shopper.post(f"{path}pay/", WECHAT)
    page = text(shopper.post(f"{path}check/", follow=True))
    assert "No payment is reported yet by WeChat." in page


def test_check_that_is_told_of_money_that_had_come_before_does_not_deny_it(shopper, sandbox, monkeypatch):
    order = make_order()
    payment = make_payment(order)
    told = report(payment, amount_minor=1)
    settle_payment(told, channel="wechat", source=Source.QUERY)
    Case.objects.update(resolved_at=Now())
    monkeypatch.setattr(querying, "_ask", lambda payment, **_: told)
    page = text(shopper.post(f"{own(shopper, order)}check/", follow=True))
    assert "No payment is reported" not in page


def test_check_that_is_refused_leaves_the_word_to_the_page(shopper, sandbox, monkeypatch):
    order = make_order()
    make_payment(order)
    monkeypatch.setattr(querying, "_ask", lambda payment, **_: report(payment, Outcome.REFUSED))
    page = text(shopper.post(f"{own(shopper, order)}check/", follow=True))
    assert "WeChat refused this payment. Nothing was charged." in page
    assert "No payment is reported" not in page


def test_check_that_one_of_two_answers_tells_of_both(shopper, every_channel):
    order = make_order()
    make_payment(order, channel="alipay")
    Payment.objects.update(superseded_at=Now())
    path = own(shopper, order)
    shopper.post(f"{path}pay/", WECHAT)
    fault(every_channel, "query", "reset")
    page = text(shopper.post(f"{path}check/", follow=True))
    assert "No payment is reported yet by Alipay." in page
    assert "WeChat cannot tell us yet whether you paid." in page


def test_check_that_finds_another_amount_leaves_the_word_to_the_page(shopper, sandbox, monkeypatch):
    path = own(shopper, make_order())
    shopper.post(f"{path}pay/", WECHAT)
    monkeypatch.setattr(querying, "_ask", lambda payment, **_: report(payment, amount_minor=1))
    page = text(shopper.post(f"{path}check/", follow=True))
    assert "We received another amount than this order" in page
    assert "No payment is reported" not in page


def test_check_names_everybody_who_is_asked(shopper, every_channel):
    order = make_order()
    make_payment(order, channel="alipay")
    Payment.objects.update(superseded_at=Now())
    path = own(shopper, order)
    shopper.post(f"{path}pay/", WECHAT)
    assert "No payment is reported yet by Alipay and WeChat." in text(
        shopper.post(f"{path}check/", follow=True)
    )
    assert "We asked Alipay and WeChat a moment ago" in text(shopper.post(f"{path}check/", follow=True))


def test_check_that_finds_an_earlier_payment_paid_does_not_miss_another_one(shopper, every_channel):
    order = make_order()
    path = own(shopper, order)
    shopper.post(f"{path}pay/", WECHAT)
    every_channel.set_faults({"notify": {"drop": 1.0}})
    earlier = Payment.objects.get()
    Payment.objects.update(superseded_at=Now())
    make_payment(order, channel="alipay")
    every_channel.pay(earlier.number)
    page = text(shopper.post(f"{path}check/", follow=True))
    assert "Paid. Thank you." in page
    assert '<p class="note"' not in page


def test_check_of_a_boleto_promises_days_and_not_a_moment(shopper, every_channel):
    order = make_order(currency="BRL")
    make_payment(order, channel="boleto", scene="voucher", action=VOUCHER)
    page = text(shopper.post(f"{own(shopper, order)}check/", follow=True))
    assert "No payment is reported yet by the bank." in page
    assert "of a boleto up to three business days" in page


def test_check_again_at_once_does_not_ask_the_channel(shopper, sandbox):
    path = own(shopper, make_order())
    shopper.post(f"{path}pay/", WECHAT)
    shopper.post(f"{path}check/")
    fault(sandbox, "query", "reset")
    answer = shopper.post(f"{path}check/", follow=True)
    assert "We asked WeChat a moment ago" in text(answer)


def test_check_finds_money_of_an_order_that_was_cancelled(shopper, sandbox):
    path = own(shopper, make_order())
    shopper.post(f"{path}pay/", WECHAT)
    shopper.post(f"{path}cancel/")
    sandbox.pay(Payment.objects.get().number, force=True)
    answer = shopper.post(f"{path}check/", follow=True)
    assert answer.redirect_chain == [(path, 302)]
    assert "on its way back to your wallet" in text(answer)


def test_check_without_a_payment_shows_the_choice(shopper, sandbox):
    path = own(shopper, make_order())
    assert 'class="method"' in text(shopper.post(f"{path}check/", follow=True))


def test_cancel_closes_the_order_and_its_code(shopper, sandbox):
    order = make_order()
    path = own(shopper, order)
    shopper.post(f"{path}pay/", WECHAT)
    answer = shopper.post(f"{path}cancel/", follow=True)
    assert answer.redirect_chain == [(path, 302)]
    assert "This order is cancelled." in text(answer)
    assert sandbox.trades(Payment.objects.get().number)[0]["status"] == "CLOSED"


def test_cancel_twice_is_harmless(shopper, sandbox):
    path = own(shopper, make_order())
    for _ in range(2):
        assert "This order is cancelled." in text(shopper.post(f"{path}cancel/", follow=True))
    assert Event.objects.filter(to_status="CLOSED").count() == 1


def test_cancel_of_a_paid_order_keeps_it(shopper, sandbox):
    path = own(shopper, make_situation(Situation.PAID))
    page = text(shopper.post(f"{path}cancel/", follow=True))
    assert "This order is paid, so it was not cancelled." in page
    assert Order.objects.get().status == "READY_FOR_SHIPMENT"


def test_choice_to_go_on_works_also_with_the_same_method(shopper, sandbox, settings):
    path = own(shopper, make_order())
    shopper.post(f"{path}pay/", WECHAT)
    first = Payment.objects.get()
    silent = {"channel": "wechat", "when": "before", "what": "status", "value": 500, "times": 20}
    sandbox.set_faults({"script": [silent | {"operation": each} for each in ("close", "query")]})
    shopper.post(f"{path}cancel/")
    limit = timedelta(seconds=settings.CONFIRMING_LIMIT_S + 1)
    Payment.objects.update(close_unanswered_since=F("close_unanswered_since") - limit)
    assert 'name="supersede" value="1"' in text(shopper.get(f"{path}pay/"))
    page = text(shopper.post(f"{path}pay/", WECHAT | {"supersede": "1"}, follow=True))
    assert "Waiting for you to scan" in page
    first.refresh_from_db()
    assert (first.status, first.superseded_at is None) == ("PAYING", False)


def test_cancel_without_an_answer_of_the_channel_keeps_the_order_and_says_why(shopper, sandbox):
    path = own(shopper, make_order())
    shopper.post(f"{path}pay/", WECHAT)
    silent = {"channel": "wechat", "when": "before", "what": "status", "value": 500, "times": 20}
    sandbox.set_faults({"script": [silent | {"operation": each} for each in ("close", "query")]})
    page = text(shopper.post(f"{path}cancel/", follow=True))
    assert "Not cancelled yet: your payment may be on its way." in page
    assert "Your payment is being confirmed." in page
    assert Order.objects.get().status == "UNPAID"


def test_who_looks_for_another_way_is_told_that_the_present_one_stays_open(shopper, sandbox):
    order = make_order()
    path = f"{own(shopper, order)}pay/"
    make_payment(order, action={"type": "qr", "content": "weixin://wxpay/bizpayurl?pr=x"})
    page = shopper.get(f"{path}?choose").content.decode()
    assert "Choose how to pay. Your payment with WeChat Pay stays open until you do." in page
    assert "Waiting for you to scan" not in page
    assert f'href="{path}">Back to the payment with WeChat Pay' in page


def test_who_looks_for_another_way_is_told_that_nobody_can_close_the_present_one(shopper, every_channel):
    order = make_order()
    make_payment(order, channel="unionpay", action=QR)
    page = text(shopper.get(f"{own(shopper, order)}pay/?choose"))
    assert "Your payment with UnionPay stays open, and nobody can close it: pay one of the two only." in page


@pytest.mark.parametrize("page", ["", "pay/"])
def test_page_without_javascript_stops_looking_for_news_when_asked_to(shopper, page):
    order = make_order()
    path = f"{own(shopper, order)}{page}"
    make_payment(order, action={"type": "qr", "content": "weixin://wxpay/bizpayurl?pr=x"})
    usual, still = (shopper.get(path + query).content.decode() for query in ("", "?still"))
    assert 'http-equiv="refresh"' in usual
    assert f'<a href="{path}?still">Stop that</a>' in usual
    assert 'http-equiv="refresh"' not in still
    assert f'href="{path}">Look again' in still


@pytest.mark.parametrize("deed", ["pay/", "cancel/", "link/new/"])
def test_form_of_a_lost_session_says_nothing_about_money_and_leads_to_the_order(deed):
    order = make_order()
    answer = Client(enforce_csrf_checks=True).post(f"/orders/{order.number}/{deed}", {"channel": "wechat"})
    page = answer.content.decode()
    assert answer.status_code == 403
    assert "A payment that you have made is safe" in page
    assert f'href="/orders/{order.number}/"' in page


def test_who_asks_about_a_payment_with_a_lost_session_is_shown_the_way_back():
    answer = Client(enforce_csrf_checks=True).post(f"/orders/{make_order().number}/check/")
    assert answer.status_code == 404
    assert "Send me the link" in answer.content.decode()


def test_order_page_says_in_which_zone_its_times_are(shopper):
    assert "Times are in China Standard Time." in shopper.get(own(shopper, make_order())).content.decode()


@pytest.mark.parametrize("deed", ["check", "cancel"])
def test_page_whose_refreshing_was_stopped_stays_so_after_a_press(shopper, sandbox, deed):
    order = make_order()
    make_payment(order)
    path = own(shopper, order)
    page = shopper.get(f"{path}pay/?still").content.decode()
    assert f'action="{path}{deed}/?still"' in page
    answer = shopper.post(f"{path}{deed}/?still")
    assert answer.url.endswith("?still")
    assert "http-equiv" not in shopper.get(answer.url).content.decode()


def test_stopping_a_page_s_refreshing_keeps_what_it_shows(shopper, sandbox):
    order = make_order()
    path = f"{own(shopper, order)}pay/"
    make_payment(order, action={"type": "qr", "content": "weixin://wxpay/bizpayurl?pr=x"})
    usual = shopper.get(f"{path}?choose").content.decode()
    assert f'<a href="{path}?choose&amp;still">Stop that</a>' in usual
    still = shopper.get(f"{path}?choose&still").content.decode()
    assert f'href="{path}?choose">Look again' in still
    assert "Choose how to pay." in still
