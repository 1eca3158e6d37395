"""Callbacks as WeChat Pay sends them: encrypted, signed, and framed as whole HTTP requests before anything is measured."""

import secrets

from payments.sandbox.clock import now_us
from payments.sandbox.records import Notice, Trade
from payments.sandbox.wechat_documents import describe_trade, to_json, wrap_notice
from payments.sandbox.wechat_seals import WeChatKeys, encrypt

HOST, PATH = "shop.example", "/notify/wechat/"


def seal_callback(keys: WeChatKeys, number: str, amount: int) -> tuple[dict[str, str], bytes]:
    """Headers and body that say: this payment of ours, of so many fen, was paid just now. Valid for five minutes."""
    now = now_us()
    trade = Trade(
        id=0, channel="wechat", out_trade_no=number, part=0, channel_number=f"4200{secrets.randbelow(10**24):024}",
        amount=amount, currency="CNY", status="PAID", description="", notify_url="", request={}, notes={}, created_at=now,
        expires_at=now, paid_at=now, declined_at=None,
    )  # fmt: skip
    notice = Notice(
        id=secrets.token_hex(16),
        trade_id=0,
        refund_id=None,
        url=PATH,
        event="",
        created_at=now,
        tries=0,
        due_at=None,
    )
    said = to_json(describe_trade(trade, "SUCCESS", mchid=keys.mchid, appid=keys.appid))
    sealed = encrypt(keys.apiv3_key, said, "transaction")
    body = to_json(wrap_notice(notice, None, {"original_type": "transaction", **sealed}))
    return {"Content-Type": "application/json", "User-Agent": "Mozilla/4.0", **keys.seal(body)}, body


def to_request(headers: dict[str, str], body: bytes) -> bytes:
    """The bytes of one HTTP/1.1 request, as a proxy passes it on over a connection that stays open."""
    own = {"Host": HOST, "X-Forwarded-Proto": "https", "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in (own | headers).items())
    return f"POST {PATH} HTTP/1.1\r\n{lines}\r\n".encode() + body
