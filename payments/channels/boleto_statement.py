"""The statement of a Stripe account: what is kept of its balance transactions, and the lines that it says.

It is a file of JSON lines, one for each booking as Stripe listed it, and a last one that counts them, without which a cut
file would look whole. Nothing here calls anybody.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO

from django.utils.translation import gettext_lazy as _

from .base import BadStatement, LineKind, StatementLine
from .fields import BadField, is_word, parse_json, read_minor, read_object, read_word

NUMBER_FIELD = "payment_number"  # in the metadata of an intent, which Stripe copies to its charge
# `payment` is a boleto's, `charge` a card's.
PAYMENT_TYPES = frozenset({"payment", "charge"})
# A boleto has no refund; but a bank may take a payment back.
BACK_TYPES = frozenset({"payment_refund", "refund", "payment_failure_refund", "payment_reversal"})
# What is of neither kind moves no shopper's money: payouts, fees, reserves.


def write_statement(into: BinaryIO, bookings: Iterable[Mapping[str, Any]]) -> None:
    """Write balance transactions with their sources expanded, and at last how many there are."""
    count = 0
    for booking in bookings:
        into.write(_to_line(_keep(booking)))
        count += 1
    into.write(_to_line({"bookings": count}))


def read_statement(file: BinaryIO) -> Iterator[StatementLine]:
    """The lines of a written statement, one at a time; those of other systems on the account have no number of ours.

    Raises BadStatement.
    """
    is_whole = False
    for before, raw in enumerate(file):
        if is_whole:
            raise BadStatement.in_line(before + 1, _("after the end"))
        try:
            booking = parse_json(raw)
            is_whole = "bookings" in booking
            line = None if is_whole else _read_booking(booking)
            if is_whole:
                _check_end(booking, before)
        except BadField as error:
            raise BadStatement.in_line(before + 1, error) from error
        if line is not None:
            yield line
    if not is_whole:
        raise BadStatement(_("the end is missing"))


def number_of(data: Mapping[str, Any]) -> str:
    """Our number in the metadata of an intent or a charge; "" where there is none."""
    metadata = data.get("metadata")
    return word_or_none(metadata, NUMBER_FIELD) if isinstance(metadata, dict) else ""


def word_or_none(data: Mapping[str, Any], name: str) -> str:
    """A word of the protocol, or "" for anything else."""
    value = data.get(name)
    return value if is_word(value) else ""


def read_seconds(data: Mapping[str, Any], name: str) -> datetime:
    """A moment in Unix seconds, of this century. Raises BadField."""
    value = data.get(name)
    if type(value) is not int or not 10**9 <= value < 2**32:
        raise BadField(name)
    return datetime.fromtimestamp(value, UTC)


def _keep(booking: Mapping[str, Any]) -> dict[str, Any]:
    """What of a booking is written down. The charge inside names the payer with tax id and address: not that."""
    names = ("id", "object", "type", "amount", "fee", "currency", "created")
    source = booking.get("source")
    charge = source if isinstance(source, dict) else {"id": source}
    return {name: booking.get(name) for name in names} | {
        "source": {
            "id": charge.get("id"),
            "payment_intent": charge.get("payment_intent"),
            "metadata": {NUMBER_FIELD: number_of(charge)},
        }
    }


def _to_line(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"


def _check_end(end: Mapping[str, Any], count: int) -> None:
    if end != {"bookings": count}:
        raise BadField("bookings")


def _read_booking(booking: Mapping[str, Any]) -> StatementLine | None:
    kind = read_word(booking, "type")
    if kind not in PAYMENT_TYPES | BACK_TYPES:
        return None
    is_payment = kind in PAYMENT_TYPES
    source = read_object(booking, "source")
    source_id, intent = read_word(source, "id"), word_or_none(source, "payment_intent")
    number = number_of(source)
    return StatementLine(
        kind=LineKind.PAYMENT if is_payment else LineKind.REFUND,
        number=number if is_payment else source_id,
        channel_number=(intent or source_id) if is_payment else source_id,
        amount_minor=_read_moved(booking, is_back=not is_payment),
        currency=read_word(booking, "currency", limit=3).upper(),
        fee_minor=_read_fee(booking),
        payment_number="" if is_payment else number,
        trade_number="" if is_payment else intent,
        at=read_seconds(booking, "created"),
        code=kind,
    )


def _read_moved(booking: Mapping[str, Any], *, is_back: bool) -> int:
    """The amount of a booking; what goes back stands there below 0."""
    amount = booking.get("amount")
    if type(amount) is not int:
        raise BadField("amount")
    return read_minor({"amount": -amount if is_back else amount}, "amount")


def _read_fee(booking: Mapping[str, Any]) -> int:
    fee = booking.get("fee")
    if type(fee) is not int or not -(2**63) < fee < 2**63:
        raise BadField("fee")
    return fee
