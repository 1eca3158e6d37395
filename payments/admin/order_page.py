"""What the page of one order shows: the sentence, the facts as tables with their buttons, and the story.

The story comes from `payments.story`, the buttons from the table of deeds; here they are only put side by side.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model, prefetch_related_objects
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from orders.models import Order, OrderLine
from payments.admin.deeds import Links, links_for
from payments.admin.tables import moment
from payments.models import Case, Payment, Proposal, Receipt, Refund
from payments.story import MOST, Rows, Story, StoryEntry, read_story
from payments.story.words import tell_channel, tell_money, tell_reason
from shop.admin import mood_word


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a row under its heading. `look`: number, money, when or nothing."""

    name: str
    value: SafeString | str
    look: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one kind, each with the buttons for what this person may do about it."""

    title: str
    rows: list[tuple[list[Cell], Links]]

    @property
    def head(self) -> list[Cell]:
        return self.rows[0][0]


@dataclass(frozen=True, slots=True)
class ShownEntry:
    """A line of the story, the page of what it is about, the page of its message, and what may be done about that."""

    entry: StoryEntry
    url: str
    message_url: str
    deeds: Links


def show_order(user: User, order: Order) -> dict[str, Any]:
    """What the order's page shows to this person."""
    story = read_story(order)
    # What the deeds look at, for all rows at once.
    prefetch_related_objects(story.rows.payments, "receipts__refunds", "proposals")
    prefetch_related_objects(story.rows.receipts, "refunds")
    tables = [
        _show_waiting(user, story.rows),
        _show_payments(user, story.rows.payments),
        _show_receipts(user, story.rows),
        _show_refunds(user, story.rows.refunds),
    ]
    return {
        "title": _("Order %(number)s") % {"number": order.number},
        "subtitle": None,
        "zone": timezone.get_current_timezone_name(),
        "story": story,
        "most": MOST,
        "deeds": links_for(user, order),
        "facts": _tell_facts(order),
        "contact": {
            _("Name"): order.name,
            _("Mail"): order.email,
            _("Phone"): order.phone,
            _("Address"): order.address,
        },
        "lines": _read_lines(order),
        "tables": [table for table in tables if table.rows],
        "entries": _show_entries(user, story),
    }


def _tell_facts(order: Order) -> dict[str, Any]:
    facts = {
        _("Status"): format_html(
            "{} {}", mood_word(order.status, order.get_status_display()), order.get_close_reason_display()
        ),
        _("Amount"): order.amount_text,
        _("Placed"): moment(order.created_at),
    }
    if order.closed_at:
        return facts | {_("Closed"): moment(order.closed_at)}
    return facts | ({_("Time to pay until"): moment(order.expires_at)} if order.status == "UNPAID" else {})


def _read_lines(order: Order) -> list[OrderLine]:
    lines = list(order.lines.select_related("product").order_by("pk"))
    for line in lines:
        line.order = order  # whose currency its amount is in
    return lines


# ---- tables ------------------------------------------------------------------------------------------------------


def _show_waiting(user: User, rows: Rows) -> Table:
    """What people are waited for: open cases, and proposals that a second person has to confirm."""
    open_ones = [case for case in rows.cases if case.resolved_at is None]
    waiting = [each for each in rows.proposals if each.status == Proposal.Status.WAITING]
    return Table(
        _("Waits for a person"),
        [
            *((_case_cells(user, case), links_for(user, case, is_one_of_many=True)) for case in open_ones),
            *((_proposal_cells(user, each), links_for(user, each)) for each in waiting),
        ],
    )


def _case_cells(user: User, case: Case) -> list[Cell]:
    word = mood_word("mismatch", case.get_kind_display())
    owner = case.owner.get_username() if case.owner else "–"
    return _waiting_cells(_link(user, case, word), case.subject, owner, case.deadline)


def _proposal_cells(user: User, proposal: Proposal) -> list[Cell]:
    word = mood_word("PENDING_APPROVAL", _("Proposed settlement"))
    by = _("asked by %(name)s") % {"name": proposal.asked_by}
    return _waiting_cells(_link(user, proposal, word), proposal.payment.number, by, None)


def _waiting_cells(what: SafeString, about: str, owner: str, until: datetime | None) -> list[Cell]:
    return [
        Cell(_("What"), what),
        Cell(_("About"), about, "number"),
        Cell(_("Who looks after it"), owner),
        Cell(_("Until"), moment(until) or "–", "when"),
    ]


