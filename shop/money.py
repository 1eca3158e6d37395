"""Money as integers in the currency's minor unit (fen, cent, centavo).

Only here do minor units become decimal strings, for a channel's protocol or a person's eyes. Floats never touch money.
"""

from decimal import Decimal, InvalidOperation

CURRENCIES = ("CNY", "BRL", "USD")
MINOR_PER_MAJOR = {"CNY": 100, "BRL": 100, "USD": 100}
SYMBOLS = {"CNY": "¥", "BRL": "R$", "USD": "$"}


def to_decimal_string(amount_minor: int, currency: str) -> str:
    """12900, "CNY" → "129.00": the plain form that channels' protocols want."""
    places = len(str(MINOR_PER_MAJOR[currency])) - 1
    return f"{Decimal(amount_minor).scaleb(-places):.{places}f}"


def from_decimal_string(text: str, currency: str) -> int:
    """ "129.00", "CNY" → 12900. Raises ValueError for anything that is not a whole number of minor units."""
    try:
        scaled = Decimal(text) * MINOR_PER_MAJOR[currency]
    except InvalidOperation as error:
        raise ValueError(f"not an amount: {text!r}") from error
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise ValueError(f"not a whole number of minor units: {text!r}")
    return int(scaled)


def for_people(amount_minor: int, currency: str) -> str:
    """12900, "CNY" → "¥129.00"; 123456, "USD" → "$1,234.56"."""
    major = Decimal(to_decimal_string(amount_minor, currency))
    return f"{SYMBOLS[currency]}{major:,.2f}"
