"""README's table of channels says what the adapters say of themselves."""

from pathlib import Path
from typing import Any

import pytest

from payments.channels.base import Channel, Repeat, Scene
from payments.channels.registry import CLASSES, get_channel
from shop.money import for_people

README = Path(__file__).resolve().parents[3] / "README.md"
HEAD = "| channel | takes | scenes | create without an answer | close | money moves | refund | callback | asked at most | statement |"


def tell(channel: Channel) -> str:
    """One row of the table."""
    takes = "; ".join(
        f"{for_people(limits.least, currency)} to {for_people(limits.most, currency)}"
        for currency, limits in channel.limits.items()
    )
    columns = [
        f"{channel.title} `{channel.name}`",
        takes,
        ", ".join(f"`{scene}`" for scene in Scene if scene in channel.scenes()),
        "sent again under its number" if channel.repeat is Repeat.SAME_NUMBER else "asked, then a new number",
        "by us" if channel.can_close else "not before it expires",
        "by our capture" if channel.needs_capture else "when the shopper pays",
        "by us" if channel.can_refund else "by hand, as a case",
        "confirmed by a query" if channel.confirms_callbacks_by_query else "believed when signed",
        f"every {channel.query_every_s // 60} min" if channel.query_every_s else "by the schedule",
        "daily" if channel.has_statement else "none",
    ]
    return f"| {' | '.join(columns)} |"


@pytest.mark.django_db
def test_readme_shows_every_channel_as_its_adapter_describes_itself(every_channel: Any):
    rows = [tell(get_channel(name)) for name in CLASSES]
    expected = "\n".join([HEAD, "| --- " * HEAD.count(" | ") + "| --- |", *rows])
    assert expected in README.read_text(), f"README should say:\n{expected}"
