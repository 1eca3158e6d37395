"""The words that the story's lines and its sentence share: moments, channels, and what a channel answered."""

from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from payments.channels.registry import title_of
from shop.money import for_people

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
# An alarm that is so late has nobody who comes for it.
OVERDUE_S = 60
JUST_NOW_S = 5

ANSWERS = {
    "succeeded": gettext_lazy("it succeeded"),
    "approved": gettext_lazy("the shopper has agreed, no money moved yet"),
    "open": gettext_lazy("not decided yet"),
    "closed": gettext_lazy("it is closed"),
    "refused": gettext_lazy("refused"),
    "not_found": gettext_lazy("not known there"),
    "unknown": gettext_lazy("no believable answer"),
    "unreachable": gettext_lazy("no connection, nothing was sent"),
    "error": gettext_lazy("our call failed"),
}
# Why money that pays nothing goes back: the reason that such a refund carries.
REASONS = {
    "paid twice": gettext_lazy("paid twice"),
    "paid after the order closed": gettext_lazy("paid after the order closed"),
}
# Whoever says one of these has not told us how it stands.
SILENT = frozenset({"unknown", "unreachable", "error"})


def tell_answer(outcome: str, code: str = "") -> str:
    """What a channel answered, with its own code."""
    words = str(ANSWERS.get(outcome, outcome))
    return f"{words} ({code})" if code else words


def tell_reason(reason: str) -> str:
    """Why money goes back: in the shop's own words, or as somebody wrote it."""
    return str(REASONS.get(reason, reason))


def tell_channel(name: str) -> str:
    """What people call the channel; the name itself where it is none of ours."""
    try:
        return _(title_of(name))
    except KeyError:
        return name


def tell_money(amount_minor: int | None, currency: str) -> str:
    """An amount as reported; "" for none."""
    if amount_minor is None:
        return ""
    return for_people(amount_minor, currency) if currency else str(amount_minor)


def tell_clock(at: datetime, now: datetime) -> str:
    """A moment as a person says it: the time today, else with its date."""
    local, today = timezone.localtime(at), timezone.localtime(now).date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M}"


def tell_when(at: datetime, now: datetime) -> str:
    """A moment with its distance: "14:05:10 (in 3 minutes)"."""
    seconds = (at - now).total_seconds()
    if -JUST_NOW_S < seconds <= 0:
        near = _("just now")
    else:
        near = (_("in %(span)s") if seconds > 0 else _("%(span)s ago")) % {"span": tell_span(abs(seconds))}
    return _("%(clock)s (%(near)s)") % {"clock": tell_clock(at, now), "near": near}


def tell_due(at: datetime, now: datetime) -> str:
    """When an alarm comes: "at …", "any moment now", or that nobody comes for it."""
    late_s = (now - at).total_seconds()
    if late_s > OVERDUE_S:
        return _("any moment now (overdue by %(span)s; is `watch` running?)") % {"span": tell_span(late_s)}
    return _("any moment now") if late_s >= 0 else _("at %(when)s") % {"when": tell_when(at, now)}


def tell_span(seconds: float) -> str:
    """A length of time in its largest unit."""
    for unit_s, words in (
        (DAY_S, lambda n: ngettext("%(n)d day", "%(n)d days", n)),
        (HOUR_S, lambda n: ngettext("%(n)d hour", "%(n)d hours", n)),
        (MINUTE_S, lambda n: ngettext("%(n)d minute", "%(n)d minutes", n)),
    ):
        if seconds >= unit_s:
            count = int(seconds // unit_s)
            return words(count) % {"n": count}
    count = int(seconds)
    return ngettext("%(n)d second", "%(n)d seconds", count) % {"n": count}
