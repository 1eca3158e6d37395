"""What the ground gives to every channel's side, tried with one that does not exist."""

import json
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from payments.sandbox.keys import Keyring
from payments.sandbox.ledger import Ledger
from payments.sandbox.server import enter_webhooks
from tests.sandbox.merchant import Shop
from tests.sandbox.toy import ToyGateway
from tests.waiting import wait_until


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[ToyGateway]:
    with Ledger(":memory:") as ledger:
        gateway = ToyGateway(ledger, Keyring(tmp_path))
        yield gateway
        gateway.notifier.stop()


def agree(toy: ToyGateway, number: str = "TOY1") -> str:
    toy.create(number)
    assert toy.deed(number, "pay").status_code == 200
    return number


def capture(toy: ToyGateway, number: str):
    return toy.call("capture", token=f"T{number}")


# One path with several calls


def test_path_with_several_calls_is_told_apart_by_its_side(toy):
    toy.script("capture", "syserr")
    number = agree(toy)

    answers = [capture(toy, number) for _ in range(2)]

    assert [(answer.status_code, answer.json) for answer in answers] == [
        (500, {"code": "BROKEN", "message": "by a fault of the sandbox"}),
        (200, {"state": "CAPTURED"}),
    ]


@pytest.mark.parametrize(("when", "status"), [("before", "OPEN"), ("after", "PAID")])
def test_fault_of_a_capture_comes_before_or_after_the_money_moved(toy, when, status):
    number = agree(toy)
    toy.script("capture", "status", when, value=502)

    assert capture(toy, number).status_code == 502
    assert toy.status(number) == status


# Looking, agreeing, capturing


def test_opening_the_wallet_is_looking(toy):
    number = toy.create()

    toy.wallet(number)

    trade = toy.ledger.find_trade("toy", number)
    assert trade is not None
    assert trade.notes == {"token": "TTOY1", "looks": 1}


def test_code_can_be_scanned_without_paying(toy):
    number = toy.create()

    answer = toy.deed(number, "scan")

    assert answer.status_code == 200
    assert [trade["status"] for trade in answer.json["trades"]] == ["OPEN"]
    assert toy.ledger.find_trade("toy", number).notes["looks"] == 1


def test_scanning_what_is_not_there_is_not_found(toy):
    assert toy.deed("TOY404", "scan").status_code == 404


def test_who_agreed_has_paid_nothing_until_the_merchant_captures(toy):
    number = agree(toy)
    assert toy.status(number) == "OPEN"

    assert capture(toy, number).status_code == 200
    assert toy.status(number) == "PAID"


def test_agreeing_again_is_refused_with_the_sides_reason(toy):
    number = agree(toy)

    answer = toy.deed(number, "pay")

    assert (answer.status_code, answer.json["error"]) == (409, "agreed")


# The wallet speaks the channel's words


def test_wallet_has_the_sides_title_and_button(toy):
    page = unescape(toy.wallet(toy.create(amount=123456)).text)

    assert "Toy approval <span>Toy Pay</span>" in page
    assert "Agree to $1,234.56</button>" in page
    assert "Back to the shop" not in page


def test_wallet_says_that_the_shopper_agreed_and_offers_no_button(toy):
    number = toy.create()

    page = toy.use_wallet(number, "pay").text

    assert "<strong>You said yes</strong>" in page
    assert "Now the shop takes it." in page
    assert "<button" not in page


@pytest.mark.parametrize(
    ("currency", "shown"), [("CNY", "¥1,234.50"), ("USD", "$1,234.50"), ("BRL", "R$\u00a01.234,50")]
)
def test_wallet_writes_money_as_its_currency_is_written(toy, currency, shown):
    number = toy.create(amount=123450, currency=currency)

    assert f'<h1 class="amount">{shown}</h1>' in toy.wallet(number).text


@pytest.mark.parametrize("deed", ["pay", "decline"])
def test_wallet_leads_back_to_the_shop_when_something_was_decided(toy, deed):
    number = toy.create(back="https://shop.example/orders/1/?a=1&b=2")
    assert "Back to the shop" not in toy.wallet(number).text

    page = toy.use_wallet(number, deed).text

    assert '<a href="https://shop.example/orders/1/?a=1&amp;b=2">Back to the shop</a>' in page


@pytest.mark.parametrize("back", ["javascript:alert(1)", "/orders/1/", "data:text/html,x", ""])
def test_wallet_leads_to_no_address_that_is_no_shops(toy, back):
    number = toy.create(back=back)

    assert "Back to the shop" not in toy.use_wallet(number, "pay").text


def test_browser_on_the_channels_own_page_is_led_to_the_wallet(toy):
    number = toy.create()

    answer = toy.http.get(f"/toy/pay/{number}")

    assert (answer.status_code, answer.headers["Location"]) == (303, "/_sandbox/wallet?content=toy%3ATOY1")
    assert "Seal" not in answer.headers
    assert number in toy.http.get(answer.headers["Location"]).text


