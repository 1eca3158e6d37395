"""What a channel gives the shopper to pay by, one of each type, as an adapter would."""

from typing import Any

QR = {"type": "qr", "content": "weixin://wxpay/bizpayurl?pr=abc"}
REDIRECT = {"type": "redirect", "url": "https://pay.example/checkoutnow?token=5O19&a=<b>"}
FORM = {
    "type": "form",
    "url": "https://gateway.pay.example/gateway/api/frontTransReq.do",
    "fields": {"orderId": "P1", "signature": "a+b/c==", "orderDesc": "茶 <b>&\"'"},
}
VOUCHER = {
    "type": "voucher",
    "barcode": "00198987600000129000000002814567891234567890",
    "digitable_line": "00190000090281456789012345678901198760000012900",
    "pdf_url": "https://pay.example/boleto.pdf",
    "expires_at": "2026-11-25T02:59:59+00:00",
}
SDK = {"type": "sdk", "params": {"prepayid": "wx1"}}
ACTIONS: dict[str, dict[str, Any]] = {
    str(action["type"]): action for action in (QR, REDIRECT, FORM, VOUCHER, SDK)
}
