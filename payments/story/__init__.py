"""The story of one order for the back office: what happened, in one line of time; where its money stands; what comes next.

Read only, in a fixed number of statements. Nothing here decides anything, and nothing secret is told.
"""

from dataclasses import dataclass

from orders.models import Order
from payments.story.outlook import Outlook, tell_outlook
from payments.story.rows import MOST, Rows, read_rows
from payments.story.telling import StoryEntry, tell_entries

__all__ = ["MOST", "Outlook", "Rows", "Story", "StoryEntry", "read_story"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """`entries` in the order in which they happened, the newest `MOST`; `has_more` when there are older ones."""

    outlook: Outlook
    entries: list[StoryEntry]
    has_more: bool
    rows: Rows


def read_story(order: Order) -> Story:
    """Everything that happened to an order, and in words why it is or is not paid and what comes next."""
    rows = read_rows(order)
    entries = tell_entries(rows)
    return Story(outlook=tell_outlook(rows), entries=entries[-MOST:], has_more=len(entries) > MOST, rows=rows)
