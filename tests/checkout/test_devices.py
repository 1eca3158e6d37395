"""The pay page by device and by what the channel gives to pay by; nothing here calls a channel."""

import html
import re

import pytest
from django.test import Client

from orders.access import token_of
from orders.models import Order
from payments.models import Payment
from payments.showing import Situation
from shop.checkout.choosing import CHOOSING
from shop.middleware import POLICY, policy_with_form
from tests.checkout.actions import ACTIONS, FORM, QR, REDIRECT, VOUCHER
from tests.checkout.conftest import ADDRESS, ALIPAY, WECHAT, Offered, own
from tests.checkout.situations import make_situation
from tests.factories import make_order, make_payment
from tests.payments.channels.test_offers import ANDROID, IPHONE, WINDOWS

pytestmark = pytest.mark.django_db(transaction=True)

LINE = re.compile(r'data-part="status" data-state="([^"]*)"')
IN_WECHAT = f"{ANDROID} MicroMessenger/8.0.49"
IN_ALIPAY = f"{IPHONE} AlipayClient/10.5.88"
CHANNELS = {"wechat": "qr", "alipay": "qr", "unionpay": "form", "paypal": "redirect", "boleto": "voucher"}


def show(order: Order, agent: str = WINDOWS, query: str = "") -> str:
    return str(Client(HTTP_USER_AGENT=agent).get(f"{link_of(order)}{query}", follow=True).content.decode())


def link_of(order: Order) -> str:
    return f"/orders/{order.number}/pay/?token={token_of(order)}"


def pay_by(action: dict, *, channel: str = "", scene: str = "wap") -> Order:
    order = make_order()
    make_payment(order, channel=channel or "paypal", scene=scene, action=action)
    return order


def forms(page: str) -> list[tuple[str, str]]:
    return re.findall(
        r'name="channel" value="(\w+)">\s*<input type="hidden" name="scene" value="(\w+)"', page
    )


# ---- what is offered ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "ways"),
    [
        (WINDOWS, ["wechat qr", "alipay qr", "unionpay qr", "paypal page"]),
        (
            IPHONE,
            [
                "wechat wap",
                "alipay wap",
                "unionpay wap",
                "paypal wap",
                "wechat qr",
                "alipay qr",
                "unionpay qr",
            ],
        ),
        (IN_WECHAT, ["unionpay wap", "paypal wap", "wechat qr", "alipay qr", "unionpay qr"]),
        (IN_ALIPAY, ["alipay wap", "unionpay wap", "paypal wap", "wechat qr", "alipay qr", "unionpay qr"]),
    ],
    ids=["pc", "phone", "wechat", "alipay"],
)
def test_device_decides_what_is_offered(five, agent, ways):
    page = show(make_order(), agent)
    assert [" ".join(way) for way in forms(page)] == ways
    assert "?choose&amp;channel=boleto&amp;scene=voucher" in page
    assert ("Pay with another phone" in page) is (agent != WINDOWS)


@pytest.mark.parametrize(
    ("agent", "titles"),
    [(WINDOWS, ""), (IPHONE, ""), (IN_WECHAT, "WeChat Pay and Alipay"), (IN_ALIPAY, "WeChat Pay")],
)
def test_browser_of_a_wallet_is_told_what_another_browser_could_open(five, agent, titles, settings):
    order = make_order()
    page = show(order, agent)
    assert ("cannot be opened inside of this app" in page) is bool(titles)
    if titles:
        assert f"<p>{titles} cannot be opened inside of this app. To pay that way, open" in page
        assert f'value="{settings.PUBLIC_URL}{link_of(order)}"' in page


def test_browser_of_a_wallet_in_which_nothing_works_is_still_told_a_way(offer):
    offer(Offered("wechat", "wap"))
    page = show(make_order(), IN_WECHAT)
    assert forms(page) == []
    assert "Your items are set aside. To pay, open this page in your browser." in page
    assert "no way yet to pay" not in page
    assert 'data-copy="link"' in page


