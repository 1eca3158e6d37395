"""How amounts, codes and remaining times look. Nothing is decided here."""

from datetime import date, datetime
from itertools import accumulate
from typing import Any

import segno
from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from payments.channels.brazil import SAO_PAULO
from shop import languages
from shop.checkout.barcode import group_line, interleave
from shop.money import for_people, symbol_of

register = template.Library()

# Together with the white padding of the stylesheet at least the four modules that scanners want.
QR_BORDER_MODULES = 2
# The white that a scanner wants on both sides of a bar code, and its height: 13 mm at 103 mm, as FEBRABAN has it.
BARCODE_BORDER_MODULES, BARCODE_HEIGHT_MODULES = 10, 52
# Above so many seconds people think in the next unit.
SECONDS_UP_TO, MINUTES_UP_TO, HOURS_UP_TO = 120, 2 * 3600, 2 * 86_400


@register.simple_tag
def zone(at: datetime) -> str:
    """The zone in which moments are shown, for people."""
    return languages.zone_name(at)


@register.simple_tag
def amount(minor: int, currency: str) -> SafeString:
    """The amount with a small currency sign: 12900, "CNY" → ¥129.00."""
    symbol = symbol_of(currency)
    figures = for_people(minor, currency).removeprefix(symbol)
    return format_html('<span class="amount"><small>{}</small>{}</span>', symbol, figures)


@register.simple_tag
def qr(content: str) -> SafeString:
    """The content as a QR code in inline SVG, black on nothing; the stylesheet gives it size and white ground."""
    code = segno.make(content, error="m", micro=False)
    drawing = code.svg_inline(border=QR_BORDER_MODULES, omitsize=True, svgclass="qr", lineclass=None)
    return mark_safe(drawing)  # noqa: S308 - drawn by us: modules and numbers only


@register.simple_tag
def barcode(digits: str) -> SafeString:
    """The digits as an Interleaved 2 of 5 bar code in inline SVG, black on nothing; empty when they cannot be one."""
    try:
        widths = interleave(digits)
    except ValueError:
        return mark_safe("")
    across, height = sum(widths) + 2 * BARCODE_BORDER_MODULES, BARCODE_HEIGHT_MODULES
    starts = accumulate(widths, initial=BARCODE_BORDER_MODULES)
    bars = list(zip(starts, widths, strict=False))[::2]
    path = "".join(f"M{start} 0h{width}v{height}h-{width}z" for start, width in bars)
    size = f'viewBox="0 0 {across} {height}" width="{across}" height="{height}"'
    return mark_safe(f'<svg class="bars" {size}><path d="{path}"/></svg>')  # noqa: S308 - numbers only


@register.filter
def groups(line: str) -> list[str]:
    """The digitable line of a boleto, in the groups that people read it in."""
    return group_line(line)


@register.filter
def last_day(moment: str) -> datetime | None:
    """The last day in Brazil to pay a boleto that ends at this moment (ISO 8601), wherever it is looked at; None when it is
    no moment.
    """
    try:
        return datetime.fromisoformat(moment).astimezone(SAO_PAULO).replace(tzinfo=None)
    except (TypeError, ValueError):
        return None


@register.filter
def mark(channel: str) -> list[str]:
    """The drawings of a channel for `include`, the first that is there."""
    return [f"marks/{channel}.svg", "marks/any.svg"]


@register.simple_tag
def art_url(picture: str) -> str:
    """Where the line drawing of that name is; empty when there is none, so that a missing file hides no goods."""
    try:
        return static(f"art/{picture}.svg") if picture else ""
    except ValueError:  # hashed files: the manifest does not know it
        return ""


@register.filter
def clock(at: datetime) -> str:
    """12:04"""
    return languages.clock(at)


@register.filter
def day(at: date) -> str:
    """22 Nov"""
    return languages.day(at)


@register.filter
def day_clock(at: datetime) -> str:
    """22 Nov 12:04"""
    return languages.day_clock(at)


@register.filter
def long_day(at: date) -> str:
    """22 November 2026"""
    return languages.long_day(at)


@register.simple_tag
def language_tag() -> str:
    """The language of the page, for `html lang`."""
    return languages.tag()


@register.filter
def duration(seconds: Any) -> str:
    """The remaining time in words: 90 → 90 seconds, 1500 → 25 minutes, 10000 → 3 hours, 259200 → 3 days."""
    left = int(seconds)
    if left >= HOURS_UP_TO:
        return ngettext("%d day", "%d days", days := -(-left // 86_400)) % days
    if left >= MINUTES_UP_TO:
        return ngettext("%d hour", "%d hours", hours := -(-left // 3600)) % hours
    if left >= SECONDS_UP_TO:
        return ngettext("%d minute", "%d minutes", minutes := -(-left // 60)) % minutes
    return (ngettext("%d second", "%d seconds", left) % left) if left else _("no time")
