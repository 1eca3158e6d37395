"""The demo's goods: made once, never reset."""

from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command

from orders.models import Product
from shop.money import CURRENCIES

pytestmark = pytest.mark.django_db


def load() -> str:
    out = StringIO()
    call_command("load_catalogue", stdout=out)
    return out.getvalue()


def test_goods_come_in_every_currency_and_each_has_its_drawing():
    assert "9 products created" in load()
    assert set(Product.objects.values_list("currency", flat=True)) == set(CURRENCIES)
    for product in Product.objects.all():
        product.full_clean()
        assert (settings.BASE_DIR / "static" / "art" / f"{product.picture}.svg").is_file()


def test_loading_again_keeps_price_and_stock_and_brings_back_what_is_missing():
    load()
    Product.objects.filter(sku="longjing-tea").update(price=1, stock=3)
    Product.objects.filter(sku="celadon-cup").delete()
    assert "1 products created, 8 were there already" in load()
    tea = Product.objects.get(sku="longjing-tea")
    assert (tea.price, tea.stock) == (1, 3)
    assert Product.objects.count() == 9
