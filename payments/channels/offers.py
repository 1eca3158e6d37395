"""Which ways to pay a page offers on which device: one table over all channels.

A channel says which scenes it has; where each of them works is a matter of the browser, and stands here. Apps have no
browser: they name their scene to the API.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .base import Channel, Scene
from .registry import offered_channels


class Device(StrEnum):
    """What the shopper looks at the page with. The last two are the browsers inside of those wallets, on a phone."""

    PC = "pc"
    PHONE = "phone"
    WECHAT = "wechat"
    ALIPAY = "alipay"


# The scenes that work on a device, the best first. A channel is offered in the first of them that it has.
SCENES: Mapping[Device, tuple[Scene, ...]] = {
    Device.PC: (Scene.QR, Scene.PAGE, Scene.VOUCHER),
    Device.PHONE: (Scene.WAP, Scene.VOUCHER),
    Device.WECHAT: (Scene.WAP, Scene.VOUCHER),
    Device.ALIPAY: (Scene.WAP, Scene.VOUCHER),
}
# What a wallet's own browser does not open. WeChat's H5 page says in there "please open the order outside of WeChat": H5
# is for browsers that are not WeChat's (pay.weixin.qq.com, H5 payment: introduction and frequent errors, 2026-11). WeChat
# blocks the page and the scheme of Alipay, and Alipay has no way to open WeChat. The others' pages are ordinary pages.
BLOCKED: Mapping[Device, frozenset[str]] = {
    Device.WECHAT: frozenset({"wechat", "alipay"}),
    Device.ALIPAY: frozenset({"wechat"}),
}

_PHONE = re.compile(r"Mobi|Android|iPhone|iPad|iPod")


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to pay."""

    channel: Channel
    scene: Scene


def read_device(user_agent: str) -> Device:
    """The device that a browser says it is; a PC when it says nothing that is known.

    "MicroMessenger" and "AlipayClient" are the wallets' own words. WeChat on a PC has a QR to show like any other PC.
    """
    if not _PHONE.search(user_agent):
        return Device.PC
    if "MicroMessenger" in user_agent:
        return Device.WECHAT
    return Device.ALIPAY if "AlipayClient" in user_agent else Device.PHONE


def offers(currency: str, device: Device, amount: int) -> list[Offer]:
    """The ways to pay `amount` minor units of `currency` on this device, in the order of display."""
    found = []
    for channel in offered_channels(currency):
        scene = next((scene for scene in SCENES[device] if scene in channel.scenes()), None)
        limits = channel.limits[currency]
        is_open = channel.name not in BLOCKED.get(device, ())
        if scene and is_open and limits.least <= amount <= limits.most:
            found.append(Offer(channel, scene))
    return found


def other_phone(currency: str, amount: int) -> list[Offer]:
    """The ways that a second phone can pay: by scanning a code from this one."""
    return [offer for offer in offers(currency, Device.PC, amount) if offer.scene is Scene.QR]
