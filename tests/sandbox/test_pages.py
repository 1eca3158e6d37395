"""The pages for people, the wallet and the gateway's desk, as a browser without scripts uses them."""

import html
import re

import pytest

from tests.sandbox.merchant import NATIVE, make_number


def wallet(sandbox, code):
    return sandbox.http.get(f"{sandbox.url}/_sandbox/wallet", params={"content": code})


def use_wallet(sandbox, code, deed):
    return sandbox.http.post(f"{sandbox.url}/_sandbox/wallet", data={"content": code, "deed": deed})


def desk(sandbox):
    return sandbox.http.get(f"{sandbox.url}/_sandbox/")


def test_wallet_shows_amount_payee_and_both_buttons(sandbox, merchant):
    number, code = merchant.create_code(description="two shirts")

    page = wallet(sandbox, code).text

    assert "¥129.00" in page
    assert f"Sandbox merchant {merchant.env['WECHAT_MCHID']}" in page
    assert "two shirts" in page
    assert number in page
    assert re.findall(r'name="deed" value="(\w+)"', page) == ["pay", "decline"]


def test_wallet_pays_and_shows_the_receipt(sandbox, merchant):
    number, code = merchant.create_code()

    page = use_wallet(sandbox, code, "pay")

    [trade] = sandbox.trades(number)
    assert trade["status"] == "PAID"
    assert page.history[0].status_code == 303
    assert "<strong>Paid</strong>" in page.text
    assert trade["channel_number"] in page.text
    assert "<button" not in page.text


def test_wallet_that_declined_says_that_nothing_was_charged_and_can_still_pay(sandbox, merchant):
    number, code = merchant.create_code()

    page = use_wallet(sandbox, code, "decline").text

    assert "You declined" in page
    assert "Nothing was charged." in page
    assert 'value="pay"' in page
    assert sandbox.trades(number)[0]["status"] == "OPEN"


def test_every_code_of_an_order_leads_to_it(sandbox, merchant):
    document = merchant.order()
    codes = [merchant.call("POST", NATIVE, document).json()["code_url"] for _ in range(2)]

    assert all(document["out_trade_no"] in wallet(sandbox, code).text for code in codes)


def test_second_code_of_a_paid_order_says_paid(sandbox, merchant):
    document = merchant.order()
    first, second = (merchant.call("POST", NATIVE, document).json()["code_url"] for _ in range(2))
    use_wallet(sandbox, first, "pay")

    page = use_wallet(sandbox, second, "pay")

    assert page.status_code == 200
    assert "<strong>Paid</strong>" in page.text
    assert len(sandbox.trades(document["out_trade_no"])) == 1


def test_wallet_of_a_closed_order_offers_no_button(sandbox, merchant):
    number, code = merchant.create_code()
    merchant.close(number)

    page = wallet(sandbox, code).text

    assert "This order is closed" in page
    assert "<button" not in page


def test_unknown_code_is_not_found(sandbox):
    page = wallet(sandbox, "weixin://wxpay/bizpayurl?pr=nothing")

    assert page.status_code == 404
    assert "No payment belongs to this code." in page.text


def test_wallet_without_code_asks_for_one(sandbox):
    page = sandbox.http.get(f"{sandbox.url}/_sandbox/wallet")

    assert page.status_code == 200
    assert 'name="content"' in page.text


@pytest.mark.parametrize("deed", ["", "steal", "notify"])
def test_wallet_does_nothing_but_pay_and_decline(sandbox, merchant, deed):
    number, code = merchant.create_code()

    page = use_wallet(sandbox, code, deed)

    assert page.status_code in (400, 409)
    assert sandbox.trades(number)[0]["status"] == "OPEN"


def test_what_came_from_outside_is_escaped(sandbox, merchant):
    _, code = merchant.create_code(description="<script>alert(1)</script>{style}")

    page = wallet(sandbox, code).text
    assert "<script" not in page
    assert html.escape("<script>alert(1)</script>{style}") in page
    assert "<script" not in wallet(sandbox, '"><script>x</script>').text