def test_phone_on_which_only_a_code_can_be_shown_says_that_another_one_pays(offer):
    offer(Offered("wechat", "qr"))
    page = show(make_order(), IPHONE)
    assert forms(page) == [("wechat", "qr")]
    assert "Your items are set aside. Pay with another phone." in page


def test_link_for_another_browser_opens_the_page_there(five):
    order = make_order()
    page = show(order, IN_WECHAT)
    link = re.search(r'<input id="link" readonly value="http://[^/]+([^"]+)"', page)
    assert link
    assert Client().get(link[1], follow=True).status_code == 200


@pytest.mark.parametrize(
    ("agent", "channel", "scene"),
    [
        (WINDOWS, "wechat", "wap"),
        (WINDOWS, "wechat", "app"),
        (WINDOWS, "paypal", "wap"),
        (IPHONE, "paypal", "page"),
        (IPHONE, "wechat", "app"),
        (IN_WECHAT, "wechat", "wap"),
        (IN_WECHAT, "alipay", "wap"),
        (IN_ALIPAY, "wechat", "wap"),
    ],
)
def test_scene_that_does_not_work_on_the_device_is_refused(five, agent, channel, scene):
    order = make_order()
    browser = Client(HTTP_USER_AGENT=agent)
    answer = browser.post(f"{own(browser, order)}pay/", {"channel": channel, "scene": scene})
    assert answer.status_code == 400
    assert "not offered for this order" in answer.content.decode()
    assert not Payment.objects.exists()


def test_phone_and_other_phone_are_asked_for_by_one_press(shopper, sandbox):
    """With the real channel: H5 on the phone, a code for another one."""
    phone = Client(HTTP_USER_AGENT=IPHONE)
    path = f"{own(phone, make_order())}pay/"
    page = phone.post(path, {"channel": "wechat", "scene": "qr"}, follow=True).content.decode()
    assert 'class="qr"' in page
    assert Payment.objects.get().scene == "qr"


def test_payment_that_was_begun_on_another_device_may_be_tried_again(sandbox):
    order = make_order()
    payment = make_payment(order, scene="wap")
    Payment.objects.filter(pk=payment.pk).update(action=None, lease_until=payment.created_at)
    browser = Client(HTTP_USER_AGENT=WINDOWS, REMOTE_ADDR=ADDRESS)
    answer = browser.post(f"{own(browser, order)}pay/", {"channel": "wechat", "scene": "wap"})
    assert answer.status_code != 400


# ---- what the channel gave ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", [WINDOWS, IPHONE], ids=["pc", "phone"])
@pytest.mark.parametrize("kind", ACTIONS)
def test_page_of_every_action_has_a_way_on_and_no_foreign_code(five, kind, agent):
    page = show(pay_by(ACTIONS[kind]), agent)
    assert 'data-situation="waiting"' in page
    assert re.search(r"<button|class=\"button", page.partition("till-right")[2])
    assert ("data-launch" in page) is (kind in ("redirect", "form"))
    assert ("data-fallback" in page) is (kind in ("redirect", "form"))
    assert ('class="qr"' in page) is (kind == "qr")
    assert ('class="bars"' in page) is (kind == "voucher")
    assert "%(" not in page


@pytest.mark.parametrize(
    ("kind", "line", "elsewhere"),
    [
        ("qr", "Waiting for you to scan", "Scan the code on the payment page."),
        (
            "redirect",
            "Waiting for you to pay with PayPal",
            "Finish the payment with PayPal on the payment page.",
        ),
        ("form", "Waiting for you to pay with PayPal", "Finish the payment with PayPal on the payment page."),
        ("voucher", "Waiting for your boleto to be paid.", "The boleto is on the payment page"),
        ("sdk", "with PayPal in the app in which you began", "with PayPal in the app in which you began it."),
    ],
)
def test_status_line_says_what_is_waited_for(five, kind, line, elsewhere):
    order = pay_by(ACTIONS[kind])
    assert line in show(order)
    browser = Client()
    assert elsewhere in browser.get(own(browser, order)).content.decode()