def test_desk_says_that_the_shopper_agreed_and_offers_to_pay_no_more(toy):
    toy.create()
    assert 'value="pay"' in toy.http.get("/_sandbox/").text

    toy.deed("TOY1", "pay")

    page = toy.http.get("/_sandbox/").text
    assert ">AGREED</span>" in page
    assert 'value="pay"' not in page


# Closing while the shopper pays


def test_close_meets_a_shopper_who_was_first(toy):
    number = agree(toy)
    toy.script("close", "paid_meanwhile", "before")
    toy.ledger.note(toy.ledger.find_trade("toy", number), agreed=False)

    assert toy.call("close", number=number).json["code"] == "PAID"
    assert toy.ledger.find_trade("toy", number).notes["agreed"] is True


def test_money_comes_to_what_was_closed_in_that_moment(toy):
    number = toy.create()
    toy.script("close", "paid_meanwhile", "after")

    assert toy.call("close", number=number).status_code == 204
    assert toy.status(number) == "PAID"


def test_close_without_a_fault_closes(toy):
    number = toy.create()

    assert toy.call("close", number=number).status_code == 204
    assert toy.status(number) == "CLOSED"


# Webhooks and events


def test_what_names_no_address_goes_to_the_webhook_with_its_event(toy):
    shop = Shop()
    shop.answer = lambda count: 200
    try:
        assert toy.http.put("/_sandbox/webhooks", json={"toy": shop.url}).status_code == 204
        number = agree(toy)
        capture(toy, number)
        events = [json.loads(shop.take().body)["event"] for _ in range(2)]
        toy.deed(number, "refund", amount=1)
        events.append(json.loads(shop.take().body)["event"])
    finally:
        shop.close()

    assert sorted(events[:2]) == ["AGREED", "CAPTURED"]
    assert events[2] == "REFUNDED"


def test_without_a_webhook_nothing_is_announced(toy):
    number = agree(toy)
    capture(toy, number)

    assert toy.deed(number, "notify").json["error"] == "nothing_to_notify"


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"paypal": "http://127.0.0.1:1/"}, "paypal"),
        ({"toy": 1}, "toy"),
        ({"toy": "http://shop.example/"}, "url"),
        ({"toy": ""}, "url"),
        ([], "body"),
    ],
    ids=repr,
)
def test_wrong_webhook_is_refused_and_nothing_is_entered(toy, wish, field):
    answer = toy.http.put("/_sandbox/webhooks", json=wish)

    assert (answer.status_code, answer.json["field"]) == (400, field)
    assert toy.ledger.find_webhook("toy") == ""


def test_address_of_a_shop_is_entered_for_the_sides_that_need_it(toy):
    enter_webhooks({"toy": toy.side}, toy.ledger, "http://127.0.0.1:8000/")
    enter_webhooks({"toy": toy.side}, toy.ledger, None)

    assert toy.ledger.find_webhook("toy") == "http://127.0.0.1:8000/notify/toy/"


# Statements


def test_statement_is_a_file_with_what_was_booked(toy):
    for number in ("TOY1", "TOY2"):
        capture(toy, agree(toy, number))
    toy.create("TOY3")
    toy.deed("TOY1", "refund", amount=1)
    wait_until(lambda: toy.ledger.list_refunds(toy.ledger.find_trade("toy", "TOY1"))[0].status == "SUCCESS")

    answer = toy.http.get("/toy/statement")

    assert answer.content_type == "text/csv"
    assert "Seal" not in answer.headers
    assert answer.text == "payment TOY1\npayment TOY2\nrefund TOY1\n"


@pytest.mark.parametrize(
    ("what", "lines"), [("statement_omit", ["TOY2"]), ("statement_double", ["TOY1", "TOY1", "TOY2"])]
)
def test_statement_can_lack_a_line_or_have_one_twice(toy, what, lines):
    for number in ("TOY1", "TOY2"):
        capture(toy, agree(toy, number))
    toy.script("statement", what)

    told = [toy.http.get("/toy/statement").text.split() for _ in range(2)]

    assert [words[1::2] for words in told] == [lines, ["TOY1", "TOY2"]]


@pytest.mark.parametrize(
    ("what", "lines"),
    [
        ("statement_omit", ["TOY2", "TOY4"]),
        ("statement_double", ["TOY1", "TOY1", "TOY2", "TOY3", "TOY3", "TOY4"]),
    ],
)
def test_every_second_line_of_a_statement_can_be_spoilt(toy, what, lines):
    for number in ("TOY1", "TOY2", "TOY3", "TOY4"):
        capture(toy, agree(toy, number))
    toy.script("statement", what, value=2)

    assert toy.http.get("/toy/statement").text.split()[1::2] == lines


def test_garbage_in_a_file_is_no_sealed_document(toy):
    toy.script("statement", "garbage")

    answer = toy.http.get("/toy/statement")

    assert (answer.data, answer.content_type) == (b"<<<\xff\xfe{]", "text/csv")
    assert "Seal" not in answer.headers
