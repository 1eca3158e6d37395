"""The shop in Chinese: every page of it, its API, and the words that an order keeps."""

import re

import pytest
from django.conf import settings
from django.test import Client

from orders.models import Order
from payments.showing import Situation
from shop.checkout.templatetags.look import duration
from shop.languages import LANGUAGES, speaking
from tests.checkout.conftest import ADDRESS, fill_cart, form_of, own
from tests.checkout.situations import STEPS, make_situation
from tests.factories import ANNA, make_order, make_product
from tests.reading import read_texts

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("five")]

CHINESE = {"accept-language": "zh-CN,zh;q=0.9,en;q=0.1"}
CODE = LANGUAGES[1][0]
TEA = {"name_zh_hans": "龙井茶", "description_zh_hans": "四月初采摘。"}
# Names of people, places and things, which are the same in every language.
GIVEN = re.compile(
    "|".join(map(re.escape, (ANNA.name, ANNA.address, ANNA.email, "li@example.com", "English")))
)
ENGLISH_WORDS = re.compile(r"[A-Za-z']+(?:,? [A-Za-z']+){2,}")


def english_in(html: str) -> list[str]:
    """What a reader of Chinese would find in English: three words and more in a row."""
    return [text for text in read_texts(html) if ENGLISH_WORDS.search(GIVEN.sub("", text))]


@pytest.fixture
def reader() -> Client:
    """Somebody whose browser wants Chinese."""
    return Client(REMOTE_ADDR=ADDRESS, headers=CHINESE)


def look_at(reader: Client, path: str, status: int = 200) -> str:
    answer = reader.get(path)
    page: str = answer.content.decode()
    assert (answer.status_code, english_in(page)) == (status, [])
    assert '<html lang="zh-Hans">' in page
    return page


def test_catalogue_cart_and_checkout_are_chinese(reader):
    fill_cart(reader, **TEA)
    for path in ("/", "/cart/", "/checkout/"):
        assert "龙井茶" in look_at(reader, path)
    assert "四月初采摘。" in look_at(reader, "/")
    assert "Tea" in Client().get("/").content.decode()


def test_what_is_wrong_with_a_form_is_told_in_chinese(reader):
    fill_cart(reader, **TEA)
    answer = reader.post("/checkout/", form_of(reader, email="nobody", name=""))
    page = answer.content.decode()
    assert (answer.status_code, english_in(page)) == (400, [])
    assert {"请填写姓名。", "邮箱格式不对。例如：li@example.com"} <= set(read_texts(page))


def test_product_without_chinese_words_keeps_its_own(reader):
    make_product("mug", name="Mug")
    assert "Mug" in look_at(reader, "/")


@pytest.mark.parametrize("situation", STEPS)
def test_order_and_pay_page_are_chinese_in_every_situation(reader, situation):
    path = own(reader, make_situation(situation))
    look_at(reader, path)
    look_at(reader, f"{path}pay/")


# The sentences that the look of the shop is made of.
LINES = {
    Situation.WAITING: "等待扫码",
    Situation.CONFIRMING: "正在确认付款。可以关闭页面，我们会持续核对。",
    Situation.PAID: "已付款，谢谢。",
    Situation.EXPIRED: "付款时间已过。据微信返回未扣款；如已扣款，订单将继续处理，或款项将自动退回。",
    Situation.SURPLUS: "检测到重复付款，第一笔有效，第二笔 ¥129.00 正在退回。",
    Situation.LATE: "付款到账时订单已关闭，¥129.00 正在退回你的钱包。",
    Situation.REFUSED: "微信拒绝了这笔付款，未扣款。",
}


@pytest.mark.parametrize("situation", LINES)
def test_status_line_says_what_it_should(reader, situation):
    path = own(reader, make_situation(situation))
    assert LINES[situation] in read_texts(look_at(reader, f"{path}pay/"))


def test_errors_are_chinese(reader):
    look_at(reader, "/nothing/", status=404)
    look_at(reader, "/orders/20260101000000000000000000/", status=404)


def test_lines_keep_the_language_in_which_they_were_ordered():
    product = make_product(**TEA)
    with speaking(CODE):
        chinese = make_order()
    assert [order.lines.get().name for order in (chinese, make_order())] == ["龙井茶", product.name]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(90, "90秒钟"), (1500, "25分钟"), (10_000, "3小时"), (259_200, "3天"), (0, "0秒钟")],
)
def test_time_left_reads_as_the_browser_will_count_it_on(seconds, words):
    """Chromium's `Intl` writes these for zh-Hans; the page changes to them at the first tick."""
    with speaking(CODE):
        assert duration(seconds) == words


