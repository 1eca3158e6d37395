"""How amounts, codes and remaining times look. Nothing is decided here."""

from typing import Any

import segno
from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from shop.money import SYMBOLS, for_people

register = template.Library()

# Together with the white padding of the stylesheet at least the four modules that scanners want.
QR_BORDER_MODULES = 2
# Above this, people think in minutes.
SECONDS_UP_TO = 120


@register.simple_tag
def amount(minor: int, currency: str) -> SafeString:
    """The amount with a small currency sign: 12900, "CNY" → ¥129.00."""
    symbol = SYMBOLS[currency]
    figures = for_people(minor, currency).removeprefix(symbol)
    return format_html('<span class="amount"><small>{}</small>{}</span>', symbol, figures)


@register.simple_tag
def qr(content: str) -> SafeString:
    """The content as a QR code in inline SVG, black on nothing; the stylesheet gives it size and white ground."""
    code = segno.make(content, error="m", micro=False)
    drawing = code.svg_inline(border=QR_BORDER_MODULES, omitsize=True, svgclass="qr", lineclass=None)
    return mark_safe(drawing)  # noqa: S308 - drawn by us: modules and numbers only


@register.simple_tag
def art_url(picture: str) -> str:
    """Where the line drawing of that name is; empty when there is none, so that a missing file hides no goods."""
    try:
        return static(f"art/{picture}.svg") if picture else ""
    except ValueError:  # hashed files: the manifest does not know it
        return ""


@register.filter
def duration(seconds: Any) -> str:
    """The remaining time in words: 1500 → 25 minutes, 90 → 90 seconds."""
    left = int(seconds)
    if left >= SECONDS_UP_TO:
        minutes = -(-left // 60)
        return ngettext("%d minute", "%d minutes", minutes) % minutes
    return (ngettext("%d second", "%d seconds", left) % left) if left else _("no time")
