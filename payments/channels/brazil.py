"""What Brazil's payments are made of: taxpayer numbers, states, post codes, banking days, the two spellings of a slip.

Pure functions. Nothing here knows a provider, and no slip is refused for its check digits: test slips have none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

SAO_PAULO = ZoneInfo("America/Sao_Paulo")  # the time of Brazil's banks

STATES = frozenset(
    "AC AL AM AP BA CE DF ES GO MA MG MS MT PA PB PE PI PR RJ RN RO RR RS SC SE SP TO".split()  # noqa: SIM905
)
LINE = re.compile(r"[0-9]{47}")

_CPF = re.compile(r"[0-9]{3}\.?[0-9]{3}\.?[0-9]{3}-?[0-9]{2}")
_CNPJ = re.compile(r"[0-9]{2}\.?[0-9]{3}\.?[0-9]{3}/?[0-9]{4}-?[0-9]{2}")
_POST_CODE = re.compile(r"[0-9]{5}-?[0-9]{3}")
# What the digits before a check digit are multiplied by (Receita Federal): the first of them falls away for the first one.
_CPF_WEIGHTS = (11, 10, 9, 8, 7, 6, 5, 4, 3, 2)
_CNPJ_WEIGHTS = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)


def read_tax_id(text: str) -> str:
    """The digits of a CPF (11, a person) or a CNPJ (14, a company), or "" for what has the form of neither."""
    is_one = _CPF.fullmatch(text) or _CNPJ.fullmatch(text)
    return _digits(text) if is_one else ""


def is_tax_id(digits: str) -> bool:
    """Whether the two check digits fit. A row of one digit fits but is nobody's, and 0 is the number of tests."""
    weights = _CPF_WEIGHTS if len(digits) == 11 else _CNPJ_WEIGHTS
    if len(set(digits)) == 1 and digits[0] != "0":
        return False
    first = _check_digit(digits[:-2], weights[1:])
    return digits[-2:] == first + _check_digit(digits[:-2] + first, weights)


def read_post_code(text: str) -> str:
    """The eight digits of a post code (CEP), or "" for what is none."""
    return _digits(text) if _POST_CODE.fullmatch(text) else ""


def barcode_of(line: str) -> str:
    """The 44 digits of the bar code whose typing line (linha digitável, 47 digits) this is.

    FEBRABAN's layout: bank and currency, three parts of the free field with a check digit each, the general check digit,
    then due date and amount. Raises ValueError for anything but 47 digits.
    """
    if not LINE.fullmatch(line):
        raise ValueError("a typing line has 47 digits")
    bank, check, due_and_amount = line[:4], line[32], line[33:]
    return bank + check + due_and_amount + line[4:9] + line[10:20] + line[21:31]


def end_of_day(day: date) -> datetime:
    """The last second of a day in São Paulo."""
    return datetime.combine(day, time(23, 59, 59), tzinfo=SAO_PAULO).astimezone(UTC)


def add_weekdays(day: date, count: int) -> date:
    """The day that is so many Mondays to Fridays later, bank holidays not left out."""
    while count:
        day += timedelta(days=1)
        count -= day.weekday() < 5
    return day


def _digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", text)


def _check_digit(digits: str, weights: Sequence[int]) -> str:
    rest = sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True)) % 11
    return "0" if rest < 2 else str(11 - rest)
