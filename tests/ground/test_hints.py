"""Hints in Redis: what may be lost, never raises, and never goes back to an older version."""

from typing import Any

import pytest
from django_redis import get_redis_connection

from shop import hints
from shop.hints import ask_redis, claim, full_name, keep, recall, release, replace
from tests.redis_states import whatever_redis_does
from tests.waiting import wait_until


def put(name: str, value: str, **more: Any) -> None:
    """Write into Redis past our own room."""
    get_redis_connection("default").set(full_name(name), value, **more)


def test_what_was_kept_is_recalled():
    keep("a", {"n": 1}, version=1, for_s=5)
    assert recall("a", "b") == [{"n": 1}, None]


def test_what_was_kept_is_gone_after_its_time():
    keep("a", {"n": 1}, version=1, for_s=0.1)
    assert wait_until(lambda: recall("a") == [None])


def test_a_later_version_takes_the_place_of_an_earlier_one_and_never_the_reverse():
    keep("a", {"n": 2}, version=2, for_s=5)
    keep("a", {"n": 1}, version=1, for_s=5)
    assert recall("a") == [{"n": 2}]
    keep("a", {"n": 3}, version=3, for_s=5)
    assert recall("a") == [{"n": 3}]


def test_what_was_read_too_long_ago_is_not_kept():
    keep("a", {"n": 1}, version=1, for_s=-0.5)
    assert recall("a") == [None]


@pytest.mark.parametrize(
    ("value", "how"),
    [
        ("not ours", {"px": 2000}),
        ("7:{", {"px": 2000}),
        ("7:[1]", {"px": 2000}),
        ("7:7", {"px": 2000}),
        ('9999:{"n":9}', {}),  # without an end
        ('9999:{"n":9}', {"ex": 3600}),  # with a later one than we ever give
    ],
)
def test_what_is_not_ours_is_not_believed_and_gives_its_place_up(value, how):
    put("a", value, **how)
    assert recall("a") == [None]
    keep("a", {"n": 10}, version=10, for_s=5)
    assert recall("a") == [{"n": 10}]


def test_value_of_another_type_in_the_way_is_no_answer_and_no_failure():
    get_redis_connection("default").rpush(full_name("a"), "x")
    assert claim("a", "1", for_s=5) is None
    keep("b", {"n": 1}, version=1, for_s=5)
    assert recall("b") == [{"n": 1}]


def test_one_of_many_sets_a_name_and_the_others_learn_who():
    assert [claim("a", who, for_s=5) for who in ("first", "second", "first")] == [None, "first", "first"]


def test_only_what_one_has_set_is_released_or_replaced():
    claim("a", "first", for_s=5)
    release("a", "second")
    replace("a", "second", "third", for_s=5)
    assert claim("a", "other", for_s=5) == "first"
    replace("a", "first", "third", for_s=5)
    assert claim("a", "other", for_s=5) == "third"
    release("a", "third")
    assert claim("a", "other", for_s=5) is None


@whatever_redis_does
def test_nothing_raises_whatever_redis_does():
    keep("a", {}, version=1, for_s=5)
    assert len(recall("a", "b")) == 2
    claim("c", "x", for_s=5)
    replace("c", "x", "y", for_s=5)
    release("c", "y")


@whatever_redis_does
def test_redis_that_failed_is_left_alone_for_some_seconds_and_then_asked_again(redis_state, monkeypatch):
    asked = []

    def question(client: Any) -> bool:
        asked.append(1)
        return bool(client.ping())

    first, second = ask_redis(question), ask_redis(question)
    if redis_state == "up":
        assert (first, second, len(asked)) == (True, True, 2)
    else:
        assert (first, second, len(asked)) == (None, None, 1)
        monkeypatch.setattr(hints, "REST_S", 0.0)
        hints._rests_until.clear()
        ask_redis(question)
        ask_redis(question)
        assert len(asked) == 3


@pytest.mark.parametrize("how", [{}, {"ex": 3600}])
def test_claim_without_an_end_or_with_a_later_one_than_ours_gives_its_place_up(how):
    put("a", "for ever", **how)
    assert claim("a", "ours", for_s=5) is None
    assert claim("a", "other", for_s=5) == "ours"
