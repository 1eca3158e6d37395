"""The line in front of what people start: a courtesy, never the thing that makes it right."""

import threading
import time

import pytest

from shop import hints, locks
from shop.locks import stand_in_line
from tests.redis_states import whatever_redis_does


@pytest.fixture
def name() -> str:
    return f"test {time.monotonic_ns()}"


def test_one_is_inside_at_a_time(name):
    inside, most = [], []

    def enter() -> None:
        with stand_in_line(name):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


def test_who_had_to_wait_knows_it(name):
    with stand_in_line(name) as has_waited:
        assert not has_waited
        seen: list[bool] = []
        rival = threading.Thread(target=lambda: seen.append(_enter(name)))
        rival.start()
        time.sleep(0.1)
    rival.join()
    assert seen == [True]


def _enter(name: str) -> bool:
    with stand_in_line(name) as has_waited:
        return has_waited


def test_who_has_waited_long_enough_goes_on_all_the_same(name, monkeypatch):
    monkeypatch.setattr(locks, "WAIT_S", 0.1)
    with stand_in_line(name):
        started = time.monotonic()
        assert _enter(name)
    assert time.monotonic() - started < 1


def test_who_went_on_all_the_same_does_not_let_others_in_when_leaving(name, monkeypatch):
    monkeypatch.setattr(locks, "WAIT_S", 0.1)
    with stand_in_line(name):
        _enter(name)
        assert hints.claim(f"line:{name}", "another", for_s=locks.HELD_S) is not None


def test_line_is_left_when_the_block_raises(name):
    with pytest.raises(ZeroDivisionError), stand_in_line(name):
        raise ZeroDivisionError
    assert not _enter(name)


@whatever_redis_does
def test_without_redis_everybody_goes_in_at_once(name, redis_state):
    with stand_in_line(name):
        started = time.monotonic()
        if redis_state != "up":
            assert not _enter(name)
            assert time.monotonic() - started < 1


def test_who_waits_gives_its_pooled_connection_to_others(name, monkeypatch):
    monkeypatch.setattr(locks, "WAIT_S", 0.1)
    given: list[int] = []
    monkeypatch.setattr(locks, "give_back_connections", lambda: given.append(1))
    assert not _enter(name)
    assert not given
    with stand_in_line(name):
        _enter(name)
    assert given