def test_pages_load_nothing_and_run_nothing(sandbox, merchant):
    _, code = merchant.create_code()

    for page in (desk(sandbox), wallet(sandbox, code)):
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert not re.search(r"<script|<link[^>]+stylesheet|\bsrc=|url\(", page.text)
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"


def test_desk_lists_the_newest_trade_first(sandbox, merchant):
    numbers = [merchant.create() for _ in range(2)]

    page = desk(sandbox).text

    assert page.index(numbers[1]) < page.index(numbers[0])


def test_desk_pays_and_declines(sandbox, merchant):
    number = merchant.create()
    form = {"channel": "wechat", "out_trade_no": number}

    sandbox.http.post(f"{sandbox.url}/_sandbox/", data={**form, "deed": "decline"})
    page = sandbox.http.post(f"{sandbox.url}/_sandbox/", data={**form, "deed": "pay"})

    assert page.history[0].status_code == 303
    assert sandbox.trades(number)[0]["status"] == "PAID"


def test_desk_tells_why_a_deed_was_refused(sandbox, merchant):
    number = merchant.create()
    merchant.close(number)

    page = sandbox.http.post(
        f"{sandbox.url}/_sandbox/", data={"channel": "wechat", "out_trade_no": number, "deed": "pay"}
    )

    assert page.status_code == 409
    assert "this trade is closed" in page.text


def test_switch_puts_its_faults_in_force_and_shows_it(sandbox):
    page = switch(sandbox, preset="lose")

    assert sandbox.http.get(f"{sandbox.url}/_sandbox/faults").json()["notify"] == {"drop": 1}
    assert 'value="lose" aria-pressed="true"' in page.text
    assert "In force: drop 1." in html.unescape(page.text)
    assert "Everything goes well." in switch(sandbox, preset="clear").text


def switch(sandbox, **form):
    return sandbox.http.post(f"{sandbox.url}/_sandbox/switches", data=form)


def test_rates_seed_and_script_can_be_typed(sandbox):
    script = '[{"channel": "wechat", "operation": "query", "when": "after", "what": "reset"}]'

    switch(
        sandbox,
        **{"seed": "7", "api.garbage": "0.5", "notify.delay_s": "3", "notify.drop": "0", "script": script},
    )

    plan = sandbox.http.get(f"{sandbox.url}/_sandbox/faults").json()
    assert (plan["seed"], plan["api"], plan["notify"]) == (7, {"garbage": 0.5}, {"delay_s": 3})
    assert plan["script"][0]["what"] == "reset"


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"api.garbage": "2"}, "api.garbage"),
        ({"api.garbage": "often"}, "api.garbage"),
        ({"seed": "x"}, "seed"),
        ({"script": "{"}, "script"),
        ({"script": "[1]"}, "script[0]"),
    ],
    ids=repr,
)
def test_wrong_switch_is_named_and_changes_nothing(sandbox, form, field):
    switch(sandbox, preset="double")

    page = switch(sandbox, **form)

    assert page.status_code == 400
    assert field in page.text
    assert sandbox.http.get(f"{sandbox.url}/_sandbox/faults").json()["notify"] == {"duplicate": 1}


def test_switch_that_is_none_changes_nothing(sandbox):
    switch(sandbox, preset="double")

    assert switch(sandbox, preset="explode").status_code == 400
    assert sandbox.http.get(f"{sandbox.url}/_sandbox/faults").json()["notify"] == {"duplicate": 1}


def test_desk_without_trades_says_so(own_sandbox):
    assert "No trades yet" in desk(own_sandbox()).text


def test_numbers_that_do_not_exist_make_no_page(sandbox):
    page = sandbox.http.post(
        f"{sandbox.url}/_sandbox/", data={"channel": "wechat", "out_trade_no": make_number(), "deed": "pay"}
    )

    assert page.status_code == 404
