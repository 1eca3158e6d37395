"""Every state in which a shopper can see the shop, each made through the product's own rooms, with what its page must say.

A state is a browser session and an address; some need one more deed on the page. The gallery visits all of them, and
nothing here opens a browser of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client
from playwright.sync_api import Page

from orders.models import Order, Product
from orders.placing import Item, place_order
from orders.statuses import CloseReason
from payments.channels.base import Outcome
from payments.models import Payment, Refund
from payments.moves import mark_unsure
from payments.shipping import complete_order, ship_order
from payments.showing import Situation
from payments.statuses import RefundStatus
from shop.checkout import pages
from tests.checkout.actions import FORM, REDIRECT, SDK, VOUCHER
from tests.checkout.conftest import CONTACT, form_of, own
from tests.checkout.situations import STEPS, close, settle
from tests.factories import ANNA, make_payment
from tests.payments.channels.test_offers import ANDROID, IPHONE, WINDOWS

TEA, NOTEBOOK, HAMMOCK = "longjing-tea", "pocket-notebook", "ceara-hammock"
LONG = timedelta(seconds=settings.CONFIRMING_LIMIT_S + 1)
SURPLUS, LATE = Situation.SURPLUS, Situation.LATE
Make = Callable[["Browser"], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """The session of the shopper who will look, and what may be put out of order while they do."""

    client: Client
    patch: pytest.MonkeyPatch


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """`make` brings it about and gives its address; `then` is the deed on the page. `says`: what stands in it in English;
    `zh`: whole lines of it in Chinese, its status line among them. Both are written out, so that no page can lie.

    `situation`: of its order. `opens`: the type of action that is waited for. `returns`: how far the money that goes back is.
    """

    name: str
    make: Make
    says: str
    zh: tuple[str, ...]
    situation: Situation | None = None
    opens: str = ""
    returns: RefundStatus | None = None
    agent: str = WINDOWS
    then: Callable[[Page], object] | None = None
    status: int = 200

    def __post_init__(self) -> None:
        if not self.zh or not all(self.zh):
            raise ValueError(f"{self.name} has no words in Chinese")


# ---- how they are made -------------------------------------------------------------------------------------------


def order_of(browser: Browser, sku: str = TEA, quantity: int = 1) -> Order:
    """A placed order that this browser may see."""
    order = place_order([Item(sku, quantity)], ANNA, again=True)
    own(browser.client, order)
    return order


def pay_page(order: Order, query: str = "") -> str:
    return f"/orders/{order.number}/pay/{query}"


def order_page(order: Order) -> str:
    return f"/orders/{order.number}/"


def at(path: str) -> Make:
    return lambda browser: path


def cart_of(*skus: str, path: str = "/cart/") -> Make:
    """These in the cart, one of each."""

    def make(browser: Browser) -> str:
        for sku in skus:
            browser.client.post("/cart/add/", {"sku": sku, "quantity": 1})
        return path

    return make


def stepped(step: Callable[[Order], Any], page: Callable[[Order], str] = pay_page, sku: str = TEA) -> Make:
    """An order to which `step` has happened, on this page of it."""

    def make(browser: Browser) -> str:
        order = order_of(browser, sku)
        step(order)
        return page(order)

    return make


def open_by(action: dict[str, Any], channel: str, scene: str, sku: str = TEA) -> Make:
    """An attempt that waits for the shopper to pay by this."""
    return stepped(lambda order: make_payment(order, channel=channel, scene=scene, action=action), sku=sku)


def choosing(order: Order, channel: str, scene: str) -> str:
    return pay_page(order, f"?choose&channel={channel}&scene={scene}")


def _twice(browser: Browser) -> str:
    """The same order was placed by the same browser a moment ago, and its cart is full again."""
    add = cart_of(TEA, path="/checkout/")
    add(browser)
    browser.client.post("/checkout/", form_of(browser.client))
    return add(browser)


def _changed(browser: Browser) -> str:
    """A form that has become an order is still open, and is sent with other words. Its token travels in the address."""
    add = cart_of("paper-umbrella")
    add(browser)
    form = form_of(browser.client)
    browser.client.post("/checkout/", form)
    add(browser)
    return f"/checkout/?{form['form_token']}"


def _sold_out(browser: Browser) -> str:
    path = cart_of(TEA, "celadon-cup")(browser)
    Product.objects.filter(sku="celadon-cup").update(is_sold=False)
    return path


def _hold_boleto(order: Order) -> Payment:
    return make_payment(order, channel="boleto", scene="voucher", action=VOUCHER)


def _boleto_left_behind(order: Order) -> None:
    _hold_boleto(order)
    order.payments.update(superseded_at=Now())
    settle(make_payment(order, channel="paypal", scene="page", action=REDIRECT))


def _boleto_over(order: Order) -> None:
    make_payment(order, channel="boleto", scene="voucher", action=VOUCHER, lives_s=-1)
    Order.objects.filter(pk=order.pk).update(expires_at=Now() - timedelta(seconds=1))


def _may_supersede(order: Order) -> None:
    mark_unsure(make_payment(order))
    order.payments.update(close_unanswered_since=F("close_unanswered_since") - LONG)


def _earlier_closed(order: Order) -> None:
    payment = make_payment(order)
    Payment.objects.filter(pk=payment.pk).update(close_unanswered_since=Now())
    settle(payment, Outcome.CLOSED)


def _earlier_open(end: Outcome | None = None) -> Callable[[Order], None]:
    """A payment that nobody can close was left for another one, which is open or had this `end`."""

    def step(order: Order) -> None:
        make_payment(order, channel="unionpay")
        order.payments.update(superseded_at=Now())
        payment = make_payment(order)
        if end:
            settle(payment, end)

    return step


def _not_taken(order: Order) -> None:
    payment = make_payment(order)
    Payment.objects.filter(pk=payment.pk).update(action=None)
    settle(payment, Outcome.REFUSED)


def _shipped(order: Order) -> None:
    STEPS[Situation.PAID](order)
    ship_order(order.number, actor="staff:1")


def _completed(order: Order) -> None:
    _shipped(order)
    complete_order(order.number, actor="staff:1")


def _pay_times(order: Order, times: int) -> None:
    payment = make_payment(order)
    for trade in range(times):
        settle(payment, channel_number=f"42000{order.pk:018}{trade:05}")


def _maybe_charged(order: Order) -> None:
    """The channel has spoken of a charge that no receipt can be made of."""
    settle(make_payment(order, channel="unionpay"), Outcome.UNKNOWN, code="42", needs_person=True)
    order.payments.update(superseded_at=Now())
    close(order, CloseReason.EXPIRED)


def returned(situation: Situation, status: RefundStatus) -> Callable[[Order], None]:
    """The money that goes back is so far on its way."""

    def step(order: Order) -> None:
        if situation is SURPLUS:
            _pay_times(order, 2)
        else:
            STEPS[situation](order)
        Refund.objects.filter(receipt__order=order).update(status=status)

    return step


# ---- what is done on the page ------------------------------------------------------------------------------------


def send_form(page: Page) -> None:
    """Send the fields as they are, as a browser without JavaScript does: the shop's own words about them are wanted."""
    with page.expect_navigation():
        page.locator("main form.fields").evaluate("form => form.submit()")


