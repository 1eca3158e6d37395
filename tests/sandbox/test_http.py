"""HTTP itself: connections that stay open, bodies that are bounded, bytes that make no sense."""

import random
import socket

import pytest

TRADES = "/_sandbox/trades?out_trade_no=none"


def exchange(sandbox, *requests: bytes) -> list[bytes]:
    """Send on one connection, one after the other; returns each answer's status line and headers."""
    answers = []
    with socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as connection:
        reader = connection.makefile("rb")
        for request in requests:
            connection.sendall(request)
            answers.append(read_answer(reader))
    return answers


def read_answer(reader) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = reader.readline()
        if not line:
            return head
        head += line
    length = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    reader.read(length)
    return head


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def test_one_connection_carries_many_calls(sandbox):
    answers = exchange(sandbox, *[get(TRADES)] * 5)

    assert [answer.split(b" ")[1] for answer in answers] == [b"200"] * 5
    assert not any(b"Connection: close" in answer for answer in answers)


def test_body_of_a_call_is_not_taken_for_the_next_call(sandbox):
    head = b"POST /_sandbox/trades/wechat/none/pay HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n"
    post = head + b"GET / HTTP/1.1"

    answers = exchange(sandbox, post, get(TRADES))

    assert [answer.split(b" ")[1] for answer in answers] == [b"400", b"200"]


def test_answer_without_body_leaves_the_connection_in_order(sandbox):
    clear = b"DELETE /_sandbox/faults HTTP/1.1\r\nHost: x\r\n\r\n"

    answers = exchange(sandbox, clear, get(TRADES))

    assert [answer.split(b" ")[1] for answer in answers] == [b"204", b"200"]
    assert b"Content-Length" not in answers[0]


def test_client_may_ask_for_the_end_of_the_connection(sandbox):
    [answer] = exchange(sandbox, get(TRADES, "Connection: close"))

    assert b"Connection: close" in answer


@pytest.mark.parametrize("size", [64 * 1024 + 1, 5_000_000])
def test_body_that_is_too_large_is_refused(sandbox, size):
    answer = sandbox.http.post(f"{sandbox.url}/v3/pay/transactions/native", data=b"x" * size, timeout=20)

    assert answer.status_code == 413


def test_chunked_body_is_read_and_bounded(sandbox):
    address = f"{sandbox.url}/_sandbox/faults"

    assert sandbox.http.put(address, data=iter([b'{"se', b'ed": 9}'])).json()["seed"] == 9
    assert sandbox.http.put(address, data=iter([b"x" * 40_000] * 3)).status_code == 413


@pytest.mark.parametrize("length", ["-1", "1e3", "many", "²"])
def test_length_that_is_no_number_is_refused(sandbox, length):
    post = f"POST /v3/pay/transactions/native HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"

    [answer] = exchange(sandbox, post.encode())

    assert answer.startswith(b"HTTP/1.1 400")


def test_random_bytes_never_bring_it_down(sandbox):
    dice = random.Random(20261121)
    for _ in range(100):
        junk = dice.randbytes(dice.randint(1, 400)) + b"\r\n\r\n"
        with socket.create_connection(("127.0.0.1", sandbox.port), timeout=10) as connection:
            connection.sendall(junk)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)  # an empty one: closed without a word
        assert not answer.startswith(b"HTTP/1.1 5") or answer.startswith((b"HTTP/1.1 501", b"HTTP/1.1 505"))

    assert exchange(sandbox, get(TRADES))[0].startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "path", ["/v3/%ff%fe", "/_sandbox/wallet?content=%ff", "/_sandbox/trades?channel=%00", "//x", "/%2e%2e/"]
)
def test_odd_path_is_no_error_of_ours(sandbox, path):
    [answer] = exchange(sandbox, get(path))

    assert answer.split(b" ")[1] in (b"200", b"400", b"404")
