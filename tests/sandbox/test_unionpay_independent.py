"""Published vectors as the independent party: the sandbox verifies what other code signed, and signs as other code does."""

import base64
import json
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from payments.sandbox.records import Booking
from payments.sandbox.unionpay_documents import write_answer
from payments.sandbox.unionpay_seals import build_text, is_signed, sign, write_certificate
from payments.sandbox.unionpay_statement import _write_line
from tests.sandbox.unionpay_merchant import BACK, QUERY, read_answer
from tests.sandbox_process import start_sandbox

VECTORS = json.loads(
    (Path(__file__).parent.parent / "payments" / "channels" / "vectors" / "unionpay.json").read_text()
)
REQUESTS, MERCHANT, THEIRS = VECTORS["requests"], VECTORS["merchant"], VECTORS["unionpay"]
MESSAGES = VECTORS["responses"] | VECTORS["notifications"] | {"statement": VECTORS["statement"]["response"]}
CERTIFICATE = x509.load_pem_x509_certificate(MERCHANT["cert_pem"].encode())
SIGNER_KEY = serialization.load_pem_private_key(THEIRS["sign_private_key_pkcs8_pem"].encode(), None)


@pytest.mark.parametrize("name", REQUESTS)
def test_published_request_is_of_its_merchant(name):
    params = REQUESTS[name]["params"]

    assert build_text(params) == REQUESTS[name]["string_to_sign"]
    assert is_signed(params, CERTIFICATE)
    assert not is_signed(params | {"merId": "777290000012346"}, CERTIFICATE)


@pytest.mark.parametrize("name", MESSAGES)
def test_message_is_signed_and_written_as_published(name):
    params = MESSAGES[name]["params"]

    assert sign(SIGNER_KEY, params) == params["signature"]
    assert write_answer(params) == MESSAGES[name]["raw_body_not_urlencoded"].encode()


def test_certificate_is_written_as_published():
    signer = x509.load_pem_x509_certificate(THEIRS["sign_cert_pem"].encode())

    assert write_certificate(signer) == MESSAGES["consume_ok"]["params"]["signPubKeyCert"]


@pytest.fixture(scope="module")
def vector_sandbox(tmp_path_factory):
    """A sandbox whose merchant is the vectors'."""
    keys = tmp_path_factory.mktemp("keys")
    for name, content in (
        ("unionpay_mer_id", VECTORS["merId"]),
        ("unionpay_merchant_key.pem", MERCHANT["private_key_pkcs8_pem"]),
        ("unionpay_merchant_cert.pem", MERCHANT["cert_pem"]),
    ):
        (keys / name).write_text(content)
    sandbox = start_sandbox(tmp_path_factory.mktemp("sandbox"), key_dir=keys)
    yield sandbox
    sandbox.stop()


@pytest.mark.parametrize(
    ("name", "path", "code"),
    # The moments of the orders are long over or far away; the signature is looked at first.
    [("query", QUERY, "34"), ("query", BACK, "34"), ("refund", BACK, None), ("qr_apply", BACK, None)],
)
def test_published_request_gets_past_the_signature_as_it_is(vector_sandbox, name, path, code):
    answer = vector_sandbox.http.post(
        vector_sandbox.url + path,
        data=REQUESTS[name]["body_urlencoded"],
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )

    told = read_answer(answer.content.decode())
    assert told["respCode"] != "11"
    assert code in (None, told["respCode"])
    assert told["orderId"] == REQUESTS[name]["params"]["orderId"]


def test_lines_of_the_statement_are_the_published_ones():
    """Same trade and refund, same bytes."""
    book = base64.b64decode(VECTORS["statement"]["zm_text_gbk_base64"]).decode("gbk").split("\r\n")
    trade = SimpleNamespace(
        channel_number="202611211810050000018",
        out_trade_no="ND20261121A0000003",
        amount=12900,
        request={"txnSubType": "07", "bizType": "000000"},
        paid_at=1795255834_000000,
    )
    refund = SimpleNamespace(
        channel_number="202611212101030000028",
        out_refund_no="NDR20261121A0000003",
        amount=2900,
        request={"txnType": "04", "bizType": "000000"},
    )

    lines = [
        _write_line(Booking(trade, None, trade.paid_at), VECTORS["merId"]),
        _write_line(Booking(trade, refund, 1795266063_000000), VECTORS["merId"]),
    ]

    assert lines == book[:2]


def test_published_file_is_packed_as_ours_is():
    packed = base64.b64decode(VECTORS["statement"]["fileContent"])
    assert zlib.decompress(packed) == base64.b64decode(VECTORS["statement"]["zip_base64"])