def send_filled(page: Page, **changed: str) -> None:
    for name, value in (CONTACT | changed).items():
        page.fill(f"[name={name}]", value)
    send_form(page)


def send_changed(page: Page) -> None:
    token = page.url.partition("?")[2]
    page.locator("[name=form_token]").evaluate("(field, token) => field.value = token", token)
    send_filled(page, address="2 Garden Road")


def send_without_seal(page: Page) -> None:
    page.locator("[name=csrfmiddlewaretoken]").evaluate_all("all => all.forEach((each) => each.remove())")
    send_form(page)


def ask_for_link(page: Page) -> None:
    page.fill("[name=email]", ANNA.email)
    send_form(page)


def renew_link(page: Page) -> None:
    with page.expect_navigation():
        page.locator("form[action$='/link/new/']").evaluate("form => form.submit()")


def unfold(page: Page) -> None:
    page.locator("details.fallback > summary").click()


# ---- what is out of order ----------------------------------------------------------------------------------------


def broken(error: Exception) -> Make:
    """The cart's page runs into this."""

    def make(browser: Browser) -> str:
        def fail(*_: object) -> None:
            raise error

        browser.patch.setattr(pages, "read_cart", fail)
        return "/cart/"

    return make


# ---- all of them -------------------------------------------------------------------------------------------------

