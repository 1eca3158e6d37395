"""Specification of the one way out, against a server on loopback that misbehaves in every way a network can."""

from __future__ import annotations

import contextlib
import errno
import gzip
import http.client
import io
import json
import logging
import os
import socket
import ssl
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from payments.channels import wire
from payments.channels.base import ChannelError, Unanswered, Unreachable
from payments.channels.timed import call
from payments.channels.wire import (
    CallInsideTransaction,
    Reply,
    Wire,
    is_safe_url,
)
from shop.transactions import give_back_connections, in_transaction

from .raw_server import Peer, RawServer

READ_S, TOTAL_S = 0.5, 1.5
SLACK_S = 3.0  # for a busy machine; an unbounded call would take far longer or for ever
BLOCK = b"x" * 65_536


def make_wire(**changes) -> Wire:
    limits = {"connect_s": TOTAL_S, "read_s": READ_S, "total_s": TOTAL_S, "max_body_bytes": 100_000}
    return Wire(**{"channel": "wechat", "in_transaction": lambda: False, **limits, **changes})


def send(wire: Wire, url: str, *, method: str = "POST", body: bytes | None = b'{"a": 1}', **rest):
    return wire.send(
        method, f"{url}/v3/pay?a=%7C", headers={}, body=body, operation="create", number="ND1", **rest
    )


def answering(*answers: bytes, seen: list[bytes] | None = None):
    """A behaviour: one request after another is answered with these bytes, then the connection is closed."""

    def behave(peer: Peer) -> None:
        for answer in answers:
            request = peer.read_request()
            if seen is not None:
                seen.append(request)
            peer.send(answer)

    return behave


def with_body(body: bytes, head: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {head}", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


OK = with_body(b'{"ok":1}')


# ---- what goes out and comes back --------------------------------------------------------------------------------


def test_request_leaves_exactly_as_given():
    seen: list[bytes] = []
    with RawServer(answering(OK, seen=seen)) as server:
        headers = {"Authorization": "sig", "Content-Type": "application/json"}
        make_wire().send(
            "POST",
            f"{server.url}/v3/a%7Cb?c=d",
            headers=headers,
            body=b'{"a": "\\u4e24"}',
            operation="create",
        )
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v3/a%7Cb?c=d HTTP/1.1"
    assert body == b'{"a": "\\u4e24"}'
    assert {"Authorization: sig", "Accept-Encoding: identity", f"Content-Length: {len(body)}"} <= set(lines)


def test_reply_holds_status_lower_case_headers_and_raw_body():
    with RawServer(answering(with_body(b"\xff\x00", "404 Not Found", **{"Wechatpay-Nonce": "n"}))) as server:
        reply = send(make_wire(), server.url)
    assert (reply.status, reply.body, reply.headers["wechatpay-nonce"]) == (404, b"\xff\x00", "n")
    assert 0 <= reply.elapsed_ms < 60_000


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end", b"to the end"),
        (b"HTTP/1.0 500 Oh\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b'{"ok":1}'),
        (with_body(b"x" * 100_000), b"x" * 100_000),
    ],
    ids=["204", "chunked", "until close", "http 1.0", "continue", "at the limit"],
)
def test_answer_of_every_framing_is_read(answer, body):
    with RawServer(answering(answer)) as server:
        assert send(make_wire(), server.url).body == body


def test_connection_is_used_again():
    with RawServer(answering(OK, b"HTTP/1.1 204 No Content\r\n\r\n", OK)) as server:
        wire = make_wire()
        assert [send(wire, server.url).status for _ in range(3)] == [200, 204, 200]
        assert server.connections == 1


def test_connection_that_the_channel_closed_meanwhile_is_not_used_again():
    gone = threading.Event()

    def behave(peer: Peer) -> None:
        answering(OK)(peer)
        peer.sock.close()
        gone.set()

    with RawServer(behave) as server:
        wire = make_wire()
        send(wire, server.url)
        gone.wait(5)
        assert send(wire, server.url).status == 200
        assert server.connections == 2


def test_connection_is_not_shared_with_a_forked_child(monkeypatch):
    with RawServer(answering(OK, OK)) as server:
        wire = make_wire()
        send(wire, server.url)
        parent = os.getpid()
        monkeypatch.setattr("payments.channels.wire.os", SimpleNamespace(getpid=lambda: parent + 1))
        send(wire, server.url)
        assert server.connections == 2


