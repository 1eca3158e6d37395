"""The channels of this installation, by name. A new channel is one line in `CLASSES`; none is built before its first use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import structlog
from django.conf import settings
from django.core.signals import setting_changed
from django.utils.functional import lazy
from django.utils.module_loading import import_string
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop.sentences import say

from .base import BadPayer, Channel, Scene
from .seals import BadKey

log = structlog.get_logger("nodrop.channels")

# In the order in which the shopper is offered them.
CLASSES = {
    "wechat": "payments.channels.wechat.WeChat",
    "alipay": "payments.channels.alipay.Alipay",
    "unionpay": "payments.channels.unionpay.UnionPay",
    "paypal": "payments.channels.paypal.PayPal",
    "boleto": "payments.channels.boleto.Boleto",
}


class UnknownChannel(LookupError):
    """No channel of this name, or it is not configured here."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no channel {name!r} is configured")
        self.name = name


class BrokenChannel(UnknownChannel):
    """It is configured and cannot be built. To buyers it is as good as absent; `reason` is for people, without secrets."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name)
        self.args = (f"{name} is configured and cannot be used: {reason}",)
        self.reason = reason


def list_choices() -> list[tuple[str, str]]:
    """Every channel as a database column may hold it."""
    return [(name, _tell_title(name)) for name in CLASSES]


def _title(name: str) -> str:
    return gettext(title_of(name))


# Not before somebody reads it: models name their choices before anything else is there.
_tell_title = lazy(_title, str)


@cache
def get_channel(name: str) -> Channel:
    """The channel with the present settings, the same object each time. Raises UnknownChannel.

    That is BrokenChannel where it cannot be built: it is tried again the next time, for a key file may come back.
    """
    configured = settings.CHANNELS.get(name)
    if name not in CLASSES or configured is None:
        raise UnknownChannel(name)
    try:
        channel: Channel = import_string(CLASSES[name]).from_settings(configured)
    except Exception as error:  # whatever is wrong with one channel, the others sell
        # What another error says may hold the very value that it did not like.
        reason = str(error) if isinstance(error, BadKey) else type(error).__name__
        _tell(name, reason)
        raise BrokenChannel(name, reason) from error
    return channel


@cache
def _tell(name: str, reason: str) -> None:
    """Once, not at every page."""
    log.error("channel cannot be used", channel=name, reason=reason)


def class_of(name: str) -> type[Channel]:
    """What is true of the channel whatever its configuration, also of one that is not configured any more."""
    channel: type[Channel] = import_string(CLASSES[name])
    return channel


def title_of(name: str) -> str:
    """What people call the channel."""
    return class_of(name).title


def can_refund(name: str) -> bool:
    """Whether the channel can give money back."""
    return class_of(name).can_refund


def payer_at(name: str, scene: str, address: str) -> dict[str, str]:
    """What is known of the payer by their IP address. Raises BadPayer where nobody knows it and the channel has to be told.

    WeChat's H5 orders carry it, and the wallet refuses who comes from elsewhere.
    """
    if address:
        return {"ip": address}
    if scene == Scene.WAP and name in CLASSES and "ip" in class_of(name).payer_keys:
        log.warning("address of the shopper is not known", channel=name)
        words = _("%(title)s needs your network address, which the shop cannot see. Please pay another way.")
        raise BadPayer("ip", say(words, title=_(title_of(name))))
    return {}


def offered_channels(currency: str) -> list[Channel]:
    """The channels that can be used and take this currency, in the order of display."""
    return [channel for channel in _list_usable() if currency in channel.currencies]


def _list_usable() -> Iterator[Channel]:
    for name in CLASSES:
        with suppress(UnknownChannel):
            yield get_channel(name)


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "CHANNELS":
        get_channel.cache_clear()
        _tell.cache_clear()


setting_changed.connect(_forget, dispatch_uid="payments.channels.registry")
