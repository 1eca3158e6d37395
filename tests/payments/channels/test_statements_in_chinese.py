"""What is wrong with a channel's statement is told in the language of whoever reads it, and kept in English."""

import base64
import json
from collections.abc import Callable
from io import BytesIO

import pytest
from django.utils import translation

from payments.channels.base import BadStatement, Channel
from shop.sentences import in_english

from . import boleto_party, paypal_party, wechat_party
from .alipay_party import BILL_TEXT, make_alipay, make_bill
from .test_unionpay_statement import PAID_LINE, REFUND_LINE, pack
from .unionpay_party import make_unionpay

WECHAT_BILL = base64.b64decode(wechat_party.VECTORS["bill"]["csv_utf8_base64"])
CUT = {
    "wechat": (
        wechat_party.make_wechat,
        b"".join(WECHAT_BILL.splitlines(keepends=True)[:3]),
        "缺少合计：账单不完整",
    ),
    "alipay": (
        make_alipay,
        make_bill(BILL_TEXT[: BILL_TEXT.index("两件T恤")]),
        "第 6 行：有 4 列，应有 25 列",
    ),
    "unionpay": (
        make_unionpay,
        pack(REFUND_LINE + PAID_LINE[:300] + b"\r\n").getvalue(),
        "第 2 行：长度有误",
    ),
    "boleto": (
        boleto_party.make_boleto,
        json.dumps(boleto_party.booking()).encode() + b"\n",
        "缺少结尾",
    ),
    "paypal": (
        paypal_party.make_paypal,
        json.dumps(paypal_party.page(paypal_party.info())).encode() + b"\n",
        "缺少结尾",
    ),
}


@pytest.mark.parametrize(("make", "content", "told"), CUT.values(), ids=CUT)
def test_cut_statement_is_refused_in_the_readers_language(
    make: Callable[[], Channel], content: bytes, told: str
):
    with pytest.raises(BadStatement) as refused:
        list(make().read_statement(BytesIO(content)))
    with translation.override("zh-hans"):
        assert str(refused.value) == told
        assert in_english(refused.value).isascii()
