"""PayPal's webhooks as calls about them: verifying one by postback, listing what was sent, sending it again.

An event keeps its id over all tries and resendings. Source: PayPal's REST reference of Webhooks v1.
"""

import re
from typing import Any

from werkzeug import Request

from payments.sandbox.fields import BadField, read_text
from payments.sandbox.paypal_documents import to_json, write_time
from payments.sandbox.paypal_reading import cut_out, missing, read_document
from payments.sandbox.paypal_seals import PayPalKeys
from payments.sandbox.records import Notice, Refund
from payments.sandbox.side import Message, Reply, Side

_ASKED = ("auth_algo", "cert_url", "transmission_id", "transmission_sig", "transmission_time", "webhook_id")


class Webhooks:
    """The events of one app; what they say is its side's to describe."""

    def __init__(self, side: Side, keys: PayPalKeys) -> None:
        self._side, self._ledger, self._keys = side, side.ledger, keys

    def verify(self, request: Request) -> Reply:
        """Whether an event that the merchant has received is ours. Raises BadField or Refused."""
        asked = read_document(request)
        for name in _ASKED:
            read_text(asked, name, longest=500)
        if not isinstance(asked.get("webhook_event"), dict):
            raise BadField("webhook_event", "is required")
        is_sealed = self._keys.is_sealed(asked, cut_out(request.get_data(), "webhook_event"))
        return Reply(200, {"verification_status": "SUCCESS" if is_sealed else "FAILURE"})

    def list_events(self) -> Reply:
        """What was announced about the newest orders."""
        events = [
            self._describe(notice)
            for trade in self._ledger.list_trades(channel=self._side.name, newest=100)
            if trade.part == 1
            for notice in self._ledger.list_notices(self._side.name, trade.out_trade_no)
        ]
        return Reply(200, {"events": events, "count": len(events), "links": []})

    def resend(self, event_id: str) -> Reply:
        """Announce an event once more under its id. Raises Refused."""
        for trade in self._ledger.list_trades(channel=self._side.name):
            for notice in self._ledger.list_notices(self._side.name, trade.out_trade_no):
                if _find_id(notice) == event_id:
                    kind = notice.event.partition(" ")[0]
                    told = self._ledger.get_trade(notice.trade_id)
                    self._ledger.announce(told, f"{kind} {event_id}", self._find_refund(notice))
                    return Reply(202, self._describe(notice))
        raise missing()

    def compose(self, notice: Notice, document: dict[str, Any] | bytes, *, is_forged: bool) -> Message:
        """An event, transmitted anew at every try under the same event id."""
        body = document if isinstance(document, bytes) else to_json(_wrap(notice, document))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "PayPal/AUHD-214.0-58",
            "Connection": "close",
        }
        return Message(notice.url, headers | self._keys.seal(body, is_forged=is_forged), body)

    def _describe(self, notice: Notice) -> dict[str, Any]:
        trade = self._ledger.get_trade(notice.trade_id)
        return _wrap(notice, self._side.describe_notice(trade, self._find_refund(notice), notice.event))

    def _find_refund(self, notice: Notice) -> Refund | None:
        return None if notice.refund_id is None else self._ledger.get_refund(notice.refund_id)


def _wrap(notice: Notice, document: dict[str, Any]) -> dict[str, Any]:
    return {"id": _find_id(notice), "create_time": write_time(notice.created_at), **document, "links": []}


def _find_id(notice: Notice) -> str:
    """An event that was sent again by a call keeps its id."""
    told = notice.event.partition(" ")[2]
    return told or "WH-" + re.sub("[^0-9A-Z]", "", notice.id.upper())
