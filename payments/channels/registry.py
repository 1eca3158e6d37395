"""The channels of this installation, by name. A new channel is one line in `CLASSES`; none is built before its first use."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from .base import Channel

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


def list_choices() -> list[tuple[str, str]]:
    """Every channel as a database column may hold it."""
    return [(name, name) for name in CLASSES]


@cache
def get_channel(name: str) -> Channel:
    """The channel with the present settings, the same object each time. Raises UnknownChannel.

    A configuration that cannot be used raises too (BadKey); `payments.checks` names it before that.
    """
    configured = settings.CHANNELS.get(name)
    if name not in CLASSES or configured is None:
        raise UnknownChannel(name)
    channel: Channel = import_string(CLASSES[name]).from_settings(configured)
    return channel


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


def offered_channels(currency: str) -> list[Channel]:
    """The configured channels that take this currency, in the order of display."""
    names = [name for name in CLASSES if settings.CHANNELS.get(name) is not None]
    return [channel for channel in map(get_channel, names) if currency in channel.currencies]


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "CHANNELS":
        get_channel.cache_clear()


setting_changed.connect(_forget, dispatch_uid="payments.channels.registry")
