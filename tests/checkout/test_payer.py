"""A channel that asks who pays: its fields, what is wrong with them, and what becomes of what was typed."""

import re
from typing import Any

import pytest
from django.test import Client

from payments.channels.base import BadPayer
from payments.errors import PaymentConfirming
from payments.models import Payment
from payments.moves import mark_unsure
from shop.checkout import paying
from shop.checkout.forms import ASKED, PayerForm
from tests.checkout.conftest import ADDRESS, BOLETO, PAYPAL, WECHAT, Offered, own
from tests.factories import make_order, make_payment

pytestmark = pytest.mark.django_db(transaction=True)

WISH = {"channel": "boleto", "scene": "voucher"}
PAYER = {
    "tax_id": "529.982.247-25",
    "address.line1": "Rua A 1",
    "address.city": "Recife",
    "address.state": "PE",
}


@pytest.fixture
def path(shopper: Client, offer) -> str:
    offer(WECHAT, PAYPAL, BOLETO)
    return f"{own(shopper, make_order())}pay/"


@pytest.fixture
def asked(monkeypatch) -> list[dict[str, Any]]:
    """What the pages apply for, which then waits for an earlier payment."""
    calls: list[dict[str, Any]] = []

    def apply(number: str, **wish: Any) -> None:
        calls.append(wish)
        raise PaymentConfirming(number, retry_after_s=5)

    monkeypatch.setattr(paying, "apply_for_payment", apply)
    return calls


def text(answer: Any) -> str:
    return str(answer.content.decode())


def test_choosing_it_shows_its_fields_and_starts_nothing(shopper, path):
    page = text(shopper.get(path))
    link = re.search(r'href="([^"]+channel=boleto[^"]+)"', page)
    assert link
    shown = shopper.get(link[1].replace("&amp;", "&"))
    for field in BOLETO.payer_fields:
        assert f'name="{field}"' in text(shown)
    assert 'name="address.postal_code"' not in text(shown), "this one does not ask for it"
    assert "http-equiv" not in text(shown)
    assert not Payment.objects.exists()


def test_other_methods_are_asked_nothing(shopper, path):
    assert 'name="tax_id"' not in text(shopper.get(f"{path}?choose&channel=paypal&scene=page"))


@pytest.mark.parametrize("missing", PAYER)
def test_missing_field_is_named_beside_it_and_what_was_typed_stays(shopper, path, asked, missing):
    answer = shopper.post(path, WISH | PAYER | {missing: " "})
    page = text(answer)
    assert answer.status_code == 400
    assert f'id="id_{missing}_error"' in page
    assert page.count("_error") - page.count("aria-describedby") == 1
    assert all(f'value="{value}"' in page for name, value in PAYER.items() if name != missing)
    assert asked == []


def test_state_is_one_of_brazils(shopper, path, asked):
    assert shopper.post(path, WISH | PAYER | {"address.state": "XX"}).status_code == 400
    assert asked == []


def test_what_was_typed_goes_to_the_channel_with_the_address_of_the_network(shopper, path, asked):
    shopper.post(path, WISH | PAYER)
    address = {"line1": "Rua A 1", "city": "Recife", "state": "PE"}
    assert asked[0]["payer"] == {"ip": ADDRESS, "tax_id": "529.982.247-25", "address": address}


def test_channel_that_asks_nothing_gets_the_address_of_the_network_only(shopper, path, asked):
    shopper.post(path, {"channel": "wechat", "scene": "qr", "tax_id": "1"})
    assert asked[0]["payer"] == {"ip": ADDRESS}


def test_what_the_channel_finds_wrong_is_said_beside_the_field(shopper, path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise BadPayer("tax_id", "This CPF has a wrong digit.")

    monkeypatch.setattr(paying, "apply_for_payment", refuse)
    answer = shopper.post(path, WISH | PAYER)
    assert answer.status_code == 400
    assert '<p class="wrong" id="id_tax_id_error">This CPF has a wrong digit.</p>' in text(answer)
    assert 'value="Recife"' in text(answer)


def test_what_the_channel_finds_wrong_without_a_field_of_ours_is_said_on_top(shopper, path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise BadPayer("ip", "The address of the network is needed.")

    monkeypatch.setattr(paying, "apply_for_payment", refuse)
    answer = shopper.post(path, {"channel": "wechat", "scene": "qr"})
    assert answer.status_code == 400
    assert "The address of the network is needed." in text(answer)


def test_held_up_form_keeps_what_was_typed_and_is_not_sent_again_by_itself(shopper, path, asked):
    payment = make_payment(paying.Order.objects.get(), channel="paypal", scene="page")
    mark_unsure(payment)
    answer = shopper.post(path, WISH | PAYER)
    page = text(answer)
    assert answer.status_code == 409
    assert "We are checking your earlier payment first" in page
    assert 'value="Recife"' in page
    assert 'id="wanted"' not in page
    assert "http-equiv" not in page, "a refresh would empty the fields"


def test_tax_number_is_in_no_address(shopper, path, asked):
    mark_unsure(make_payment(paying.Order.objects.get(), channel="paypal", scene="page"))
    page = text(shopper.post(path, WISH | PAYER))
    assert all("529" not in address for address in re.findall(r'(?:href|action|data-page)="([^"]*)"', page))


def test_open_payment_may_be_changed_for_one_that_asks(shopper, path):
    make_payment(paying.Order.objects.get(), channel="paypal", scene="page")
    page = text(shopper.get(f"{path}?choose&channel=boleto&scene=voucher"))
    assert 'name="tax_id"' in page


def test_field_of_a_channel_to_come_is_asked_by_its_path(shopper, offer):
    offer(Offered("boleto", "voucher", payer_fields=("address.district",)))
    path = f"{own(shopper, make_order())}pay/"
    assert 'name="address.district"' in text(shopper.get(f"{path}?channel=boleto&scene=voucher"))


def test_every_known_field_can_be_asked_and_given_back():
    values = dict.fromkeys(ASKED, "PE")
    form = PayerForm(tuple(ASKED), values)
    assert form.is_valid(), form.errors
    assert form.payer["address"]["country"] == "BR", "whatever was sent"
    assert set(form.payer["address"]) == {"line1", "city", "state", "postal_code", "country"}
