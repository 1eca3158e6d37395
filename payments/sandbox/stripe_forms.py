"""Stripe's requests: names with brackets, and the strict reading of what an intent of a boleto is made of.

A parameter is known by its full name, `payment_method_data[boleto][tax_id]`; a list comes with indexes or with `[]`. A
wrong one raises `BadParameter` with Stripe's own code; nothing is repaired.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from werkzeug import Request

from payments.sandbox.clock import SECOND_US

Form = dict[str, str]

_NAME = re.compile(r"[a-z_]+(\[[^\[\]]*\])*")
_CONFIRM = {
    *("receipt_email", "payment_method_data[type]", "payment_method_data[boleto][tax_id]"),
    *(f"payment_method_data[billing_details][{name}]" for name in ("name", "email", "phone")),
    *(
        f"payment_method_data[billing_details][address][{name}]"
        for name in ("line1", "line2", "city", "state", "postal_code", "country")
    ),
    "payment_method_options[boleto][expires_after_days]",
}
_CREATE = _CONFIRM | {
    *("amount", "currency", "confirm", "description", "capture_method", "payment_method_types[0]")
}
_STATE = re.compile("A[CLMP]|BA|CE|DF|ES|GO|M[AGST]|P[ABEIR]|R[JNORS]|S[CEP]|TO")
_LEAST, _MOST = 500, 4_999_999  # centavos
_MAX_DAYS = 60
_MAX_KEY = 255
FOREVER_US = 2**62
CREATED = ("created[gt]", "created[gte]", "created[lt]", "created[lte]")
PAGING = ("limit", "starting_after")
_PERSON = "payment_method_data[billing_details]"
_ADDRESS = f"{_PERSON}[address]"
_DAYS = "payment_method_options[boleto][expires_after_days]"
_TAX_ID = "payment_method_data[boleto][tax_id]"


class BadParameter(Exception):
    """A parameter is missing or cannot be; `code` and `param` as Stripe tells them."""

    def __init__(self, code: str, param: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


@dataclass(frozen=True)
class Wish:
    """What a create asks for, once it is right."""

    amount: int
    email: str
    days: int
    description: str
    metadata: dict[str, str]
    is_confirmed: bool


def parse_form(raw: bytes) -> Form:
    """The parameters of a body or a query by their full names; `[]` becomes an index."""
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=500, errors="strict")
    except ValueError as error:
        raise BadParameter("parameter_invalid_empty", "", "the form cannot be read") from error
    seen: Counter[str] = Counter()
    form: Form = {}
    for name, value in pairs:
        if not _NAME.fullmatch(name):
            raise _unknown(name)
        full = name
        if name.endswith("[]"):
            full = f"{name[:-2]}[{seen[name]}]"
            seen[name] += 1
        if full in form:
            raise BadParameter("parameter_invalid_empty", name, f"{name} is given twice")
        form[full] = value
    return form


def read_body(request: Request) -> Form:
    """The form of a POST. Raises BadParameter."""
    if request.get_data() and request.mimetype != "application/x-www-form-urlencoded":
        raise BadParameter("parameter_invalid_empty", "", "the body must be a form")
    if request.query_string:
        raise BadParameter("parameter_unknown", "", "a POST has its parameters in the body")
    return parse_form(request.get_data())


def read_query(request: Request, known: Sequence[str], *, expandable: Sequence[str] = ()) -> Form:
    """The parameters of a GET. Raises BadParameter."""
    form = parse_form(request.query_string)
    check_names(form, known, expandable=expandable)
    return form


def read_key(request: Request) -> str:
    """The key of an idempotent request, empty where there is none. Raises BadParameter."""
    key: str = request.headers.get("Idempotency-Key", "")
    if len(key) > _MAX_KEY:
        raise BadParameter("parameter_invalid_empty", "", f"Idempotency-Key has {_MAX_KEY} signs at most")
    return key


def read_window(form: Form) -> tuple[int, int]:
    """From when to before when, in microseconds."""
    told = {name[8:-1]: read_number(form, name, least=0, most=2**33) for name in CREATED if name in form}
    start = max(told.get("gte", 0), told["gt"] + 1 if "gt" in told else 0)
    end = min(told.get("lt", FOREVER_US), told["lte"] + 1 if "lte" in told else FOREVER_US)
    return start * SECOND_US, end * SECOND_US if end < FOREVER_US else end


def cut_page(found: list[dict[str, Any]], form: Form, url: str) -> dict[str, Any]:
    """The part of a list, newest first, that follows the cursor."""
    limit = read_number(form, "limit", least=1, most=100) if "limit" in form else 10
    cursor = form.get("starting_after")
    if cursor is not None:
        places = [place for place, one in enumerate(found) if one["id"] == cursor]
        if not places:
            raise BadParameter("resource_missing", "starting_after", f"No such object: '{cursor}'")
        found = found[places[-1] + 1 :]
    return {"object": "list", "url": url, "has_more": len(found) > limit, "data": found[:limit]}


def check_names(form: Form, known: Collection[str], *, expandable: Collection[str] = ()) -> None:
    """Refuse a parameter that is not known, and an expansion that the object does not have."""
    for name, value in form.items():
        if re.fullmatch(r"expand\[[0-9]+\]", name):
            if value not in expandable:
                raise BadParameter("parameter_unknown", name, f"This property cannot be expanded ({value}).")
        elif name not in known:
            raise _unknown(name)


def read_create(form: Form) -> Wish:
    """What a create asks for; confirmed in the same step it needs the whole payment method. Raises BadParameter."""
    metadata = _read_metadata(form)
    named = {f"metadata[{name}]" for name in metadata}
    check_names({n: v for n, v in form.items() if n not in named}, _CREATE, expandable=("latest_charge",))
    amount = read_number(form, "amount", least=1)
    if amount < _LEAST:
        raise BadParameter("amount_too_small", "amount", "Amount must be at least R$5.00 brl")
    if amount > _MOST:
        raise BadParameter("amount_too_large", "amount", "Amount must be no more than R$49,999.99 brl")
    _require_word(form, "currency", "brl")
    _require_word(form, "payment_method_types[0]", "boleto")
    if form.get("confirm", "false") not in ("true", "false"):
        raise BadParameter("parameter_invalid_empty", "confirm", "Invalid boolean")
    is_confirmed = form.get("confirm") == "true"
    if form.get("capture_method", "automatic") not in ("automatic", "automatic_async"):
        raise BadParameter(
            "payment_intent_invalid_parameter", "capture_method", "a boleto is captured by itself"
        )
    if is_confirmed or has_method(form):
        _require_word(form, "payment_method_data[type]", "boleto")
        _check_person(form)
    days = read_number(form, _DAYS, least=0, most=_MAX_DAYS) if _DAYS in form else 3
    email, description = form.get(f"{_PERSON}[email]", ""), form.get("description", "")
    return Wish(amount, email, days, description, metadata, is_confirmed)


def join_confirm(created: Form, form: Form) -> Form:
    """What a create and its later confirmation ask for together; a method that is given anew takes the old one's place.

    Raises BadParameter.
    """
    check_names(form, _CONFIRM, expandable=("latest_charge",))
    kept = {name: value for name, value in created.items() if not (_is_of_method(name) and has_method(form))}
    return kept | form | {"confirm": "true"}


def has_method(form: Form) -> bool:
    """Whether a payment method is told."""
    return any(map(_is_of_method, form))


def _is_of_method(name: str) -> bool:
    return name.startswith("payment_method_data[")


def read_number(form: Form, name: str, *, least: int, most: int = 2**31 - 1) -> int:
    """A required whole number in decimal digits."""
    text = _require(form, name)
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise BadParameter("parameter_invalid_integer", name, f"Invalid integer: {text}")
    if not least <= int(text) <= most:
        raise BadParameter("parameter_invalid_integer", name, f"{name} must be from {least} to {most}")
    return int(text)


def _check_person(form: Form) -> None:
    for name in (f"{_PERSON}[name]", f"{_PERSON}[email]", _TAX_ID):
        _require(form, name)
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", form[f"{_PERSON}[email]"]):
        raise BadParameter("email_invalid", f"{_PERSON}[email]", "Invalid email address")
    for name in ("line1", "city", "state", "postal_code", "country"):
        _require(form, f"{_ADDRESS}[{name}]")
    if form[f"{_ADDRESS}[country]"] != "BR":
        raise BadParameter("country_code_invalid", f"{_ADDRESS}[country]", "a boleto needs BR")
    if not _STATE.fullmatch(form[f"{_ADDRESS}[state]"]):
        raise BadParameter("state_unsupported", f"{_ADDRESS}[state]", "no state of Brazil")
    if not re.fullmatch(r"[0-9]{5}-?[0-9]{3}", form[f"{_ADDRESS}[postal_code]"]):
        raise BadParameter("postal_code_invalid", f"{_ADDRESS}[postal_code]", "no postal code of Brazil")
    if not is_tax_id(form[_TAX_ID]):
        raise BadParameter("tax_id_invalid", _TAX_ID, "no CPF or CNPJ")


def is_tax_id(text: str) -> bool:
    """A CPF (11 digits) or CNPJ (14), with or without punctuation, whose two check digits are right."""
    if re.fullmatch(r"\d{3}\.\d{3}\.\d{3}-\d{2}|\d{11}", text, re.ASCII):
        weights = list(range(10, 1, -1))
    elif re.fullmatch(r"\d{2}\.\d{3}\.\d{3}/\d{4}-\d{2}|\d{14}", text, re.ASCII):
        weights = [5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]
    else:
        return False
    digits = [int(sign) for sign in text if sign.isdigit()]
    for length in (len(digits) - 2, len(digits) - 1):
        rest = sum(d * w for d, w in zip(digits[:length], weights, strict=True)) % 11
        if digits[length] != (0 if rest < 2 else 11 - rest):
            return False
        weights = [weights[0] + 1, *weights]
    return True


def _read_metadata(form: Form) -> dict[str, str]:
    found = {}
    for name, value in form.items():
        match = re.fullmatch(r"metadata\[([^\[\]]*)\]", name)
        if match is None:
            continue
        if not 1 <= len(match[1]) <= 40 or len(value) > 500:
            raise BadParameter("parameter_invalid_empty", name, "metadata: names to 40, values to 500 signs")
        found[match[1]] = value
    if len(found) > 50:
        raise BadParameter("parameter_invalid_empty", "metadata", "metadata holds 50 values at most")
    return found


def _require(form: Form, name: str) -> str:
    if name not in form:
        raise BadParameter("parameter_missing", name, f"Missing required param: {name}.")
    if not form[name].strip():
        raise BadParameter("parameter_invalid_empty", name, f"You passed an empty string for '{name}'.")
    return form[name]


def _require_word(form: Form, name: str, word: str) -> None:
    if _require(form, name) != word:
        raise BadParameter("payment_intent_invalid_parameter", name, f"{name} must be {word} here")


def _unknown(name: str) -> BadParameter:
    return BadParameter("parameter_unknown", name, f"Received unknown parameter: {name}")
