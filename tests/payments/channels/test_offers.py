"""Which ways to pay are offered where: the table, channel by device, and what takes a channel out of it."""

import pytest

from payments.channels import offers as room
from payments.channels.base import Limits, Scene
from payments.channels.offers import SCENES, Device, offers, other_phone, read_device

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Mobile/15E148 Safari/604.1"
)
ANDROID = (
    "Mozilla/5.0 (Linux; Android 15; PLK110) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 "
    "Mobile Safari/537.36"
)
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
AGENTS = [
    ("", Device.PC),
    ("curl/8.5", Device.PC),
    (WINDOWS, Device.PC),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18.5 Safari/605.1.15", Device.PC),
    (f"{WINDOWS} MicroMessenger/7.0.20 WindowsWechat", Device.PC),
    (IPHONE, Device.PHONE),
    (ANDROID, Device.PHONE),
    ("Mozilla/5.0 (Android 15; Tablet; rv:143.0) Gecko/143.0 Firefox/143.0", Device.PHONE),
    ("Mozilla/5.0 (Phone; OpenHarmony 5.0) AppleWebKit/537.36 ArkWeb/4.1.6.1 Mobile", Device.PHONE),
    (f"{IPHONE} MicroMessenger/8.0.49(0x18003127) NetType/WIFI Language/zh_CN", Device.WECHAT),
    (f"{ANDROID} XWEB/1160 MMWEBSDK/20240404 MicroMessenger/8.0.49", Device.WECHAT),
    (f"{IPHONE} NebulaSDK/1.8.100112 Nebula AliApp(AP/10.5.88) AlipayClient/10.5.88", Device.ALIPAY),
]
# (channel, its scenes) → its scene on the PC, a phone, in WeChat, in Alipay; "" where it is not offered.
TABLE = [
    ("wechat", "qr wap app", "qr", "wap", "", ""),
    ("alipay", "qr wap app page", "qr", "wap", "", "wap"),
    ("unionpay", "qr wap app", "qr", "wap", "wap", "wap"),
    ("paypal", "page wap app", "page", "wap", "wap", "wap"),
    ("boleto", "voucher", "voucher", "voucher", "voucher", "voucher"),
    ("wechat", "qr", "qr", "", "", ""),
    ("another", "wap", "", "wap", "wap", "wap"),
    ("another", "app", "", "", "", ""),
]


class Fake:
    """A configured channel, as far as a page looks at it."""

    def __init__(self, name: str, scenes: str, least: int = 1, most: int = 100_000) -> None:
        self.name = name
        self.limits = {"CNY": Limits(least, most)}
        self.kinds = frozenset(map(Scene, scenes.split()))

    def scenes(self) -> frozenset[Scene]:
        return self.kinds


@pytest.fixture
def configure(monkeypatch):
    def configure(*channels: Fake) -> None:
        monkeypatch.setattr(room, "offered_channels", lambda currency: channels)

    return configure


def offered(device: Device, amount: int = 12900) -> list[tuple[str, str]]:
    return [(offer.channel.name, str(offer.scene)) for offer in offers("CNY", device, amount)]


@pytest.mark.parametrize(
    ("agent", "device"), AGENTS, ids=[f"{n}-{device}" for n, (_, device) in enumerate(AGENTS)]
)
def test_device_is_read_from_what_the_browser_says(agent, device):
    assert read_device(agent) is device


def test_every_device_has_its_scenes_and_none_is_an_apps():
    assert set(SCENES) == set(Device)
    assert all(scenes and Scene.APP not in scenes for scenes in SCENES.values())


@pytest.mark.parametrize(("name", "scenes", *map(str, Device)), TABLE)
def test_channel_is_offered_in_the_scene_that_works_on_the_device(
    configure, name, scenes, pc, phone, wechat, alipay
):
    configure(Fake(name, scenes))
    for device, scene in zip(Device, (pc, phone, wechat, alipay), strict=True):
        assert offered(device) == ([(name, scene)] if scene else []), device


def test_channels_are_offered_in_the_order_of_the_registry(configure):
    configure(Fake("paypal", "page"), Fake("wechat", "qr"), Fake("alipay", "app"))
    assert offered(Device.PC) == [("paypal", "page"), ("wechat", "qr")]


@pytest.mark.parametrize(("amount", "is_offered"), [(9, False), (10, True), (99, True), (100, False)])
def test_amount_outside_of_a_channels_limits_takes_it_out(configure, amount, is_offered):
    configure(Fake("wechat", "qr", least=10, most=99))
    assert bool(offered(Device.PC, amount)) is is_offered


def test_channel_that_is_not_configured_is_not_offered(settings):
    settings.CHANNELS = {}
    assert [offers(currency, device, 12900) for currency in ("CNY", "USD", "BRL") for device in Device] == [
        []
    ] * 12


def test_other_phone_pays_by_codes_only(configure):
    configure(Fake("wechat", "qr wap"), Fake("paypal", "page wap"), Fake("boleto", "voucher"))
    assert [(offer.channel.name, str(offer.scene)) for offer in other_phone("CNY", 12900)] == [
        ("wechat", "qr")
    ]
