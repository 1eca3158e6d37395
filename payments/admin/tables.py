"""Small tables inside a page: what stands around a row and is no part of it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Model
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from payments.models import Call, StaffAction
from shop.admin import mood_word

NOTHING = SafeString("–")
# More than anybody reads; the lists show all of them.
MOST_ROWS = 200


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> SafeString:
    """A table that scrolls sideways in its own box on a phone; a dash for no rows."""
    body = format_html_join(
        "", "<tr>{}</tr>", ((format_html_join("", "<td>{}</td>", zip(row)),) for row in rows)
    )
    if not body:
        return NOTHING
    titles = format_html_join("", '<th scope="col">{}</th>', ((title,) for title in head))
    return format_html(
        '<div class="facts"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>', titles, body
    )


def facts(pairs: Mapping[str, Any]) -> SafeString:
    """Names and values; a dash for none."""
    lines = format_html_join("", "<div><dt>{}</dt><dd>{}</dd></div>", pairs.items())
    return format_html('<dl class="facts">{}</dl>', lines) if lines else NOTHING


def moment(at: datetime | None) -> str:
    """A time in the shop's zone, to the second."""
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S}" if at else ""


def link_to(row: Model | None) -> SafeString | str:
    """The row's page."""
    if row is None:
        return "–"
    url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', url, row)


def calls_about(order_number: str, subject: str) -> SafeString:
    """What the channel was asked about it, and what it said."""
    calls = Call.objects.filter(order_number=order_number, subject=subject).order_by("-id")[:MOST_ROWS]
    return table(
        (
            gettext("when"),
            gettext("what"),
            gettext("answer"),
            gettext("code"),
            gettext("took"),
            gettext("why"),
        ),
        (
            (
                moment(call.at),
                gettext(call.operation),
                gettext(call.outcome),
                call.code,
                f"{call.took_ms} ms",
                call.get_source_display().lower(),
            )
            for call in calls
        ),
    )


def actions_on(order_number: str, subject: str) -> SafeString:
    """What staff did to it."""
    done = StaffAction.objects.filter(order_number=order_number, subject=subject).order_by("-id")[:MOST_ROWS]
    return table(
        (
            gettext("when"),
            gettext("who"),
            gettext("what"),
            gettext("why"),
            gettext("what came of it"),
        ),
        (
            (
                moment(action.at),
                action.actor,
                gettext(action.action.replace("_", " ")),
                action.reason,
                action.result
                if action.is_done
                else format_html("{} {}", mood_word("FAILED", gettext("refused:")), action.result),
            )
            for action in done
        ),
    )


def may_see_raw(user: User | AnonymousUser) -> bool:
    """Whether messages may be shown to this person as they came."""
    return user.has_perm("payments.view_raw_callback")
