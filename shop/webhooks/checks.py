"""What may be wrong with the settings of webhooks, each with what to do."""

from ipaddress import ip_network
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

EVERYTHING = 0  # of the length of a network's prefix
MOST_KEPT_DAYS = 36_500


@register("webhooks")
def check_webhooks(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """The networks that may be called, and who is told."""
    found = [problem for text in settings.WEBHOOK_ALLOWED_NETWORKS if (problem := _check_network(text))]
    if settings.OPERATIONS_MAIL and not _is_mail(settings.OPERATIONS_MAIL):
        found.append(
            Error(
                "OPERATIONS_MAIL is not an address of mail.",
                hint="Set OPERATIONS_MAIL to one address that somebody reads.",
                id="shop.E002",
            )
        )
    return found


@register("webhooks")
def check_events_kept(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """Who was away for a while reads in the feed what happened; with less than a day it would hold next to nothing."""
    if 1 <= settings.EVENTS_KEPT_DAYS <= MOST_KEPT_DAYS:
        return []
    return [
        Error(
            f"EVENTS_KEPT_DAYS is {settings.EVENTS_KEPT_DAYS}: events would be forgotten at once, or never.",
            hint=f"Set EVENTS_KEPT_DAYS to a number of days from 1 to {MOST_KEPT_DAYS}.",
            id="shop.E004",
        )
    ]


@register("webhooks", deploy=True)
def check_operations_mail(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """An endpoint that was switched off by itself needs somebody."""
    if settings.OPERATIONS_MAIL:
        return []
    return [
        checks.Warning(
            "OPERATIONS_MAIL is not set: when an endpoint of webhooks is switched off, only a case says so.",
            hint="Set OPERATIONS_MAIL to an address that somebody reads.",
            id="shop.W001",
        )
    ]


def _check_network(text: str) -> CheckMessage | None:
    try:
        network = ip_network(text)
    except ValueError:
        return Error(
            f"WEBHOOK_ALLOWED_NETWORKS: {text!r} is no network, and allows nothing.",
            hint="Write networks like 10.1.2.0/24 or 127.0.0.1/32, with commas between them, and no bits behind the prefix.",
            id="shop.E001",
        )
    if network.prefixlen == EVERYTHING:
        return Error(
            f"WEBHOOK_ALLOWED_NETWORKS: {text} is every address, also of what only this shop may reach.",
            hint="Name the networks of the systems that are to be told, and no more.",
            id="shop.E003",
        )
    return None


def _is_mail(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True
