"""How channels are named in a sentence, and whose money a person has to send back."""

import pytest

from payments.channels.registry import CLASSES, can_refund
from shop.checkout.wallets import names_by_hand, wallet_of
from shop.languages import join_names


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["Alipay"], "Alipay"),
        (["Alipay", "PayPal"], "Alipay and PayPal"),
        (["WeChat", "Alipay", "PayPal"], "WeChat, Alipay and PayPal"),
        (["Alipay", "PayPal", "Alipay"], "Alipay and PayPal"),
    ],
)
def test_names_stand_in_a_sentence_each_once(names, text):
    assert join_names(names) == text


@pytest.mark.parametrize("channel", CLASSES)
def test_person_is_named_exactly_where_the_channel_cannot_give_back(channel):
    assert names_by_hand([channel]) == ("" if can_refund(channel) else wallet_of(channel).title)


def test_channel_that_is_gone_gives_nothing_back_by_itself():
    assert names_by_hand(["wechat", "cash", "boleto"]) == "cash and Boleto"
