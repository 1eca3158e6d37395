"""What goods are called: in the language of whoever reads, as long as it is still the same thing."""

import pytest

from orders.models import OrderLine, Product
from shop.languages import speaking

CODES = ("en", "zh-hans")


def line(name: str, **product: str) -> OrderLine:
    names = {"name": "Longjing tea", "name_zh_hans": "龙井茶"} | product
    return OrderLine(name=name, product=Product(**names))


def told(line: OrderLine) -> list[str]:
    names = []
    for code in CODES:
        with speaking(code):
            names.append(line.local_name)
    return names


@pytest.mark.parametrize("placed_as", ["Longjing tea", "龙井茶"])
def test_line_is_read_in_either_language_whichever_it_was_placed_in(placed_as):
    assert told(line(placed_as)) == ["Longjing tea", "龙井茶"]


def test_product_that_was_renamed_since_keeps_the_name_of_the_day():
    assert told(line("Green tea")) == ["Green tea", "Green tea"]


def test_product_without_a_chinese_name_is_read_in_english():
    assert told(line("Longjing tea", name_zh_hans="")) == ["Longjing tea", "Longjing tea"]
