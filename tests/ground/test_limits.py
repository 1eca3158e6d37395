"""The limit in front of the web: what is too large is refused before anybody reads or stores it."""

import asyncio
import json

import pytest

from shop.limits import LimitBody


async def echo(scope, receive, send):
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def ask(chunks: list[bytes], headers: list[tuple[bytes, bytes]] | None = None) -> tuple[int, bytes, int]:
    """Send a body in chunks; returns status, body and how many chunks were read."""
    waiting = [
        {"type": "http.request", "body": chunk, "more_body": n < len(chunks) - 1}
        for n, chunk in enumerate(chunks)
    ]
    sent: list[dict] = []

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers or []}
    asyncio.run(LimitBody(echo, most=10)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"], len(chunks) - len(waiting)


def test_body_within_the_limit_arrives_whole():
    assert ask([b"01234", b"56789"]) == (200, b"0123456789", 2)


def test_announced_body_over_the_limit_is_refused_unread():
    assert ask([b"0"], [(b"content-length", b"11")])[::2] == (413, 0)


def test_body_that_grows_over_the_limit_is_not_read_on():
    assert ask([b"0123456789", b"x", b"y", b"z"])[::2] == (413, 2)


@pytest.mark.parametrize("length", [b"abc", b"-1", b""])
def test_senseless_length_is_the_servers_business(length):
    assert ask([b"01"], [(b"content-length", length)])[0] == 200


def test_client_that_goes_away_is_let_go():
    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError("nobody is there")

    asyncio.run(
        LimitBody(echo)({"type": "http", "method": "POST", "path": "/", "headers": []}, receive, send)
    )


@pytest.mark.parametrize("chunks", [[], [b"0"], [b"0", b"1", b"2"]])
def test_body_that_does_not_come_to_its_end_is_not_waited_for(chunks):
    waiting = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    sent: list[dict] = []

    async def receive():
        return waiting.pop(0) if waiting else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    asyncio.run(LimitBody(echo, within_s=0.05)(scope, receive, send))
    assert (sent[0]["status"], json.loads(sent[1]["body"])["code"]) == (408, "too_slow")


def test_answer_may_take_longer_than_the_body():
    async def slow(scope, receive, send):
        await asyncio.sleep(0.1)
        await echo(scope, receive, send)

    sent: list[dict] = []

    async def receive():
        return {"type": "http.request", "body": b"0", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    asyncio.run(LimitBody(slow, within_s=0.05)(scope, receive, send))
    assert sent[0]["status"] == 200


@pytest.mark.parametrize(("may_be", "expected"), [(30, (200, 3)), (20, (413, 0)), (None, (413, 0))])
def test_larger_body_is_handed_on_unread_only_where_and_as_far_as_it_is_allowed(may_be, expected):
    chunks = [b"x" * 10, b"y" * 10, b"z" * 9]
    read: list[bytes] = []
    sent: list[dict] = []

    async def app(scope, receive, send):
        read.extend([(await receive())["body"] for _ in chunks])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return {"type": "http.request", "body": chunks[len(read)], "more_body": True}

    async def send(message):
        sent.append(message)

    async def larger(scope):
        return may_be

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-length", b"29")]}
    asyncio.run(LimitBody(app, most=10, larger=larger)(scope, receive, send))
    assert (sent[0]["status"], len(read)) == expected


def test_refusal_is_in_the_language_of_who_sends():
    status, body, _ = ask([b"01234567890"], [(b"accept-language", b"zh-CN")])
    assert (status, json.loads(body)["detail"]) == (413, "请求正文过大。")
