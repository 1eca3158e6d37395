"""One message: signed by the convention, sent once, bounded in time and memory, whatever the receiver does."""

import json
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.db import transaction
from standardwebhooks import Webhook, WebhookVerificationError

from shop.webhooks import addresses, sending
from shop.webhooks.sending import Answer, SentInsideTransaction, send
from shop.webhooks.signing import new_secret
from tests.listening import OK, Listener, hang, listening, status

BODY = json.dumps({"id": "V1", "data": {"词": "订单"}}, ensure_ascii=False).encode()
SECRET, FORMER = new_secret(), new_secret()


@pytest.fixture(autouse=True)
def _this_machine_is_allowed(settings):
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture
def receiver() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


def send_to(url: str, *, total_s: float = 8.0) -> Answer:
    return send(
        url,
        message_id="V1",
        body=BODY,
        secrets=[SECRET, FORMER],
        at=datetime.now(UTC),
        total_s=total_s,
    )


@pytest.mark.parametrize("secret", [SECRET, FORMER], ids=["secret", "former"])
def test_receiver_verifies_the_message_with_either_secret(receiver, secret):
    assert send_to(receiver.url).is_taken
    [letter] = receiver.letters
    assert letter.line == "POST /hooks HTTP/1.1"
    assert letter.headers["webhook-id"] == "V1"
    assert Webhook(secret).verify(letter.body, letter.headers) == json.loads(BODY)


def test_receiver_with_another_secret_refuses_it(receiver):
    send_to(receiver.url)
    [letter] = receiver.letters
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(letter.body, letter.headers)


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
def test_every_2xx_is_taken(receiver, code):
    receiver.usual = status(code)
    assert send_to(receiver.url) == Answer(code)
    assert Answer(code).is_taken


@pytest.mark.parametrize("code", [300, 301, 302, 307, 308, 400, 401, 404, 410, 429, 500, 503, 599])
def test_every_other_status_is_a_failure(receiver, code):
    receiver.usual = status(code, "Location: /elsewhere")
    answer = send_to(receiver.url)
    assert (answer, answer.is_taken, answer.is_gone) == (Answer(code), False, code == 410)


def test_redirect_is_not_followed(receiver):
    with listening() as elsewhere:
        receiver.usual = status(307, f"Location: {elsewhere.url}")
        send_to(receiver.url)
        assert (len(receiver.letters), elsewhere.letters) == (1, [])


def test_answer_that_announces_another_is_waited_for(receiver):
    receiver.usual = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK
    assert send_to(receiver.url) == Answer(200)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\r\n",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 600 x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 200,
        b"\0" * 5000,
        b"HTTP/1.1 200" + b"x" * 5000,
    ],
    ids=["nothing", "line", "ssh", "letters", "switching", "600", "continue", "zeros", "long line"],
)
def test_what_is_no_answer_is_a_failure(receiver, said):
    receiver.usual = said
    assert send_to(receiver.url) == Answer(0, "broken")


def drip(line: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK" * 100:
        line.sendall(bytes([byte]))
        time.sleep(0.05)


@pytest.mark.parametrize("slowly", [hang, drip])
def test_receiver_that_takes_its_time_gets_no_more_than_ours(receiver, slowly):
    receiver.usual = slowly
    began = time.monotonic()
    answer = send_to(receiver.url, total_s=0.4)
    assert answer in (Answer(0, "timeout"), Answer(0, "broken"))
    assert time.monotonic() - began < 3


def test_answer_without_end_counts_by_its_status_and_is_not_read_on(receiver):
    def pour(line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
        for _ in range(2000):
            line.sendall(b"x" * 65_536)

    receiver.usual = pour
    began = time.monotonic()
    assert send_to(receiver.url) == Answer(200)
    assert time.monotonic() - began < 4


def test_nobody_at_the_door_is_no_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert send_to(f"http://127.0.0.1:{port}/") == Answer(0, "no connection")


def test_address_that_is_not_allowed_any_more_is_not_called(receiver, settings):
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    assert send_to(receiver.url) == Answer(0, "address")
    assert receiver.letters == []


def test_name_that_leads_inside_is_not_called(receiver, settings, monkeypatch):
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    monkeypatch.setattr(addresses, "resolve", lambda *_: [ip_address("127.0.0.1")])
    assert send_to(f"https://erp.example.com:{receiver.port}/") == Answer(0, "refused address")
    assert receiver.letters == []


def test_name_is_looked_up_once_so_that_a_second_answer_changes_nothing(receiver, monkeypatch):
    asked = []

    def resolve(host: str, port: int) -> list[object]:
        asked.append(host)
        return [ip_address("127.0.0.1" if len(asked) == 1 else "127.0.0.2")]

    monkeypatch.setattr(addresses, "resolve", resolve)
    assert send_to(f"http://erp.example.com:{receiver.port}/").is_taken
    assert asked == ["erp.example.com"]
    assert receiver.letters[0].headers["host"] == f"erp.example.com:{receiver.port}"


def test_proxy_of_the_environment_is_not_used(receiver, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send_to(receiver.url).is_taken


@pytest.mark.django_db
def test_nothing_is_sent_inside_a_transaction(receiver):
    with pytest.raises(SentInsideTransaction), transaction.atomic():
        send_to(receiver.url)
    assert receiver.letters == []


# ---- TLS ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path) -> Path:
    """Of erp.example.com, by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "erp.example.com")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("erp.example.com")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path: Path = tmp_path / "cert.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def tls_receiver(certificate, monkeypatch) -> Iterator[Listener]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setattr(addresses, "resolve", lambda *_: [ip_address("127.0.0.1")])
    with listening(tls=context) as listener:
        yield listener


def test_certificate_that_nobody_vouches_for_is_refused(tls_receiver):
    assert send_to(f"https://erp.example.com:{tls_receiver.port}/") == Answer(0, "tls")
    assert tls_receiver.letters == []


@pytest.mark.parametrize(
    ("host", "answer"), [("erp.example.com", Answer(200)), ("other.example.com", Answer(0, "tls"))]
)
def test_certificate_counts_for_its_own_name_only(tls_receiver, certificate, monkeypatch, host, answer):
    trusting = ssl.create_default_context(cafile=certificate)
    monkeypatch.setattr(sending, "tls_context", lambda: trusting)
    assert send_to(f"https://{host}:{tls_receiver.port}/") == answer
