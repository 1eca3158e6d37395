"""PayPal's own SDK as an independent party: what we send it would have sent, what it understands we understand alike."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

from paypalserversdk.api_helper import APIHelper
from paypalserversdk.models.capture_status import CaptureStatus
from paypalserversdk.models.order import Order
from paypalserversdk.models.order_request import OrderRequest
from paypalserversdk.models.order_status import OrderStatus
from paypalserversdk.models.refund import Refund
from paypalserversdk.models.refund_request import RefundRequest
from paypalserversdk.models.refund_status import RefundStatus
from paypalserversdk.models.search_response import SearchResponse

from payments.channels.paypal_reading import CAPTURE_STATUSES, ORDER_STATUSES, REFUND_STATUSES
from payments.channels.paypal_statement import read_statement, write_statement

from .party import reply
from .paypal_party import (
    ATTEMPT,
    CREATED,
    MERCHANT_ID,
    REFUND,
    ScriptedWire,
    capture,
    info,
    make_paypal,
    order,
    page,
    refund,
    refund_info,
)


def words_of(enum: type) -> set[str]:
    return {value for name, value in vars(enum).items() if name.isupper()}


def test_our_tables_know_every_status_that_the_sdk_knows():
    assert words_of(OrderStatus) == {*ORDER_STATUSES, "COMPLETED"}
    assert words_of(CaptureStatus) == set(CAPTURE_STATUSES)
    assert words_of(RefundStatus) == set(REFUND_STATUSES)


def read_and_written(model: Any, document: Any) -> Any:
    """What is left of a document when the SDK has read it and written it again."""
    return json.loads(APIHelper.json_serialize(model.from_dictionary(document)))


def test_our_order_is_one_that_the_sdk_would_send():
    wire = ScriptedWire(reply(200, CREATED))
    make_paypal(wire=wire).create(ATTEMPT)
    sent = json.loads(wire.sent[0]["body"])
    theirs = read_and_written(OrderRequest, sent)
    context = theirs["payment_source"]["paypal"]["experience_context"]
    # What it adds is only what PayPal does anyway when nothing is said.
    added = {name: context.pop(name) for name in ("contact_preference", "landing_page")}
    assert theirs == sent
    assert added == {"contact_preference": "NO_CONTACT_INFO", "landing_page": "NO_PREFERENCE"}


def test_our_refund_is_one_that_the_sdk_would_send():
    wire = ScriptedWire(reply(201, refund()))
    make_paypal(wire=wire).refund(REFUND)
    sent = json.loads(wire.sent[0]["body"])
    assert read_and_written(RefundRequest, sent) == sent


def test_order_is_read_alike():
    document = order("COMPLETED", capture())
    theirs, ours = Order.from_dictionary(document), make_paypal(reply(200, document)).query(ATTEMPT)
    [found] = theirs.purchase_units[0].payments.captures
    assert (found.id, found.status, found.invoice_id) == (ours.channel_number, ours.code, ours.number)
    assert (found.amount.value, found.amount.currency_code) == ("19.90", ours.currency)


def test_refund_is_read_alike():
    theirs, ours = Refund.from_dictionary(refund()), make_paypal(reply(200, refund())).query_refund(REFUND)
    assert (theirs.id, theirs.status, theirs.custom_id) == (ours.channel_number, ours.code, ours.number)


def test_transactions_are_read_alike():
    document = page(info(), refund_info())
    theirs = [one.transaction_info for one in SearchResponse.from_dictionary(document).transaction_details]
    file = BytesIO()
    write_statement(file, [document])
    file.seek(0)
    ours = list(read_statement(file, merchant_id=MERCHANT_ID))
    assert [one.transaction_id for one in theirs] == [one.channel_number for one in ours]
    assert [one.transaction_event_code for one in theirs] == [one.code for one in ours]
    assert [one.invoice_id for one in theirs] == [one.number for one in ours]
    assert theirs[1].paypal_reference_id == ours[1].trade_number
