"""Money: integers inside, decimal strings outside, floats nowhere."""

import pytest

from shop.money import for_people, from_decimal_string, to_decimal_string


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0.00"), (1, "0.01"), (12900, "129.00"), (10**13, "100000000000.00")]
)
def test_minor_units_and_decimal_strings_are_the_same_amount(amount, text):
    assert to_decimal_string(amount, "CNY") == text
    assert from_decimal_string(text, "CNY") == amount


@pytest.mark.parametrize(("text", "currency", "minor"), [("7.00", "EUR", 700), ("1234", "JPY", 1234)])
def test_other_currencies_have_their_own_decimals(text, currency, minor):
    assert (to_decimal_string(minor, currency), from_decimal_string(text, currency)) == (text, minor)


@pytest.mark.parametrize("text", ["", "1.001", "NaN", "Infinity", "ten", "0x1"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match="not a"):
        from_decimal_string(text, "USD")


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (12900, "CNY", "¥129.00"),
        (123456, "USD", "$1,234.56"),
        (5, "BRL", "R$0.05"),
        (700, "EUR", "EUR 7.00"),
        (1234, "JPY", "JPY 1,234"),
        (1234, "KWD", "KWD 1.234"),
        (7, "XXX", "XXX 0.07"),
    ],
)
def test_people_see_the_symbol(amount, currency, text):
    assert for_people(amount, currency) == text