def _show_payments(user: User, payments: Iterable[Payment]) -> Table:
    return Table(
        _("Attempts to pay"), [(_payment_cells(user, each), links_for(user, each)) for each in payments]
    )


def _payment_cells(user: User, payment: Payment) -> list[Cell]:
    replaced = _("replaced") if payment.superseded_at else ""
    word = mood_word(payment.status, payment.get_status_display())
    return [
        Cell(_("Number"), _link(user, payment, payment.number), "number"),
        Cell(_("Channel"), _(", ").join([tell_channel(payment.channel), payment.get_scene_display()])),
        Cell(_("Status"), format_html('{} <span class="quiet">{}</span>', word, replaced)),
        Cell(_("Amount"), payment.amount_text, "money"),
        Cell(_("Begun"), moment(payment.created_at), "when"),
        Cell(_("Channel's number"), payment.channel_number or "–", "number"),
    ]


def _show_receipts(user: User, rows: Rows) -> Table:
    """What may be done at the payment already has no second button here."""
    offered = {payment.pk: {title for title, _url in links_for(user, payment)} for payment in rows.payments}
    return Table(
        _("Money that came"),
        [
            (
                _receipt_cells(user, each),
                [
                    link
                    for link in links_for(user, each)
                    if link[0] not in offered.get(each.payment_id or 0, ())
                ],
            )
            for each in rows.receipts
        ],
    )


def _receipt_cells(user: User, receipt: Receipt) -> list[Cell]:
    return [
        Cell(_("Trade"), _link(user, receipt, receipt.channel_number), "number"),
        Cell(_("Channel"), tell_channel(receipt.channel)),
        Cell(_("What it is"), mood_word(receipt.receipt_class, receipt.get_receipt_class_display())),
        Cell(_("Amount"), tell_money(receipt.amount, receipt.currency), "money"),
        Cell(pgettext("time", "Paid"), moment(receipt.paid_at or receipt.created_at), "when"),
        Cell(_("Heard by"), receipt.get_source_display().lower()),
    ]


def _show_refunds(user: User, refunds: Iterable[Refund]) -> Table:
    return Table(_("Refunds"), [(_refund_cells(user, each), links_for(user, each)) for each in refunds])


def _refund_cells(user: User, refund: Refund) -> list[Cell]:
    return [
        Cell(_("Number"), _link(user, refund, refund.number), "number"),
        Cell(_("Channel"), tell_channel(refund.channel)),
        Cell(_("Status"), mood_word(refund.status, refund.get_status_display())),
        Cell(_("Amount"), tell_money(refund.amount, refund.receipt.currency), "money"),
        Cell(_("Asked"), moment(refund.created_at), "when"),
        Cell(
            _("Why and by whom"),
            _(", ").join(filter(None, [tell_reason(refund.reason), refund.asked_by, refund.approved_by])),
        ),
    ]


# ---- the story ---------------------------------------------------------------------------------------------------


def _show_entries(user: User, story: Story) -> list[ShownEntry]:
    urls = {payment.number: _url_of(user, payment) for payment in story.rows.payments}
    urls |= {refund.number: _url_of(user, refund) for refund in story.rows.refunds}
    callbacks = {callback.pk: callback for callback in story.rows.callbacks}
    shown = []
    for entry in story.entries:
        callback = callbacks.get(entry.callback or 0)
        message_url = _url_of(user, callback) if callback else ""
        deeds = links_for(user, callback) if callback and entry.kind == "callback" else []
        shown.append(ShownEntry(entry, urls.get(entry.about, ""), message_url, deeds))
    return shown


def _link(user: User, row: Model, text: str) -> SafeString:
    """The words, with a link to the row's page for who may see that."""
    url = _url_of(user, row)
    return format_html('<a href="{}">{}</a>', url, text) if url else format_html("{}", text)


def _url_of(user: User, row: Model) -> str:
    """The row's page; "" where this person has none."""
    app_label, name = row._meta.app_label, row._meta.model_name
    if not admin.site.is_registered(type(row)) or not user.has_perm(f"{app_label}.view_{name}"):
        return ""
    return reverse(f"admin:{app_label}_{name}_change", args=[row.pk])