@pytest.mark.parametrize("channel", CHANNELS)
def test_code_says_which_app_scans_it(five, channel):
    app = {
        "wechat": "WeChat",
        "alipay": "Alipay",
        "unionpay": "UnionPay",
        "paypal": "PayPal",
        "boleto": "the bank",
    }
    assert f"Open {app[channel]} and scan" in show(pay_by(QR, channel=channel, scene="qr"))


def test_wallet_is_opened_by_a_real_link_that_names_the_shop_and_not_the_order(five):
    page = show(pay_by(REDIRECT), IPHONE)
    links = re.findall(r"<a [^>]*data-launch[^>]*>", page)
    assert len(links) == 2  # the button, and the same in what is folded
    for link in links:
        assert f'href="{html.escape(REDIRECT["url"])}"' in link
        assert 'referrerpolicy="origin"' in link
        assert "target=" not in link


def test_page_on_a_pc_stays_and_the_channels_opens_in_a_new_tab(five):
    page = show(pay_by(REDIRECT, scene="page"), WINDOWS)
    assert "This page stays" in page
    for link in re.findall(r"<a [^>]*data-launch[^>]*>", page):
        assert 'target="_blank"' in link
        assert 'rel="noopener"' in link


def test_form_carries_the_channels_fields_exactly_and_nothing_of_ours(five):
    page = show(pay_by(FORM, channel="unionpay"), IPHONE)
    form = re.search(r'<form id="launch".*?</form>', page, re.DOTALL)
    assert form
    assert f'action="{FORM["url"]}"' in form[0]
    fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form[0]))
    assert {name: html.unescape(value) for name, value in fields.items()} == FORM["fields"]
    assert "csrfmiddlewaretoken" not in form[0]


def test_only_the_page_with_the_form_may_send_it_out_of_the_shop(five):
    for kind, action in ACTIONS.items():
        order, browser = pay_by(action), Client()
        policy = browser.get(f"{own(browser, order)}pay/")["Content-Security-Policy"]
        assert ("https://gateway.pay.example" in policy) is (kind == "form")
        assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("url", "targets"),
    [
        ("https://gateway.95516.com/a.do", "https://gateway.95516.com https://*.95516.com"),
        ("https://gateway.test.95516.com/a", "https://gateway.test.95516.com https://*.test.95516.com"),
        ("http://127.0.0.1:9000/a", "http://127.0.0.1:9000"),
        ("https://10.0.0.1/a", "https://10.0.0.1"),
        ("https://example.com/a", "https://example.com"),
    ],
)
def test_form_may_lead_to_its_address_and_that_ones_neighbours_only(url, targets):
    assert policy_with_form(url) == POLICY.replace("form-action 'self'", f"form-action 'self' {targets}")


def test_wallet_that_did_not_open_leaves_four_ways(five):
    page = show(pay_by(REDIRECT, channel="alipay"), IPHONE)
    folded = page.partition('<details class="fallback"')[2].partition("</details>")[0]
    assert "Did Alipay not open?" in folded
    assert "Try again" in folded
    assert forms(folded) == [("alipay", "qr")]
    assert "?choose" in folded
    assert 'data-copy="link"' in folded


def test_channel_without_a_code_offers_none_when_it_did_not_open(five):
    assert "by a code" not in show(pay_by(REDIRECT, channel="paypal"), IPHONE)


def test_wallets_page_that_was_open_for_too_long_leaves_the_choice_while_the_order_is_open(five):
    order = make_order()
    make_payment(order, scene="wap", action=REDIRECT, lives_s=-1)
    page = show(order, IPHONE)
    assert "The page of WeChat Pay was open for too long." in page
    assert "we ask about the earlier payment first" in page
    assert ("wechat", "wap") in forms(page)