def test_threads_share_a_wire():
    def behave(peer: Peer) -> None:
        while request := peer.read_request():
            peer.send(with_body(request.partition(b"\r\n\r\n")[2]))

    with RawServer(behave) as server, ThreadPoolExecutor(8) as threads:
        wire = make_wire(total_s=10.0, read_s=10.0, connect_s=10.0)
        bodies = [str(n).encode() for n in range(40)]
        replies = threads.map(lambda body: send(wire, server.url, body=body), bodies)
        assert [reply.body for reply in replies] == bodies


def test_environment_and_cookies_change_nothing(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    seen: list[bytes] = []
    with RawServer(answering(with_body(b"", **{"Set-Cookie": "a=b; Path=/"}), OK, seen=seen)) as server:
        wire = make_wire()
        assert [send(wire, server.url).status for _ in range(2)] == [200, 200]
    assert not any(word in request.lower() for request in seen for word in (b"cookie", b"authorization"))


# ---- nothing was sent: Unreachable -------------------------------------------------------------------------------


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def raises_in_time(error: type[ChannelError], url: str, **changes) -> ChannelError:
    started = time.monotonic()
    with pytest.raises(error) as caught:
        send(make_wire(**changes), url)
    assert type(caught.value) is error
    assert time.monotonic() - started < TOTAL_S + SLACK_S
    return caught.value


def test_refused_connection_is_unreachable():
    assert raises_in_time(Unreachable, f"http://127.0.0.1:{closed_port()}").code == "unreachable"


def test_name_that_does_not_resolve_is_unreachable(monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror("no such host")

    monkeypatch.setattr("payments.channels.timed.socket.getaddrinfo", fail)
    raises_in_time(Unreachable, "https://api.example")


def test_name_server_that_never_answers_is_unreachable_in_time(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr("payments.channels.timed.socket.getaddrinfo", lambda *_, **__: release.wait(30))
    raises_in_time(Unreachable, "https://api.example")
    release.set()


def test_host_that_takes_no_connection_is_unreachable_in_time():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        # Linux drops further connections once the backlog is full, as a host behind a firewall does.
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(address)
        raises_in_time(Unreachable, f"http://127.0.0.1:{address[1]}")
        for sock in waiting:
            sock.close()


def test_second_address_is_tried_when_the_first_refuses(monkeypatch):
    with RawServer(answering(OK)) as server:
        good = int(server.url.rsplit(":", 1)[1])
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in (closed_port(), good)
        ]
        monkeypatch.setattr("payments.channels.timed.socket.getaddrinfo", lambda *_, **__: found)
        assert send(make_wire(), "http://localhost").status == 200


def test_name_without_addresses_is_unreachable(monkeypatch):
    monkeypatch.setattr("payments.channels.timed.socket.getaddrinfo", lambda *_, **__: [])
    raises_in_time(Unreachable, "http://localhost")


@pytest.fixture(scope="module")
def tls_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def serve_tls(folder: Path, key: rsa.RSAPrivateKey, *, address: str = "127.0.0.1") -> ssl.SSLContext:
    """A server's side of TLS; its certificate, self-signed for `address`, is left in `folder` as cert.pem."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    then = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(then - timedelta(days=1))
        .not_valid_after(then + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def trust(folder: Path, monkeypatch) -> None:
    """Let the machine's list of trusted issuers be the certificate in `folder`."""
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(folder / "cert.pem"))


def test_answer_comes_over_tls_from_a_trusted_host(tmp_path, tls_key, monkeypatch):
    with RawServer(answering(OK, OK), tls=serve_tls(tmp_path, tls_key)) as server:
        trust(tmp_path, monkeypatch)
        wire = make_wire(connect_s=10.0, total_s=20.0)
        assert [send(wire, server.url).body for _ in range(2)] == [b'{"ok":1}'] * 2
        assert server.connections == 1


def test_certificate_that_nobody_vouches_for_is_unreachable(tmp_path, tls_key, monkeypatch):
    tls = serve_tls(tmp_path, tls_key)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "cert.pem"))
    with RawServer(answering(OK), tls=tls) as server:
        raises_in_time(Unreachable, server.url)
        assert server.handshake_failed.wait(5)


def test_certificate_of_another_host_is_unreachable(tmp_path, tls_key, monkeypatch):
    seen: list[bytes] = []
    with RawServer(answering(OK, seen=seen), tls=serve_tls(tmp_path, tls_key, address="127.0.0.2")) as server:
        trust(tmp_path, monkeypatch)
        raises_in_time(Unreachable, server.url)
    assert not any(seen)


