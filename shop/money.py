"""Money as integers in the currency's minor unit (fen, cent, centavo).

Only here do minor units become decimal strings, for a channel's protocol or a person's eyes. Floats never touch money.
"""

from decimal import Decimal, InvalidOperation
from functools import cache

from babel.numbers import NumberPattern, format_decimal, parse_pattern

from shop import languages

# What we sell in. A channel may report money of any other.
CURRENCIES = ("CNY", "BRL", "USD")
SYMBOLS = {"CNY": "¥", "BRL": "R$", "USD": "$"}
# Where a sign is ambiguous to the readers of a language.
LOCAL_SYMBOLS = {"zh-hans": {"USD": "US$"}}
# Currencies whose decimals are not two, by ISO 4217.
WHOLE = frozenset({
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF",
})  # fmt: skip
THOUSANDTHS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})


def places_of(currency: str) -> int:
    """How many decimals amounts of a currency have; two where we know nothing of it."""
    if currency in WHOLE:
        return 0
    return 3 if currency in THOUSANDTHS else 2


def symbol_of(currency: str) -> str:
    """What stands before an amount: "¥", or the code of a currency that we do not sell in."""
    local = LOCAL_SYMBOLS.get(languages.current(), {})
    return local.get(currency) or SYMBOLS.get(currency, f"{currency} ".lstrip())


def to_decimal_string(amount_minor: int, currency: str) -> str:
    """12900, "CNY" → "129.00": the plain form that channels' protocols want."""
    places = places_of(currency)
    return f"{Decimal(amount_minor).scaleb(-places):.{places}f}"


def from_decimal_string(text: str, currency: str) -> int:
    """ "129.00", "CNY" → 12900. Raises ValueError for anything that is not a whole number of minor units."""
    try:
        scaled = Decimal(text) * 10 ** places_of(currency)
    except InvalidOperation as error:
        raise ValueError(f"not an amount: {text!r}") from error
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise ValueError(f"not a whole number of minor units: {text!r}")
    return int(scaled)


def for_people(amount_minor: int, currency: str) -> str:
    """12900, "CNY" → "¥129.00"; 123456, "USD" → "$1,234.56"; 700, "EUR" → "EUR 7.00": in the language spoken now."""
    major = Decimal(amount_minor).scaleb(-places_of(currency))
    figures = format_decimal(major, _pattern(places_of(currency)), locale=languages.locale())
    return f"{symbol_of(currency)}{figures}"


@cache
def _pattern(places: int) -> NumberPattern:
    return parse_pattern(f"#,##0.{'0' * places}".rstrip("."))