@pytest.mark.parametrize(
    ("method", "path"), [("post", "/notify/nobody/"), ("get", "/notify/wechat/"), ("get", "/healthz")]
)
def test_protocol_answers_are_the_same_in_every_language(reader, method, path):
    chinese, english = (getattr(client, method)(path) for client in (reader, Client()))
    assert (chinese.status_code, chinese.content) == (english.status_code, english.content)
    assert "Content-Language" not in chinese.headers


def test_order_of_a_chinese_page_is_a_chinese_order(reader):
    fill_cart(reader, **TEA)
    assert reader.post("/checkout/", form_of(reader)).status_code == 302
    assert (Order.objects.get().language, Order.objects.get().lines.get().name) == (CODE, "龙井茶")


# ---- the API -------------------------------------------------------------------------------------------------------


def test_api_lists_products_in_the_language_that_was_asked_for(reader):
    make_product(**TEA)
    answer = reader.get("/api/v1/products")
    assert [product["name"] for product in answer.json()] == ["龙井茶"]
    assert answer.headers["Content-Language"] == "zh-Hans"
    assert "Accept-Language" in answer.headers["Vary"]
    assert [product["name"] for product in Client().get("/api/v1/products").json()] == ["Tea"]


@pytest.mark.parametrize(
    ("path", "body", "code", "detail"),
    [
        ("orders", {"items": [], "contact": {}}, "invalid", "该字段是必填项。"),
        ("orders", [], "invalid", "无效数据。期待为字典类型，得到的是 list 。"),
        ("orders", {"items": "x", "contact": {}, "colour": "red"}, "invalid", "没有这个字段。"),
        ("orders/20260101000000000000000000/payments", [], "not_found", "没有这笔订单。"),
        ("nothing", {}, "not_found", "这里没有内容。"),
        ("orders/20260101000000000000000000/cancel", {}, "not_found", "没有这笔订单。"),
    ],
)
def test_problem_is_told_in_chinese_under_its_usual_code(reader, path, body, code, detail):
    found = reader.post(f"/api/v1/{path}", body, content_type="application/json").json()
    assert (found["code"], found["detail"]) == (code, detail)


def test_status_of_an_order_is_refused_in_chinese(reader):
    unknown = reader.get("/api/v1/orders/20260101000000000000000000/status").json()
    senseless = reader.get("/api/v1/orders/20260101000000000000000000/status?wait=long").json()
    assert [found["detail"] for found in (unknown, senseless)] == [
        "没有这笔订单。",
        "这里必须是 0 到 30 之间的整数。",
    ]


def test_refusals_of_placing_and_paying_are_chinese(reader):
    product = make_product(**TEA, stock=3)
    contact = {name: getattr(ANNA, name) for name in ("name", "email", "phone", "address")}

    def problem_of(path: str, body: object, **headers: str) -> str:
        found = reader.post(
            f"/api/v1/{path}", body, content_type="application/json", headers=CHINESE | headers
        )
        return str(found.json()["detail"])

    def placing(**item: object) -> object:
        return {"items": [{"sku": product.sku, "quantity": 1} | item], "contact": contact}

    assert problem_of("orders", placing(quantity=4)) == "龙井茶仅剩 3 件。"
    assert problem_of("orders", placing(quantity=0)) == "数量必须在 1 到 999 之间。"
    assert problem_of("orders", placing(sku="gone")) == "本店没有 gone。"
    order = make_order()
    own(reader, order)
    token = reader.get("/").cookies.get(settings.CSRF_COOKIE_NAME)
    secret = {"x-csrftoken": token.value} if token else {}
    wanted = {"channel": "cash", "scene": "qr"}
    assert problem_of(f"orders/{order.number}/payments", wanted, **secret) == "本店不提供“cash”。"


def test_switch_on_a_form_that_was_refused_leads_back_to_the_form_of_its_currency(shopper):
    fill_cart(shopper)
    fill_cart(shopper, sku="notebook", currency="USD")
    action = shopper.get("/checkout/?currency=USD").content.decode().partition('class="fields"')[2]
    assert 'action="/checkout/?currency=USD"' in action
    refused = shopper.post("/checkout/?currency=USD", form_of(shopper, "USD", name=""))
    assert refused.status_code == 400
    assert '<input type="hidden" name="next" value="/checkout/?currency=USD">' in refused.content.decode()


def test_who_refuses_cookies_is_not_sent_away_by_the_switch():
    answer = Client(enforce_csrf_checks=True).post("/language/", {"language": CODE, "next": "/cart/"})
    assert (answer.status_code, answer["Location"]) == (302, "/cart/")


def test_switch_leads_to_no_other_site(shopper):
    answer = shopper.post("/language/", {"language": CODE, "next": "https://evil.example/"})
    assert answer["Location"] == "/"
