"""PayPal's transaction search as a statement: the file of its pages, and the lines that they say.

One page of JSON on each line as PayPal gave it, and a last line that counts them, without which a cut file would look whole.
Nothing here calls anybody. Source: PayPal's REST reference of Transaction Search, and its table of transaction event codes
(developer.paypal.com, read November 2026).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from django.utils.translation import gettext_lazy as _

from shop.sentences import Words, say

from .base import BadStatement, LineKind, StatementLine
from .fields import BadField, parse_json, read_moment, read_object, read_word
from .paypal_reading import name_refund, number_of, read_money, read_objects, word_or_none

# S succeeded; V succeeded and was given back since, which is a line of its own. P and D moved no money. There are no others.
_MOVED, _UNMOVED = frozenset({"S", "V"}), frozenset({"P", "D"})
_PAYMENTS = "T00"
_BACK = ("T11", "T12")  # refunds (T1107), reversals by PayPal (T1106), chargebacks (T12..)
_HOLDS = frozenset({"T1110", "T1111"})  # for a dispute: set aside, not given back


class Pages:
    """The pages of one search, which come once each and in order, with as many transactions as the first one announces."""

    def __init__(self) -> None:
        self.page = 0
        self._last, self._items, self._seen = 1, 0, 0

    @property
    def are_through(self) -> bool:
        """Whether the last one has come. A search that finds nothing has one page all the same."""
        return self.page >= self._last

    def add(self, page: Mapping[str, Any]) -> None:
        """Raises BadField unless this page comes next."""
        number, last, items = (_read_count(page, name) for name in ("page", "total_pages", "total_items"))
        if self.page == 0:
            self._last, self._items = max(last, 1), items
        if number != self.page + 1 or max(last, 1) != self._last:
            raise BadField("page")
        # "Beginning with the specified page", says the reference, which may mean: without those of the pages before.
        if items not in (self._items, self._items - self._seen):
            raise BadField("total_items")
        self.page = number
        self._seen += len(read_objects(page, "transaction_details"))
        if self.are_through and self._seen != self._items:
            raise BadField("total_items")


def write_statement(into: BinaryIO, pages: Iterable[Mapping[str, Any]]) -> None:
    """Write the pages of every search of the day, and at last how many there are."""
    count = 0
    for page in pages:
        into.write(_to_line(page))
        count += 1
    into.write(_to_line({"pages": count}))


def read_statement(file: BinaryIO, *, merchant_id: str) -> Iterator[StatementLine]:
    """The lines of a written statement, page by page. Fees, transfers and holds are none.

    Raises BadStatement, also after the last line: only at the end it is known that nothing is missing.
    """
    is_whole, pages = False, Pages()
    for before, raw in enumerate(file):
        if is_whole:
            raise _bad(before + 1, _("after the end"))
        try:
            page = parse_json(raw)
            is_whole = "pages" in page
            if is_whole:
                _check_end(page, before, pages)
                continue
            if pages.are_through:  # a day of very many transactions is searched in parts
                pages = Pages()
            pages.add(page)
            lines = list(_read_page(page, merchant_id))
        except BadField as error:
            raise _bad(before + 1, error) from error
        yield from lines
    if not is_whole:
        raise BadStatement(_("the end is missing"))


def _bad(page: int, what: Words | Exception) -> BadStatement:
    return BadStatement(say(_("page %(page)d: %(what)s"), page=page, what=what))


def _to_line(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _check_end(end: Mapping[str, Any], count: int, pages: Pages) -> None:
    if end != {"pages": count} or not pages.are_through:
        raise BadField("pages")


def _read_count(page: Mapping[str, Any], name: str) -> int:
    count = page.get(name)
    if type(count) is not int or count < 0:
        raise BadField(name)
    return count


def _read_page(page: Mapping[str, Any], merchant_id: str) -> Iterator[StatementLine]:
    if page.get("account_number", merchant_id) != merchant_id:
        raise BadField(say(_("%(name)s of another merchant"), name="account_number"))
    for place, detail in enumerate(read_objects(page, "transaction_details"), start=1):
        try:
            line = _read_line(read_object(detail, "transaction_info"))
        except BadField as error:
            raise BadField(say(_("transaction %(place)d: %(what)s"), place=place, what=error)) from error
        if line is not None:
            yield line


def _read_line(info: Mapping[str, Any]) -> StatementLine | None:
    code = read_word(info, "transaction_event_code")
    amount_minor, currency = read_money(info, "transaction_amount")
    kind = _kind_of(code, amount_minor)
    if kind is None or not _has_moved(info):
        return None
    transaction_id = read_word(info, "transaction_id")
    number, payment_number = number_of({"custom_id": info.get("custom_field"), **info}), ""
    if kind is LineKind.REFUND:
        number, payment_number = name_refund(info, "custom_field", transaction_id)
    refers = kind is LineKind.REFUND and info.get("paypal_reference_id_type") == "TXN"
    return StatementLine(
        kind=kind,
        number=number,
        channel_number=transaction_id,
        amount_minor=abs(amount_minor),
        currency=currency,
        fee_minor=-read_money(info, "fee_amount")[0] if "fee_amount" in info else 0,
        payment_number=payment_number,
        trade_number=word_or_none(info, "paypal_reference_id") if refers else "",
        at=read_moment(info, "transaction_initiation_date"),
        code=code,
    )


def _has_moved(info: Mapping[str, Any]) -> bool:
    status = read_word(info, "transaction_status")
    if status not in _MOVED | _UNMOVED:
        raise BadField("transaction_status")
    return status in _MOVED


def _kind_of(code: str, amount_minor: int) -> LineKind | None:
    if code.startswith(_PAYMENTS) and amount_minor > 0:
        return LineKind.PAYMENT
    if code.startswith(_BACK) and code not in _HOLDS and amount_minor < 0:
        return LineKind.REFUND
    return None
