from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from payments.channels.base import BadPayer, Channel, Scene
from payments.channels.registry import (
    CLASSES,
    BrokenChannel,
    UnknownChannel,
    get_channel,
    offered_channels,
    payer_at,
)
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
    with pytest.raises(BrokenChannel, match=r"gone\.pem"):
        get_channel("wechat")


BOLETO = {"BASE_URL": "https://api.stripe.com", "SECRET_KEY": "sk_live_1", "WEBHOOK_SECRET": "whsec_1"}
BROKEN = BOLETO | {"EXPIRES_AFTER_DAYS": "soon"}


def test_channel_that_cannot_be_built_is_left_out_and_the_others_are_offered(settings, wechat_settings):
    settings.CHANNELS = {"wechat": wechat_settings | {"APIV3_KEY": "short"}, "boleto": BROKEN}
    assert offered_channels("CNY") == offered_channels("BRL") == []
    settings.CHANNELS = {"wechat": wechat_settings, "boleto": BROKEN}
    assert [channel.name for channel in offered_channels("CNY")] == ["wechat"]
    settings.CHANNELS = {
        "wechat": wechat_settings | {"APIV3_KEY": "short"},
        "boleto": BOLETO | {"EXPIRES_AFTER_DAYS": "3"},
    }
    assert [channel.name for channel in offered_channels("BRL")] == ["boleto"]


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What was logged as an error."""
    lines = (line.msg for line in caplog.records if line.levelname == "ERROR")
    return [line for line in lines if isinstance(line, dict)]


def test_channel_that_cannot_be_built_is_logged_once_with_the_reason(settings, wechat_settings, caplog):
    settings.CHANNELS = {"wechat": wechat_settings | {"APIV3_KEY": "short"}}
    for _ in range(3):
        offered_channels("CNY")
    [line] = told(caplog)
    assert line["channel"] == "wechat"
    assert line["reason"] == "WeChat's API v3 key has 32 characters"


def test_reason_of_an_error_that_nobody_foresaw_is_its_name_for_its_text_may_hold_a_secret(
    settings, wechat_settings, monkeypatch, caplog
):
    def fail(_: object) -> None:
        raise ValueError("s3cret")

    monkeypatch.setattr(WeChat, "from_settings", fail)
    settings.CHANNELS = {"wechat": wechat_settings}
    with pytest.raises(BrokenChannel) as broken:
        get_channel("wechat")
    [line] = told(caplog)
    assert broken.value.reason == line["reason"] == "ValueError"
    assert "s3cret" not in f"{line} {broken.value}"


def test_key_file_that_comes_back_mends_the_channel(settings, wechat_settings, tmp_path):
    late = tmp_path / "late.pem"
    settings.CHANNELS = {"wechat": wechat_settings | {"MERCHANT_KEY_FILE": str(late)}}
    assert offered_channels("CNY") == []
    late.write_text(MERCHANT["private_key_pkcs8_pem"])
    assert [channel.name for channel in offered_channels("CNY")] == ["wechat"]


def test_only_wechats_h5_must_be_told_the_address():
    assert payer_at("wechat", "wap", "203.0.113.9") == {"ip": "203.0.113.9"}
    ways = {(name, scene) for name in (*CLASSES, "nowhere") for scene in (*Scene, "nonsense")}
    assert all(payer_at(name, scene, "") == {} for name, scene in ways - {("wechat", Scene.WAP)})
    with pytest.raises(BadPayer) as refused:
        payer_at("wechat", "wap", "")
    assert refused.value.field == "ip"


@pytest.mark.parametrize("name", CLASSES)
def test_registered_class_is_a_channel_of_that_name(name):
    from django.utils.module_loading import import_string

    found = import_string(CLASSES[name])
    assert issubclass(found, Channel)
    assert found.name == name
    assert found.title
    assert found.currencies
