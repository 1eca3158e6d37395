"""The back office's first page: what stands in `payments.home` as cards, of which everybody sees what they may look at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from payments.home import Amounts, Books, Cases, Home
from payments.models import Proposal
from payments.reconciling import OPEN
from payments.statuses import ReceiptClass, RefundStatus
from payments.story.words import tell_channel
from shop.models import ApiKey
from shop.money import for_people

admin.site.index_template = "admin/home.html"

GUARDIANS = {
    "watch": gettext_lazy("Watch"),
    "cluster": gettext_lazy("Cluster"),
    "scanner": gettext_lazy("Last scan"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a card. `mood` is the stylesheet's: waiting, done, back, wrong or quiet."""

    text: str
    value: str
    url: str = ""
    note: str = ""
    mood: str = "quiet"


@dataclass(frozen=True, slots=True)
class Card:
    """A few lines under a title that leads to the whole list."""

    title: str
    url: str = ""
    lines: list[Line] = field(default_factory=list)


def list_waiting(home: Home, user: User) -> list[Card]:
    """What a person has to do something about; empty on a good day."""
    cards = [_cases(home, user), _money(home, user), _approvals(home, user), _keys(home, user)]
    return [card for card in cards if card.lines]


def list_state(home: Home, user: User) -> list[Card]:
    """How it goes: always shown, as far as `user` may see it."""
    cards = [_today(home, user), _machines(home, user), _books(home, user)]
    return [card for card in cards if card.lines]


# ---- what waits --------------------------------------------------------------------------------------------------


def _cases(home: Home, user: User) -> Card:
    if not user.has_perm("payments.view_case"):
        return Card(_("Cases"))
    lines = [
        Line(
            str(cases.kind.label),
            str(cases.count),
            _list("payments_case", kind__exact=cases.kind, resolved_at__isnull="True"),
            note=_(", ").join(_notes(cases)),
            mood="wrong" if cases.late else "waiting",
        )
        for cases in home.cases
    ]
    return Card(_("Open cases"), _list("payments_case", resolved_at__isnull="True"), lines)


def _notes(cases: Cases) -> Iterator[str]:
    yield _("oldest %(age)s") % {"age": in_words(cases.oldest)}
    if cases.late:
        yield _("%(count)d past the deadline") % {"count": cases.late}
    if cases.mine:
        yield _("%(count)d yours") % {"count": cases.mine}


def _money(home: Home, user: User) -> Card:
    lines: list[Line] = []
    if user.has_perm("payments.view_difference"):
        url = _list("payments_difference", state__in=",".join(OPEN))
        lines += _amounts(_("Paid at a channel, not settled here"), home.at_risk.unsettled, url)
    if user.has_perm("payments.view_receipt"):
        kept = _list(
            "payments_receipt", receipt_class__in=f"{ReceiptClass.MISMATCH},{ReceiptClass.UNMATCHED}"
        )
        back = _list("payments_receipt", receipt_class__in=f"{ReceiptClass.SURPLUS},{ReceiptClass.LATE}")
        lines += _amounts(_("Here, for no payment or of a wrong amount"), home.at_risk.kept, kept)
        lines += _amounts(_("Surplus or late, not back yet"), home.at_risk.going_back, back, mood="back")
    return Card(_("Money at risk"), lines=lines)


def _approvals(home: Home, user: User) -> Card:
    lines: list[Line] = []
    if home.refunds_waiting and user.has_perm("payments.view_refund"):
        url = _list("payments_refund", status__exact=RefundStatus.PENDING_APPROVAL)
        lines.append(Line(_("Refunds"), str(home.refunds_waiting), url, mood="waiting"))
    if home.proposals_waiting and user.has_perm("payments.view_proposal"):
        url = _list("payments_proposal", status__exact=Proposal.Status.WAITING)
        lines.append(Line(_("Settlements by evidence"), str(home.proposals_waiting), url, mood="waiting"))
    return Card(_("Waiting for a second person"), lines=lines)


def _keys(home: Home, user: User) -> Card:
    if not user.has_perm("shop.view_apikey"):
        return Card(_("API keys"))
    lines = [
        Line(
            key.name,
            _("has ended") if key.expires_at <= home.now else _("ends in %(span)s") % _left(key, home),
            reverse("admin:shop_apikey_change", args=[key.pk]),
            mood="wrong" if key.expires_at <= home.now else "waiting",
        )
        for key in home.keys_ending
        if key.expires_at is not None
    ]
    return Card(_("API keys that end"), _list("shop_apikey"), lines)


