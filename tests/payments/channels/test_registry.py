from __future__ import annotations

import pytest
from django.test import override_settings

from payments.channels.base import Channel
from payments.channels.registry import CLASSES, UnknownChannel, get_channel, offered_channels
from payments.channels.seals import BadKey
from payments.channels.wechat import WeChat

from .wechat_party import APIV3_KEY, APPID, MCHID, MERCHANT, PLATFORM


@pytest.fixture
def wechat_settings(tmp_path) -> dict[str, str]:
    (tmp_path / "merchant.pem").write_text(MERCHANT["private_key_pkcs8_pem"])
    (tmp_path / "platform.pem").write_text(PLATFORM["public_key_pem"])
    return {
        "BASE_URL": "https://api.example",
        "MCHID": MCHID,
        "APPID": APPID,
        "MERCHANT_SERIAL": MERCHANT["serial_no"],
        "MERCHANT_KEY_FILE": str(tmp_path / "merchant.pem"),
        "APIV3_KEY": APIV3_KEY,
        "PLATFORM_KEY_ID": PLATFORM["public_key_id"],
        "PLATFORM_KEY_FILE": str(tmp_path / "platform.pem"),
    }


def test_configured_channel_is_built_once(settings, wechat_settings):
    settings.CHANNELS = {"wechat": wechat_settings}
    assert isinstance(get_channel("wechat"), WeChat)
    assert get_channel("wechat") is get_channel("wechat")


def test_changed_settings_make_a_new_channel(settings, wechat_settings):
    settings.CHANNELS = {"wechat": wechat_settings}
    before = get_channel("wechat")
    with override_settings(CHANNELS={"wechat": wechat_settings | {"MCHID": "1900006012"}}):
        assert get_channel("wechat") is not before


@pytest.mark.parametrize("name", ["wechat", "nowhere", "", "payments.channels.wechat.WeChat"])
def test_channel_that_is_not_configured_is_unknown(settings, name):
    settings.CHANNELS = {"wechat": None}
    with pytest.raises(UnknownChannel) as unknown:
        get_channel(name)
    assert unknown.value.name == name


def test_settings_of_a_channel_that_does_not_exist_make_none(settings):
    settings.CHANNELS = {"nowhere": {"BASE_URL": "https://api.example"}}
    with pytest.raises(UnknownChannel):
        get_channel("nowhere")
    assert offered_channels("CNY") == []


@pytest.mark.parametrize(("currency", "names"), [("CNY", ["wechat"]), ("USD", []), ("cny", []), ("", [])])
def test_channels_are_offered_by_currency(settings, wechat_settings, currency, names):
    settings.CHANNELS = {"wechat": wechat_settings}
    assert [channel.name for channel in offered_channels(currency)] == names


def test_nothing_is_offered_where_nothing_is_configured(settings):
    settings.CHANNELS = {"wechat": None}
    assert offered_channels("CNY") == []


def test_channel_with_an_unusable_key_says_which_file(settings, wechat_settings, tmp_path):
    settings.CHANNELS = {"wechat": wechat_settings | {"MERCHANT_KEY_FILE": str(tmp_path / "gone.pem")}}
    with pytest.raises(BadKey, match=r"gone\.pem"):
        get_channel("wechat")


@pytest.mark.parametrize("name", CLASSES)
def test_registered_class_is_a_channel_of_that_name(name):
    from django.utils.module_loading import import_string

    found = import_string(CLASSES[name])
    assert issubclass(found, Channel)
    assert found.name == name
    assert found.title
    assert found.currencies