@pytest.mark.parametrize(
    "behave",
    [
        lambda peer: peer.wait_until_gone(),
        lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        lambda peer: peer.drip(b"\x16\x03\x03\x40\x00" + b"\0" * 64, gap_s=0.02),
        lambda peer: None,
    ],
    ids=["silence", "plain http", "drip", "closed"],
)
def test_failed_tls_handshake_is_unreachable_in_time(behave):
    with RawServer(behave) as server:
        raises_in_time(Unreachable, server.url.replace("http:", "https:"))


# ---- something may have happened: Unanswered ---------------------------------------------------------------------


def reset(peer: Peer) -> None:
    peer.read_request()
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def after_request(act):
    def behave(peer: Peer) -> None:
        peer.read_request()
        act(peer)

    return behave


BROKEN = {
    "reset": reset,
    "closed without an answer": after_request(lambda peer: None),
    "garbage": answering(b"<<<\xff\xfe{]\r\n\r\n"),
    "html without a head": answering(b"<html>502</html>"),
    "impossible status": answering(b"HTTP/1.1 abc OK\r\n\r\n"),
    "status out of range": answering(b"HTTP/1.1 700 Odd\r\nContent-Length: 0\r\n\r\n"),
    "switching protocols": answering(b"HTTP/1.1 101 Switching\r\n\r\n"),
    "body cut short": answering(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{}"),
    "body missing": answering(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n"),
    "chunks cut short": answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
    "last chunk missing": answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"),
    "chunk length impossible": answering(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n"
    ),
    "header line too long": after_request(
        lambda peer: peer.flood(b"HTTP/1.1 200 OK\r\nA: " + BLOCK, limit=10**6)
    ),
    "too many headers": answering(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000 + b"\r\n"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_answer_is_unanswered(name):
    with RawServer(BROKEN[name]) as server:
        assert raises_in_time(Unanswered, server.url).code == "broken"


CHUNK = b"1\r\nx\r\n"
SLOW = {
    "silence": after_request(lambda peer: peer.wait_until_gone()),
    "head, then silence": after_request(lambda peer: (peer.send(OK[:10]), peer.wait_until_gone())),
    "half a body, then silence": after_request(lambda peer: (peer.send(OK[:-3]), peer.wait_until_gone())),
    "dripped status line": after_request(lambda peer: peer.drip(b"H" * 64, gap_s=0.05)),
    "dripped headers": after_request(lambda peer: (peer.send(OK[:15]), peer.drip(b"\r\nA: b", gap_s=0.05))),
    "dripped body": after_request(
        lambda peer: (
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"),
            peer.drip(b"x", gap_s=0.05),
        )
    ),
    "dripped chunks": after_request(
        lambda peer: (
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            peer.drip(CHUNK, gap_s=0.02),
        )
    ),
    "dripped trailers": after_request(
        lambda peer: (
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
            peer.drip(b"A: b\r\n", gap_s=0.02),
        )
    ),
    "continue for ever": after_request(lambda peer: peer.drip(b"HTTP/1.1 100 Continue\r\n\r\n", gap_s=0.005)),
}


@pytest.mark.parametrize("name", SLOW)
def test_slow_answer_is_unanswered_in_time(name):
    with RawServer(SLOW[name]) as server:
        assert raises_in_time(Unanswered, server.url).code == "timeout"


@pytest.mark.parametrize("name", ["silence", "dripped headers", "dripped body"])
def test_slow_answer_over_tls_is_unanswered_in_time(name, tmp_path, tls_key, monkeypatch):
    with RawServer(SLOW[name], tls=serve_tls(tmp_path, tls_key)) as server:
        trust(tmp_path, monkeypatch)
        assert raises_in_time(Unanswered, server.url).code == "timeout"


@pytest.mark.parametrize(
    "head", [b"Content-Length: 104857600\r\n\r\n", b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n"]
)
def test_endless_answer_is_unanswered_and_not_read_on(head):
    sent: list[int] = []
    block = b"10000\r\n" + BLOCK + b"\r\n" if b"chunked" in head else BLOCK

    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\n" + head)
        sent.append(peer.flood(block, limit=104_857_600))
        done.set()

    done = threading.Event()
    with RawServer(behave) as server:
        assert raises_in_time(Unanswered, server.url, total_s=5.0).code == "too_large"
        assert done.wait(10)
    assert sent[0] < 50_000_000  # what the sockets' buffers took in before the connection was dropped


def test_compressed_answer_is_not_unpacked():
    bomb = gzip.compress(b"0" * 20_000_000)
    with RawServer(answering(with_body(bomb, **{"Content-Encoding": "gzip"}))) as server:
        assert send(make_wire(), server.url).body == bomb


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_redirect_is_unanswered_and_not_followed(status):
    with RawServer(answering(OK)) as target:
        answer = with_body(b"", f"{status} Moved", Location=f"{target.url}/v3/pay")
        with RawServer(answering(answer)) as server:
            assert raises_in_time(Unanswered, server.url).code == "redirect"
        assert target.connections == 0


def test_body_of_a_redirect_is_not_read():
    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n")
        peer.drip(b"x", gap_s=0.05)

    with RawServer(behave) as server:
        assert raises_in_time(Unanswered, server.url).code == "redirect"


# ---- downloads ---------------------------------------------------------------------------------------------------


def download(wire: Wire, url: str, into=None, **rest) -> tuple[Reply, bytes]:
    file = into or io.BytesIO()
    reply = wire.download("GET", f"{url}/file?a=%7C", headers={}, into=file, operation="statement", **rest)
    return reply, file.getvalue()


def test_download_writes_the_answer_to_the_file_as_it_came_and_replies_without_a_body():
    content = gzip.compress(os.urandom(300_000))  # larger than an answer of `send` may be
    answer = with_body(content, **{"Content-Encoding": "gzip", "Token": "t"})
    seen: list[bytes] = []
    with RawServer(answering(answer, seen=seen)) as server:
        reply, written = download(make_wire(), server.url)
    assert (reply.status, reply.body, reply.headers["token"]) == (200, b"", "t")
    assert written == content
    assert b"Accept-Encoding: identity" in seen[0]


def test_download_appends_to_what_the_file_holds():
    with RawServer(answering(OK)) as server:
        file = io.BytesIO(b"before ")
        file.seek(0, io.SEEK_END)
        assert download(make_wire(), server.url, file)[1] == b'before {"ok":1}'


def test_download_can_post_a_body():
    seen: list[bytes] = []
    with RawServer(answering(OK, seen=seen)) as server:
        make_wire().download(
            "POST", f"{server.url}/f", headers={}, body=b"a=b", into=io.BytesIO(), operation="x"
        )
    assert seen[0].startswith(b"POST /f ")
    assert seen[0].endswith(b"\r\n\r\na=b")


@pytest.mark.parametrize("status", [201, 204, 206, 400, 404, 500])
def test_download_of_anything_but_200_writes_nothing_and_replies_with_the_body(status):
    body = b"" if status == 204 else b'{"code":"NO_STATEMENT_EXIST"}'
    with RawServer(answering(with_body(body, f"{status} Word"))) as server:
        reply, written = download(make_wire(), server.url)
    assert (reply.status, reply.body, written) == (status, body, b"")


def test_body_of_a_failed_download_is_bounded():
    with (
        RawServer(answering(with_body(b"x" * 100_001, "500 Oh"))) as server,
        pytest.raises(Unanswered) as caught,
    ):
        download(make_wire(), server.url)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize(("limit", "is_taken"), [(100_000, True), (99_999, False)])
def test_download_ends_at_its_limit(limit, is_taken):
    file = io.BytesIO()
    with RawServer(answering(with_body(b"x" * 100_000))) as server:
        if is_taken:
            download(make_wire(), server.url, file, limit_bytes=limit)
        else:
            with pytest.raises(Unanswered, match="too large"):
                download(make_wire(), server.url, file, limit_bytes=limit)
    assert len(file.getvalue()) <= limit


def test_download_has_its_own_time_and_may_take_longer_than_a_call():
    def behave(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        for byte in b"slow":
            time.sleep(0.1)  # the pace of the peer is what is tested
            peer.send(bytes([byte]))

    with RawServer(behave) as server:
        assert download(make_wire(total_s=0.2), server.url, total_s=10.0)[1] == b"slow"


@pytest.mark.parametrize("name", ["silence", "half a body, then silence", "dripped body", "dripped chunks"])
def test_slow_download_is_unanswered_in_time(name):
    started = time.monotonic()
    with RawServer(SLOW[name]) as server, pytest.raises(Unanswered) as caught:
        download(make_wire(), server.url, total_s=TOTAL_S)
    assert caught.value.code == "timeout"
    assert time.monotonic() - started < TOTAL_S + SLACK_S


@pytest.mark.parametrize("name", ["reset", "body cut short", "chunks cut short", "last chunk missing"])
def test_download_that_breaks_off_is_unanswered(name):
    with RawServer(BROKEN[name]) as server, pytest.raises(Unanswered) as caught:
        download(make_wire(), server.url)
    assert caught.value.code == "broken"


def test_download_follows_no_redirect():
    with RawServer(answering(OK)) as target:
        answer = with_body(b"", "302 Found", Location=f"{target.url}/file")
        with RawServer(answering(answer)) as server, pytest.raises(Unanswered) as caught:
            download(make_wire(), server.url)
        assert (caught.value.code, target.connections) == ("redirect", 0)


def test_download_from_nobody_is_unreachable():
    with pytest.raises(Unreachable):
        download(make_wire(), f"http://127.0.0.1:{closed_port()}")


def test_download_inside_a_transaction_is_a_bug_and_sends_nothing():
    with RawServer(answering(OK)) as server:
        with pytest.raises(CallInsideTransaction):
            download(make_wire(in_transaction=lambda: True), server.url)
        assert server.connections == 0


def test_a_full_disk_is_not_taken_for_a_failure_of_the_channel():
    class FullDisk(io.BytesIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    with RawServer(answering(OK)) as server, pytest.raises(OSError, match="No space left"):
        download(make_wire(), server.url, FullDisk())


@pytest.mark.parametrize(("answer", "status", "code"), [(OK, 200, ""), (b"", 0, "broken")])
def test_each_download_is_logged_once(answer, status, code, caplog):
    caplog.set_level(logging.DEBUG, logger="nodrop.wire")
    with RawServer(answering(answer)) as server, contextlib.suppress(Unanswered):
        download(make_wire(), server.url)
    [record] = [record for record in caplog.records if record.name == "nodrop.wire"]
    assert [getattr(record, name) for name in FIELDS] == ["wechat", "statement", "", status, code]


# ---- every error of the libraries is one of the two --------------------------------------------------------------


def descendants(error: type[BaseException]) -> set[type[BaseException]]:
    return {error}.union(*(descendants(child) for child in error.__subclasses__()))


FOREIGN = sorted(
    (
        error
        for root in (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException)
        for error in descendants(root)
    ),
    key=lambda error: f"{error.__module__}.{error.__name__}",
)


class FailingAdapter:
    def __init__(self, error: BaseException, *, sent: bool) -> None:
        self.error, self.sent = error, sent

    def send(self, *_, **__):
        call.sent = self.sent
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        *FOREIGN,
        OSError,
        ConnectionResetError,
        BrokenPipeError,
        TimeoutError,
        ssl.SSLError,
        socket.gaierror,
        ValueError,
    ],
    ids=lambda error: f"{error.__module__}.{error.__name__}",
)
@pytest.mark.parametrize(("sent", "expected"), [(False, Unreachable), (True, Unanswered)])
def test_every_library_error_is_unreachable_or_unanswered_by_the_fact(error, sent, expected):
    adapter = FailingAdapter(error.__new__(error), sent=sent)
    with pytest.raises(expected) as caught:
        send(make_wire(adapter=adapter), "https://api.example")
    assert type(caught.value) is expected


def test_error_text_names_no_address():
    error = requests.ConnectionError("http://api.example/v3/secret failed")
    with pytest.raises(Unreachable) as caught:
        send(make_wire(adapter=FailingAdapter(error, sent=False)), "https://api.example")
    assert str(caught.value) == "no connection: ConnectionError"


def test_a_bug_is_not_taken_for_a_failure_of_the_channel():
    with pytest.raises(KeyError):
        send(make_wire(adapter=FailingAdapter(KeyError("x"), sent=True)), "https://api.example")


# ---- what is never called ----------------------------------------------------------------------------------------


def test_call_inside_a_transaction_is_a_bug_and_sends_nothing():
    with RawServer(answering(OK)) as server:
        with pytest.raises(CallInsideTransaction) as caught:
            send(make_wire(in_transaction=lambda: True), server.url)
        assert server.connections == 0
    assert not isinstance(caught.value, ChannelError)


def database(*, atomic: bool = False, connected: bool = True, autocommit: bool = True) -> SimpleNamespace:
    return SimpleNamespace(
        in_atomic_block=atomic, connection=object() if connected else None, autocommit=autocommit
    )


@pytest.mark.parametrize(
    ("databases", "expected"),
    [
        ([], False),
        ([database()], False),
        ([database(connected=False, autocommit=False)], False),
        ([database(atomic=True)], True),
        ([database(), database(atomic=True)], True),
        ([database(autocommit=False)], True),
    ],
)
def test_transaction_is_seen_on_any_connection(databases, expected):
    assert in_transaction(SimpleNamespace(all=lambda initialized_only: databases)) is expected


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://api.mch.weixin.qq.com", True),
        ("https://10.0.0.1:8443/x", True),
        ("http://127.0.0.1:9000", True),
        ("http://127.8.9.1", True),
        ("http://localhost:9000/x", True),
        ("http://[::1]:9000", True),
        ("http://api.mch.weixin.qq.com", False),
        ("http://10.0.0.1", False),
        ("http://127.0.0.1.example", False),
        ("http://localhost.example", False),
        ("http://127.0.0.1@api.example", False),
        ("https://me:secret@api.example", False),
        ("ftp://127.0.0.1", False),
        ("//api.example", False),
        ("https://", False),
        ("https://[", False),
        ("", False),
    ],
)
def test_only_https_or_this_machine_is_safe(url, safe):
    assert is_safe_url(url) is safe


@pytest.mark.parametrize(
    "url", ["http://api.example/v3", "ftp://127.0.0.1/v3", "https://me:secret@api.example/v3"]
)
def test_unsafe_address_is_not_called(url):
    with pytest.raises(ValueError, match="https"):
        make_wire().send("GET", url, headers={}, operation="query")


@pytest.mark.parametrize("path", ["", "/a b", "/a%7cb|", "/%41", "/é", "/a\n"])
def test_address_that_would_be_rewritten_is_not_called(path):
    with pytest.raises(ValueError, match="rewritten"):
        make_wire().send("GET", f"http://127.0.0.1:1{path}", headers={}, operation="query")


# ---- the log -----------------------------------------------------------------------------------------------------

FIELDS = ("channel", "operation", "number", "status", "code")


def test_each_call_is_logged_once_with_its_fields_and_nothing_secret(caplog):
    caplog.set_level(logging.DEBUG, logger="nodrop.wire")
    answer = with_body(b'{"code":"NO_AUTH","secret":"s3cret"}', "403 Forbidden", Token="s3cret")
    with RawServer(answering(answer)) as server:
        make_wire().send(
            "POST",
            f"{server.url}/v3/pay",
            headers={"Authorization": "s3cret"},
            body=b"s3cret",
            operation="create",
            number="ND1",
            code_of=lambda reply: json.loads(reply.body)["code"],
        )
    [record] = [record for record in caplog.records if record.name == "nodrop.wire"]
    assert (record.message, record.levelname) == ("channel call", "INFO")
    assert [getattr(record, name) for name in FIELDS] == ["wechat", "create", "ND1", 403, "NO_AUTH"]
    assert isinstance(record.milliseconds, int)
    assert "s3cret" not in repr(vars(record))


def test_failed_call_is_logged_once_with_why(caplog):
    caplog.set_level(logging.DEBUG, logger="nodrop.wire")
    raises_in_time(Unreachable, f"http://127.0.0.1:{closed_port()}")
    [record] = [record for record in caplog.records if record.name == "nodrop.wire"]
    assert record.levelname == "WARNING"
    assert [getattr(record, name) for name in FIELDS] == ["wechat", "create", "ND1", 0, "unreachable"]


@pytest.mark.parametrize(("options", "is_given_back"), [({"pool": {"max_size": 4}}, True), ({}, False)])
def test_pooled_connection_serves_others_during_a_call(options, is_given_back):
    closed: list[bool] = []
    held = SimpleNamespace(settings_dict={"OPTIONS": options}, close=lambda: closed.append(True))
    give_back_connections(SimpleNamespace(all=lambda initialized_only: [held]))
    assert bool(closed) is is_given_back


def test_connections_are_given_back_before_the_call_is_sent(monkeypatch):
    order: list[str] = []
    reply = Reply(status=200, headers={}, body=b"", elapsed_ms=1)
    monkeypatch.setattr(wire, "give_back_connections", lambda: order.append("given back"))
    monkeypatch.setattr(Wire, "_exchange", lambda self, *_: order.append("sent") or reply)
    send(make_wire(), "http://127.0.0.1:1")
    assert order == ["given back", "sent"]