@pytest.mark.parametrize("path", ["", "pay/"], ids=["order", "pay"])
def test_voucher_whose_last_day_is_over_asks_who_paid_it_to_wait(five, shopper, path):
    order = make_order()
    make_payment(order, channel="boleto", scene="voucher", action=VOUCHER, lives_s=-1)
    page = shopper.get(own(shopper, order) + path).content.decode()
    assert "The last day of your boleto is over. If you paid it, just wait" in page
    assert "was open for too long" not in page


@pytest.mark.parametrize(
    ("kind", "seconds"), [("qr", "5"), ("redirect", "30"), ("form", "30"), ("voucher", "")]
)
def test_page_without_javascript_leaves_time_for_what_is_unfolded_or_copied(five, kind, seconds):
    refresh = re.search(r'http-equiv="refresh" content="(\d+)', show(pay_by(ACTIONS[kind])))
    assert (refresh[1] if refresh else "") == seconds


def test_voucher_is_shown_to_be_read_copied_scanned_and_printed(five):
    page = show(pay_by(VOUCHER, channel="boleto", scene="voucher"))
    assert "<span>00190.00009</span> <span>02814.567890</span> <span>12345.678901</span>" in page
    assert 'data-copy="digits"' in page
    assert f'href="{VOUCHER["pdf_url"]}"' in page
    assert "within three business days; you can close this page" in page
    assert "left to pay" not in page


@pytest.mark.parametrize(
    ("language", "until"), [("en", ", until 24 November 2026"), ("zh-CN", "2026年11月24日")]
)
def test_order_page_names_the_same_last_day_of_a_voucher(five, language, until):
    order = pay_by(VOUCHER, channel="boleto", scene="voucher")
    page = Client(headers={"accept-language": language}).get(link_of(order).replace("pay/", ""), follow=True)
    assert until in page.content.decode().partition('class="next"')[2].partition("</li>")[0]


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "UTC", "America/Los_Angeles"])
def test_voucher_ends_with_its_day_in_brazil_wherever_the_shop_is(five, settings, zone):
    settings.DISPLAY_TIME_ZONE = zone
    assert "<strong>24 November 2026</strong>" in show(pay_by(VOUCHER, channel="boleto", scene="voucher"))


@pytest.mark.parametrize("broken", [{"barcode": "12x"}, {"expires_at": "soon"}, {"expires_at": None}])
def test_voucher_with_a_part_that_cannot_be_shown_shows_the_others(five, broken):
    page = show(pay_by(VOUCHER | broken, channel="boleto", scene="voucher"))
    assert "Pay it at your bank" in page
    assert "00190.00009" in page


def test_channel_without_a_drawing_or_words_of_its_own_is_offered_all_the_same(offer):
    offer(Offered("toy", "page"))
    page = show(make_order())
    assert forms(page) == [("toy", "page")]
    assert "<span>toy</span>" in page


# ---- where nothing can be opened ---------------------------------------------------------------------------------

ELSEWHERE = "To pay, open this page in your browser."


@pytest.mark.parametrize("situation", [each for each in Situation if each not in CHOOSING])
@pytest.mark.parametrize("query", ["", "&channel=alipay&scene=qr"], ids=["plain", "wish"])
def test_wallet_that_opens_no_other_one_says_how_it_stands_all_the_same(offer, situation, query):
    offer(WECHAT, ALIPAY)
    order = make_situation(situation)
    client = Client(HTTP_USER_AGENT=IN_WECHAT)
    path = f"{own(client, order)}pay/?{query}"
    page = client.get(path).content.decode()
    elsewhere = Client(HTTP_USER_AGENT=WINDOWS)
    own(elsewhere, order)
    usual = elsewhere.get(path).content.decode()
    assert ELSEWHERE not in page
    assert LINE.findall(page) == LINE.findall(usual) != []


def test_wallet_that_opens_no_other_one_hides_no_refusal(offer):
    offer(WECHAT, ALIPAY)
    page = html.unescape(show(make_situation(Situation.REFUSED), IN_WECHAT))
    assert LINE.findall(page) == [
        "WeChat refused this payment. Nothing was charged. Your items are set aside. To pay, open this page in your browser."
    ]
