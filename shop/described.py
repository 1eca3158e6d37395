"""The doors of the ground as the API's description tells of them: the events, and the description itself."""

from django.utils.translation import gettext_lazy as _

from shop.business import TYPES
from shop.feed import MOST, EventsView
from shop.openapi import ETAG, IF_NONE_MATCH, Answer, describe, in_query, number_in_query
from shop.schema import JSON, YAML, SchemaView

ORDER = "N7Q2M4X8K1V0R5TB"
EVENT = {
    "id": "V5K9R2T7X0M4C8Q1W6J3H0BD",
    "type": "order.paid",
    "position": 4711,
    "order": ORDER,
    "sequence": 2,
    "subject": ORDER,
    "at": "2026-11-22T12:03:21.000000+00:00",
    "data": {"status": "READY_FOR_SHIPMENT", "amount": 12900, "currency": "CNY", "version": 3},
}
PAGE = {
    "type": "object",
    "required": ["events", "next", "has_more", "oldest", "complete"],
    "properties": {
        "events": {"type": "array", "items": {"$ref": "#/components/schemas/Event"}},
        "next": {"type": "integer", "description": _("The `after` of the next request.")},
        "has_more": {"type": "boolean"},
        "oldest": {"type": ["integer", "null"], "description": _("The first position that is still kept.")},
        "complete": {"type": "boolean", "description": _("False: something behind `after` is kept no more.")},
    },
}
WHOLE = {"type": "integer", "minimum": 0}


def describe_doors() -> None:
    """Each door of the ground."""
    describe(
        EventsView,
        "get",
        name="readEvents",
        tag="events",
        summary=_("What has happened since you last asked"),
        text=_(
            "Oldest first, each event once. Keep `next`, and ask with it as `after`: whoever has read up to a position has read "
            "everything before it. The same events come by webhook."
        ),
        who=("events:read", "session"),
        takes=[
            in_query("after", WHOLE | {"maximum": 10**18 - 1}, _("The position you have read up to."), 0),
            in_query("limit", WHOLE | {"minimum": 1, "maximum": MOST}, _("At most so many: 100."), 100),
            in_query(
                "type",
                {"type": "string"},
                _("Of these types only, with commas between: %s") % ", ".join(TYPES),
                "order.paid",
            ),
            number_in_query("order", _("Of this order only."), ORDER),
        ],
        answers={
            200: Answer(
                shape=PAGE,
                means=_("Some events."),
                example={"events": [EVENT], "next": 4711, "has_more": False, "oldest": 1, "complete": True},
            )
        },
    )
    describe(
        SchemaView,
        "get",
        name="readSchema",
        tag="description",
        summary=_("This description"),
        who=("anybody",),
        takes=[
            in_query(
                "format", {"type": "string", "enum": ["json", "yaml"]}, _("JSON, if nothing is said."), "json"
            ),
            IF_NONE_MATCH,
        ],
        answers={
            200: Answer(
                shape={"type": "object"}, means=_("OpenAPI 3.1."), headers=[ETAG], media_types=(JSON, YAML)
            ),
            304: Answer(shape=None, means=_("The same as before.")),
        },
    )
