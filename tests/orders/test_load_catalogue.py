"""The demo's goods: made once, never reset."""

import re
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command

from orders.models import Product
from shop.languages import speaking
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


def test_every_product_is_told_in_both_languages():
    load()
    for product in Product.objects.all():
        with speaking("zh-hans"):
            chinese = (product.local_name, product.local_description)
        assert all(re.search(r"[\u4e00-\u9fff]", text) for text in chinese)
        assert not re.search(r"[\u4e00-\u9fff]", product.local_name + product.local_description)


def test_product_of_an_english_shop_gets_its_chinese_words_and_keeps_its_own():
    load()
    Product.objects.filter(sku="longjing-tea").update(name_zh_hans="", description_zh_hans="")
    Product.objects.filter(sku="celadon-cup").update(name_zh_hans="杯子")
    load()
    assert Product.objects.get(sku="longjing-tea").name_zh_hans == "龙井茶"
    assert Product.objects.get(sku="celadon-cup").name_zh_hans == "杯子"
