from __future__ import annotations

from datetime import UTC, datetime

import pytest

from payments.channels.fields import (
    MOST_LEVELS,
    BadField,
    is_word,
    parse_json,
    read_minor,
    read_moment,
    read_object,
    read_word,
)


def test_object_is_read():
    assert parse_json('{"a":{"b":[1,"支付"]}}'.encode()) == {"a": {"b": [1, "支付"]}}


def test_object_of_as_many_levels_as_any_channel_needs_is_read():
    inside = MOST_LEVELS - 1
    assert parse_json(b'{"a":' + b"[" * inside + b"]" * inside + b"}")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"a":1}{"b":2}',
        b'{"a":1,"a":2}',
        b'{"o":{"a":1,"b":2,"a":1}}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b"{'a':1}",
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a":' + b"[" * MOST_LEVELS + b"]" * MOST_LEVELS + b"}",
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_anything_but_one_strict_object_is_refused(raw):
    with pytest.raises(BadField):
        parse_json(raw)


@pytest.mark.parametrize("value", ["a", "ND2026|*@", "~" * 64])
def test_visible_ascii_is_a_word(value):
    assert is_word(value)
    assert read_word({"name": value}, "name") == value


@pytest.mark.parametrize("value", [None, 1, True, [], {}, "", "a b", "a\n", "a\0", "é", "\ud800", "a" * 65])
def test_anything_else_is_no_word(value):
    assert not is_word(value)
    with pytest.raises(BadField, match="name"):
        read_word({"name": value}, "name")


@pytest.mark.parametrize("value", [1, 12900, 2**63 - 1])
def test_whole_positive_amount_is_read(value):
    assert read_minor({"total": value}, "total") == value


@pytest.mark.parametrize("value", [None, True, 12900.0, "12900", 0, -1, 2**63, [1]])
def test_any_other_amount_is_refused(value):
    with pytest.raises(BadField, match="total"):
        read_minor({"total": value}, "total")


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_object_of_another_type_is_refused(value):
    with pytest.raises(BadField, match="amount"):
        read_object({"amount": value}, "amount")


def test_moment_is_read_in_utc():
    moment = read_moment({"at": "2026-11-21T18:10:34+08:00"}, "at")
    assert moment == datetime(2026, 11, 21, 10, 10, 34, tzinfo=UTC)
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        None,
        1795255834,
        "",
        "yesterday",
        "2026-11-21T18:10:34",
        "2026-02-30T00:00:00Z",
        "0001-01-01T00:00:00+08:00",
    ],
)
def test_moment_without_offset_or_sense_is_refused(value):
    with pytest.raises(BadField, match="at"):
        read_moment({"at": value}, "at")