TO_PAY, PAID = Situation.TO_PAY, Situation.PAID
TWICE = "You paid twice. The first payment stands; "
TOO_LATE = "Your money came after the order closed. "
OVER = "The time to pay is over. "
GROUPS: dict[str, list[State]] = {
    "shop": [
        State(name="catalogue", make=at("/"), says="Longjing tea", zh=("龙井茶",)),
        State(name="cart-empty", make=at("/cart/"), says="Nothing is in it yet", zh=("购物车还是空的。",)),
        State(name="cart", make=cart_of(TEA), says="¥129.00", zh=("龙井茶",)),
        State(
            name="cart-mixed",
            make=cart_of(TEA, NOTEBOOK, HAMMOCK),
            says="goods in 3 currencies",
            zh=("购物车里的商品涉及 3 种货币。一笔订单只能用一种货币，请分别结账，其余商品会留在购物车里。",),
        ),
        State(name="cart-sold-out", make=_sold_out, says="Celadon cup", zh=("青瓷杯", "这件商品已停售。")),
        State(
            name="checkout",
            make=cart_of(TEA, path="/checkout/"),
            says="Nothing is charged before that.",
            zh=("下一页选择付款方式，在此之前不会扣款。",),
        ),
        State(
            name="checkout-wrong",
            make=cart_of(TEA, path="/checkout/"),
            then=send_form,
            says="Nothing was ordered yet.",
            zh=("请检查以下几项，还没有下单。",),
            status=400,
        ),
        State(
            name="checkout-twice",
            make=_twice,
            then=send_filled,
            says="Do you want all of it twice?",
            zh=("这次没有下单，购物车没有变化。确定要再买一份吗？",),
            status=409,
        ),
        State(
            name="checkout-changed",
            make=_changed,
            then=send_changed,
            says="Your order was placed before you changed the form",
            zh=("订单以最初提交的内容为准，之后的修改没有下单。如需更改，请在订单页取消后重新下单。",),
            status=422,
        ),
    ],
    "choosing": [
        State(
            name="choice",
            make=stepped(STEPS[TO_PAY]),
            situation=TO_PAY,
            says="Your items are set aside. Choose how to pay.",
            zh=("商品已为你留好，请选择付款方式。",),
        ),
        State(
            name="choice-brl",
            make=stepped(STEPS[TO_PAY], sku=HAMMOCK),
            situation=TO_PAY,
            says="Your items are set aside. Choose how to pay.",
            zh=("商品已为你留好，请选择付款方式。",),
        ),
        State(
            name="choice-phone",
            make=stepped(STEPS[TO_PAY]),
            situation=TO_PAY,
            agent=IPHONE,
            says="Pay with another phone",
            zh=("商品已为你留好，请选择付款方式。", "用另一部手机支付"),
        ),
        State(
            name="choice-in-wechat",
            make=stepped(STEPS[TO_PAY]),
            situation=TO_PAY,
            agent=f"{ANDROID} MicroMessenger/8.0.49",
            says="cannot be opened inside of this app",
            zh=(
                "商品已为你留好，请选择付款方式。",
                "当前应用内无法使用微信支付和支付宝。如需使用，请点右上角的“···”，选择用浏览器打开此页：",
            ),
        ),
        State(
            name="order-to-pay",
            make=stepped(STEPS[TO_PAY], order_page),
            situation=TO_PAY,
            says="Your items are set aside. Choose how to pay.",
            zh=("商品已为你留好，请选择付款方式。",),
        ),
        State(
            name="payer",
            make=stepped(STEPS[TO_PAY], lambda order: choosing(order, "boleto", "voucher"), HAMMOCK),
            situation=TO_PAY,
            says="A payment with Boleto names its payer.",
            zh=(
                "商品已为你留好，请选择付款方式。",
                "使用Boleto需要填写付款人信息。这些信息只保留到付款有结果为止。",
            ),
        ),
        State(
            name="payer-wrong",
            make=stepped(STEPS[TO_PAY], lambda order: choosing(order, "boleto", "voucher"), HAMMOCK),
            then=send_form,
            situation=TO_PAY,
            says="Nothing was started yet.",
            zh=("商品已为你留好，请选择付款方式。", "请检查以下几项，还没有开始付款。"),
            status=400,
        ),
        State(
            name="refused",
            make=stepped(STEPS[Situation.REFUSED]),
            situation=Situation.REFUSED,
            says="WeChat refused this payment. Nothing was charged.",
            zh=("微信拒绝了这笔付款，未扣款。",),
        ),
        State(
            name="not-taken",
            make=stepped(_not_taken),
            situation=Situation.REFUSED,
            says="WeChat Pay did not take this payment. Nothing was charged.",
            zh=("微信支付没有受理这笔付款，未扣款。",),
        ),
        State(
            name="earlier-closed",
            make=stepped(_earlier_closed, lambda order: choosing(order, "alipay", "qr")),
            situation=TO_PAY,
            says="Your earlier payment is closed. Go on with Alipay.",
            zh=("上一笔付款已关闭，请继续使用支付宝。",),
        ),
        State(
            name="earlier-open",
            make=stepped(_earlier_open(Outcome.REFUSED)),
            situation=Situation.REFUSED,
            says="Your earlier payment with UnionPay is not over yet.",
            zh=(
                "微信拒绝了这笔付款，未扣款。",
                "之前通过银联发起的付款尚未结束。如果已付，请核对一下；如果未付，请不要再付。",
            ),
        ),
    ],
    "open": [
        State(
            name="code",
            make=stepped(make_payment),
            situation=Situation.WAITING,
            opens="qr",
            says="Waiting for you to scan",
            zh=("等待扫码",),
        ),
        State(
            name="code-phone",
            make=stepped(make_payment),
            situation=Situation.WAITING,
            opens="qr",
            agent=IPHONE,
            says="on the other phone and scan",
            zh=("等待扫码", "在另一部手机上打开微信扫一扫"),
        ),
        State(
            name="code-beside-an-earlier",
            make=stepped(_earlier_open()),
            situation=Situation.WAITING,
            opens="qr",
            says="Your earlier payment with UnionPay is not over yet.",
            zh=(
                "等待扫码",
                "之前通过银联发起的付款尚未结束。如果已付，请核对一下；如果未付，请不要再付。",
            ),
        ),
        State(
            name="choice-beside-what-stays",
            make=stepped(
                lambda order: make_payment(order, channel="unionpay"),
                lambda order: pay_page(order, "?choose"),
            ),
            situation=Situation.WAITING,
            opens="qr",
            says="Your payment with UnionPay stays open, and nobody can close it",
            zh=("请选择付款方式。通过银联发起的付款仍然有效，且无法关闭，两者请只付其一。",),
        ),
        State(
            name="order-code",
            make=stepped(make_payment, order_page),
            situation=Situation.WAITING,
            opens="qr",
            says="Your items are set aside. Scan the code on the payment page.",
            zh=("商品已为你留好，请在付款页扫码。",),
        ),
        State(
            name="redirect",
            make=open_by(REDIRECT, "paypal", "page", NOTEBOOK),
            situation=Situation.WAITING,
            opens="redirect",
            says="Waiting for you to pay with PayPal",
            zh=("等待你通过PayPal完成付款",),
        ),
        State(
            name="redirect-phone",
            make=open_by(REDIRECT, "paypal", "wap", NOTEBOOK),
            situation=Situation.WAITING,
            opens="redirect",
            agent=IPHONE,
            says="Waiting for you to pay with PayPal",
            zh=("等待你通过PayPal完成付款",),
        ),
        State(
            name="redirect-unfolded",
            make=open_by({"type": "redirect", "url": "https://pay.example/h5"}, "wechat", "wap"),
            then=unfold,
            situation=Situation.WAITING,
            opens="redirect",
            agent=IPHONE,
            says="Choose another way to pay",
            zh=("等待你通过微信支付完成付款", "选择其他付款方式"),
        ),
        State(
            name="form",
            make=open_by(FORM, "unionpay", "wap"),
            situation=Situation.WAITING,
            opens="form",
            agent=IPHONE,
            says="Waiting for you to pay with UnionPay",
            zh=("等待你通过银联完成付款",),
        ),
        State(
            name="voucher",
            make=open_by(VOUCHER, "boleto", "voucher", HAMMOCK),
            situation=Situation.WAITING,
            opens="voucher",
            says="Waiting for your boleto to be paid.",
            zh=("等待 Boleto 付款。银行会在三个工作日内告知我们，可以关闭页面。",),
        ),
        State(
            name="sdk",
            make=open_by(SDK, "alipay", "app"),
            situation=Situation.WAITING,
            opens="sdk",
            says="Waiting for you to pay with Alipay in the app in which you began",
            zh=("等待你在发起付款的应用中通过支付宝完成付款",),
        ),
        State(
            name="choice-beside-a-boleto",
            make=stepped(_hold_boleto, lambda order: pay_page(order, "?choose"), HAMMOCK),
            situation=Situation.WAITING,
            opens="voucher",
            says="Do not pay it if you pay another way: throw it away.",
            zh=(
                "请选择付款方式。通过Boleto发起的付款仍然有效，且无法关闭，两者请只付其一。",
                "你手里还有这笔订单的 Boleto 付款单。如改用其他方式支付，请勿再付，直接作废即可。如果仍然付了，款项由客服人工退回，因为 Boleto 无法自动退款。",
            ),
        ),
    ],
    "undecided": [
        State(
            name="starting",
            make=stepped(STEPS[Situation.STARTING]),
            situation=Situation.STARTING,
            says="WeChat has not answered yet. You can try again: you do not pay twice by that.",
            zh=("微信还没有回应。可以再试一次，不会因此重复付款。",),
        ),
        State(
            name="confirming",
            make=stepped(STEPS[Situation.CONFIRMING]),
            situation=Situation.CONFIRMING,
            says="Your payment is being confirmed. You can close this page; we will find it.",
            zh=("正在确认付款。可以关闭页面，我们会持续核对。",),
        ),
        State(
            name="order-confirming",
            make=stepped(STEPS[Situation.CONFIRMING], order_page),
            situation=Situation.CONFIRMING,
            says="Your payment is being confirmed. You can close this page; we will find it.",
            zh=("正在确认付款。可以关闭页面，我们会持续核对。",),
        ),
        State(
            name="ending",
            make=stepped(STEPS[Situation.ENDING]),
            situation=Situation.ENDING,
            says=f"{OVER}We are asking WeChat once more whether you paid.",
            zh=("付款时间已过。正在再次向微信核对是否已付款。",),
        ),
        State(
            name="voucher-over",
            make=stepped(_boleto_over, sku=HAMMOCK),
            situation=Situation.ENDING,
            opens="voucher",
            says="The last day of your boleto is over. If you paid it, just wait",
            zh=("Boleto 的付款期限已过。如已付款，请耐心等待，银行会在三个工作日内告知我们。",),
        ),
        State(
            name="page-lapsed",
            make=stepped(lambda order: make_payment(order, lives_s=-1)),
            situation=Situation.ENDING,
            says="The page of WeChat Pay was open for too long.",
            zh=("微信支付页面已超时。请重新选择付款方式，我们会先核对上一笔付款。",),
        ),
        State(
            name="held-up",
            make=stepped(STEPS[Situation.CONFIRMING], lambda order: choosing(order, "alipay", "qr")),
            situation=Situation.CONFIRMING,
            says="We are checking your earlier payment first, so that you do not pay twice.",
            zh=("正在核对上一笔付款，避免重复支付。",),
        ),
        State(
            name="order-reviewed",
            make=stepped(STEPS[Situation.REVIEWED], order_page),
            situation=Situation.REVIEWED,
            says="A person is looking at it; please do not pay again.",
            zh=("收到的金额与订单不一致，客服正在核查，请不要再次付款。",),
        ),
        State(
            name="may-supersede",
            make=stepped(_may_supersede),
            situation=Situation.CONFIRMING,
            says="Your earlier payment is still undecided. You may pay another way now",
            zh=("上一笔付款还没有结果。现在可以换一种方式支付；如上一笔也付款成功，那笔款项将自动退回。",),
        ),
        State(
            name="reviewed",
            make=stepped(STEPS[Situation.REVIEWED]),
            situation=Situation.REVIEWED,
            says="A person is looking at it; please do not pay again.",
            zh=("收到的金额与订单不一致，客服正在核查，请不要再次付款。",),
        ),
    ],
    "paid": [
        State(
            name="paid",
            make=stepped(STEPS[PAID]),
            situation=PAID,
            says="Paid. Thank you.",
            zh=("已付款，谢谢。",),
        ),
        State(
            name="order-paid",
            make=stepped(STEPS[PAID], order_page),
            situation=PAID,
            says="We are packing your order",
            zh=("已付款，谢谢。", "正在为你打包"),
        ),
        State(
            name="shipped",
            make=stepped(_shipped, order_page),
            situation=PAID,
            says="Your order is on its way",
            zh=("已付款，谢谢。", "订单正在配送中"),
        ),
        State(
            name="completed",
            make=stepped(_completed, order_page),
            situation=PAID,
            says="Your order has arrived",
            zh=("已付款，谢谢。", "订单已送达"),
        ),
        State(
            name="paid-beside-a-boleto",
            make=stepped(_boleto_left_behind, order_page, HAMMOCK),
            situation=PAID,
            says="Do not pay it: throw it away.",
            zh=(
                "已付款，谢谢。",
                "你手里还有这笔订单的 Boleto 付款单。请勿再付，直接作废即可。如果仍然付了，款项由客服人工退回，因为 Boleto 无法自动退款。",
            ),
        ),
        State(
            name="refunded",
            make=stepped(STEPS[Situation.REFUNDED], order_page),
            situation=Situation.REFUNDED,
            says="¥129.00 has gone back to you.",
            zh=("¥129.00 已退还给你。",),
        ),
    ],
    "back": [
        State(
            name="surplus-going-back",
            make=stepped(returned(SURPLUS, RefundStatus.REFUNDING), order_page),
            situation=SURPLUS,
            returns=RefundStatus.REFUNDING,
            says=f"{TWICE}the second ¥129.00 is on its way back.",
            zh=("检测到重复付款，第一笔有效，第二笔 ¥129.00 正在退回。",),
        ),
        State(
            name="surplus-pay-page",
            make=stepped(returned(SURPLUS, RefundStatus.REFUNDING)),
            situation=SURPLUS,
            returns=RefundStatus.REFUNDING,
            says=f"{TWICE}the second ¥129.00 is on its way back.",
            zh=("检测到重复付款，第一笔有效，第二笔 ¥129.00 正在退回。",),
        ),
        State(
            name="surplus-back",
            make=stepped(returned(SURPLUS, RefundStatus.REFUNDED), order_page),
            situation=SURPLUS,
            returns=RefundStatus.REFUNDED,
            says=f"{TWICE}the second ¥129.00 is back in your wallet.",
            zh=("检测到重复付款，第一笔有效，第二笔 ¥129.00 已退回你的钱包。",),
        ),
        State(
            name="surplus-by-a-person",
            make=stepped(returned(SURPLUS, RefundStatus.FAILED), order_page),
            situation=SURPLUS,
            returns=RefundStatus.FAILED,
            says=f"{TWICE}a person is sending the second ¥129.00 back.",
            zh=("检测到重复付款，第一笔有效，第二笔 ¥129.00 正由客服人工退回。",),
        ),
        State(
            name="surplus-of-several",
            make=stepped(lambda order: _pay_times(order, 3), order_page),
            situation=SURPLUS,
            says="You paid more than once. The first payment stands; the other ¥258.00 is on its way back.",
            zh=("检测到多次付款，第一笔有效，其余 ¥258.00 正在退回。",),
        ),
        State(
            name="late-going-back",
            make=stepped(returned(LATE, RefundStatus.REFUNDING), order_page),
            situation=LATE,
            returns=RefundStatus.REFUNDING,
            says=f"{TOO_LATE}¥129.00 is on its way back to your wallet.",
            zh=("付款到账时订单已关闭，¥129.00 正在退回你的钱包。",),
        ),
        State(
            name="late-back",
            make=stepped(returned(LATE, RefundStatus.REFUNDED), order_page),
            situation=LATE,
            returns=RefundStatus.REFUNDED,
            says=f"{TOO_LATE}¥129.00 is back in your wallet.",
            zh=("付款到账时订单已关闭，¥129.00 已退回你的钱包。",),
        ),
        State(
            name="late-by-a-person",
            make=stepped(returned(LATE, RefundStatus.FAILED), order_page),
            situation=LATE,
            returns=RefundStatus.FAILED,
            says=f"{TOO_LATE}A person is sending ¥129.00 back.",
            zh=("付款到账时订单已关闭，¥129.00 正由客服人工退回。",),
        ),
    ],
    "over": [
        State(
            name="expired",
            make=stepped(lambda order: close(order, CloseReason.EXPIRED), order_page),
            situation=Situation.EXPIRED,
            says=f"{OVER}If you did pay, the order goes on or the money comes back.",
            zh=("付款时间已过。如已付款，订单将继续处理，或款项将退回。",),
        ),
        State(
            name="expired-uncharged",
            make=stepped(STEPS[Situation.EXPIRED], order_page),
            situation=Situation.EXPIRED,
            says=f"{OVER}Nothing was charged as far as WeChat told us",
            zh=("付款时间已过。据微信返回未扣款；如已扣款，订单将继续处理，或款项将自动退回。",),
        ),
        State(
            name="expired-pay-page",
            make=stepped(STEPS[Situation.EXPIRED]),
            situation=Situation.EXPIRED,
            says=f"{OVER}Nothing was charged as far as WeChat told us",
            zh=("付款时间已过。据微信返回未扣款；如已扣款，订单将继续处理，或款项将自动退回。",),
        ),
        State(
            name="expired-maybe-charged",
            make=stepped(_maybe_charged, order_page),
            situation=Situation.EXPIRED,
            says="A person sees to it that you get it back.",
            zh=(
                "付款时间已过。据云闪付返回，你可能已被扣款，但款项未计入这笔订单。客服会跟进，确保款项退还给你。",
            ),
        ),
        State(
            name="cancelled",
            make=stepped(STEPS[Situation.CANCELLED], order_page),
            situation=Situation.CANCELLED,
            says="This order is cancelled. If a payment still arrives, the money comes back.",
            zh=("订单已取消。如仍有付款到账，款项将退回。",),
        ),
        State(
            name="error-400",
            # More parameters than Django reads.
            make=at(f"/checkout/?{'a&' * 1001}"),
            says="We did not understand that",
            zh=("无法识别这个请求",),
            status=400,
        ),
        State(
            name="error-403",
            make=cart_of(TEA, path="/checkout/"),
            then=send_without_seal,
            says="This form is too old",
            zh=("表单已过期",),
            status=403,
        ),
        State(
            name="error-404", make=at("/no/such/page"), says="Nothing is here", zh=("找不到此页",), status=404
        ),
        State(
            name="order-unknown",
            make=at("/orders/N000000000000000/"),
            says="This browser does not know this order",
            zh=("此浏览器没有这笔订单的记录",),
            status=404,
        ),
        State(
            name="link-wanted",
            make=at("/orders/N000000000000000/"),
            then=ask_for_link,
            says="Look into your mail",
            zh=("请查看邮箱",),
            status=202,
        ),
        State(
            name="link-renewed",
            make=stepped(STEPS[PAID], order_page),
            then=renew_link,
            situation=PAID,
            says="This order has a new link.",
            zh=("已付款，谢谢。", "订单已有新链接，之前的链接全部失效。"),
        ),
        State(
            name="error-500",
            make=broken(RuntimeError("a bug")),
            says="That was our mistake",
            zh=("是我们出了差错",),
            status=500,
        ),
        State(
            name="error-503",
            make=broken(OperationalError("lock timeout")),
            says="The shop is busy",
            zh=("系统繁忙。正在进行的付款不会丢失，我们会持续核对。",),
            status=503,
        ),
    ],
}
STATES = [state for group in GROUPS.values() for state in group]