def _left(key: ApiKey, home: Home) -> dict[str, str]:
    return {"span": in_words(key.expires_at - home.now) if key.expires_at else ""}


# ---- how it goes -------------------------------------------------------------------------------------------------


def _today(home: Home, user: User) -> Card:
    lines: list[Line] = []
    if user.has_perm("orders.view_order"):
        url = _list("orders_order", created_at__gte=home.today.isoformat())
        lines.append(
            Line(
                _("Orders placed"),
                str(home.orders),
                url,
                note=_("%(count)d paid") % {"count": home.orders_paid},
            )
        )
    if user.has_perm("payments.view_payment"):
        lines += [
            Line(
                _(rate.title),
                f"{rate.percent} %",
                note=_("%(paid)d of %(ended)d attempts paid") % {"paid": rate.paid, "ended": rate.ended},
            )
            for rate in home.rates
        ]
        lines += _oldest(home)
    return Card(_("Today"), lines=lines)


def _oldest(home: Home) -> Iterator[Line]:
    if home.paying is None or home.paying_for is None:
        return
    url = reverse("admin:payments_payment_change", args=[home.paying.pk])
    # Its channel takes no money for it any more and has not said what became of it.
    mood = "wrong" if home.paying.dead_at < home.now else "quiet"
    yield Line(
        _("Oldest attempt being paid"),
        in_words(home.paying_for),
        url,
        tell_channel(home.paying.channel),
        mood,
    )


def _machines(home: Home, user: User) -> Card:
    if not user.has_perm("shop.view_heartbeat"):
        return Card(_("Machines"))
    lines = [
        Line(
            str(GUARDIANS.get(guardian.name, guardian.name)),
            _("never heard")
            if guardian.silent_for is None
            else _("%(span)s ago") % {"span": in_words(guardian.silent_for)},
            note=_("silent for too long") if guardian.is_missing else "",
            mood="wrong" if guardian.is_missing else "done",
        )
        for guardian in home.guardians
    ]
    return Card(_("Machines"), _list("shop_heartbeat"), lines)


def _books(home: Home, user: User) -> Card:
    if not user.has_perm("payments.view_statement"):
        return Card(_("Statements"))
    may_see = user.has_perm("payments.view_difference")
    lines = [_line_of(books, home.now, may_see=may_see) for books in home.books]
    return Card(_("Statements"), _list("payments_statement"), lines)


def _line_of(books: Books, now: datetime, *, may_see: bool) -> Line:
    url = reverse("admin:payments_statement_change", args=[books.last.pk]) if books.last else ""
    notes, mood = [_when(books, now)], "wrong" if books.is_late else "quiet"
    if may_see and books.differences:
        words = ngettext("%(count)d open difference", "%(count)d open differences", books.differences)
        notes.insert(0, words % {"count": books.differences})
        mood = "wrong" if books.is_late else "waiting"
    day = f"{books.last.day}" if books.last else _("none yet")
    return Line(_(books.title), day, url, _(", ").join(notes), mood)


def _when(books: Books, now: datetime) -> str:
    if books.next_at is None:
        return _("the channel cannot be used")
    if now < books.next_at:
        return _("next due in %(span)s") % {"span": in_words(books.next_at - now)}
    return _("%(day)s due since %(span)s") % {"day": books.next_day, "span": in_words(now - books.next_at)}


# ---- words -------------------------------------------------------------------------------------------------------


def in_words(time: timedelta) -> str:
    """A length of time in its two largest units at most: "3 d 4 h", "12 min", "5 s"."""
    seconds = max(0, int(time.total_seconds()))
    if seconds < 60:
        return _("%(seconds)d s") % {"seconds": seconds}
    minutes = seconds // 60
    if minutes < 60:
        return _("%(minutes)d min") % {"minutes": minutes}
    hours, days = minutes // 60, minutes // (60 * 24)
    if hours < 24:
        return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes % 60}
    return _("%(days)d d %(hours)d h") % {"days": days, "hours": hours % 24}


def _amounts(text: str, amounts: Amounts, url: str, *, mood: str = "wrong") -> Iterator[Line]:
    for currency, amount in sorted(amounts.items()):
        value = (
            for_people(amount, currency) if currency else _("%(amount)d (minor units)") % {"amount": amount}
        )
        yield Line(text, value, url, mood=mood)


def _list(name: str, **filters: str) -> str:
    """The address of a list with these filters."""
    query: Mapping[str, str] = filters
    return reverse(f"admin:{name}_changelist") + (f"?{urlencode(query)}" if query else "")
