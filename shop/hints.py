"""Hints in Redis: what may be lost at any moment, and is worth nothing against PostgreSQL's word.

Whatever Redis does, nobody here raises: a question that it does not answer is answered None, and after a failure it is
left alone for some seconds, so that one that hangs costs a process a moment and not every request of it.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import redis
import structlog
from django.conf import settings
from django_redis import get_redis_connection

log = structlog.get_logger("nodrop.hints")
T = TypeVar("T")

# A failure costs up to 0.3 s (see the settings); then Redis rests for so long.
REST_S = 5.0
# When each Redis, by its address, may be asked again, on this process's own clock.
_rests_until: dict[str, float] = {}

# Names beginning alike are ours; an entry without an end, or with a later one than we ever give, is not.
RECALL = """
local found = {}
for at, name in ipairs(KEYS) do
  local ends = redis.call('pttl', name)
  found[at] = ends > 0 and ends <= tonumber(ARGV[1]) and redis.call('get', name) or false
end
return found
"""
# A write never lowers the version: whoever read long ago and writes late changes nothing.
KEEP = """
local ends, held = redis.call('pttl', KEYS[1]), redis.call('get', KEYS[1])
local version = held and tonumber(string.match(held, '^(%d+):'))
if version and version > tonumber(ARGV[1]) and ends > 0 and ends <= tonumber(ARGV[4]) then return 0 end
redis.call('set', KEYS[1], ARGV[1] .. ':' .. ARGV[2], 'px', ARGV[3])
return 1
"""
CLAIM = """
local held, ends = redis.call('get', KEYS[1]), redis.call('pttl', KEYS[1])
if held and ends > 0 and ends <= tonumber(ARGV[2]) then return held end
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
return false
"""
REPLACE = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3]) end"
)
RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) end"

# No entry of ours lives longer.
LONGEST_S = 10.0


def ask_redis(question: Callable[[redis.Redis], T]) -> T | None:
    """What Redis answers to `question(client)`; None while it is gone."""
    address = str(settings.CACHES["default"]["LOCATION"])
    if time.monotonic() < _rests_until.get(address, 0.0):
        return None
    try:
        return question(get_redis_connection("default"))
    except (
        redis.ResponseError
    ) as error:  # it is there, but full, read-only, or somebody else's value is in the way
        log.warning("redis refused", error=str(error)[:100])
    except redis.RedisError as error:
        _rests_until[address] = time.monotonic() + REST_S
        log.warning("redis is gone", error=type(error).__name__, rests_s=REST_S)
    return None


def full_name(name: str) -> str:
    """The key in Redis, or the channel of its publications."""
    return f"{settings.CACHES['default']['KEY_PREFIX']}:{name}"


def digest(secret: str) -> str:
    """A short name for what somebody shows to be let in: good to find it by, and of no use to who reads it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()[:32]


# ---- values with a version ---------------------------------------------------------------------------------------


def keep(name: str, value: Mapping[str, Any], *, version: int, for_s: float) -> None:
    """Keep `value` for `for_s` seconds, at most LONGEST_S, unless a later version of it is there already."""
    ends_ms = int(min(for_s, LONGEST_S) * 1000)
    if ends_ms > 0:
        body = json.dumps(value, separators=(",", ":"))
        _run(KEEP, [name], version, body, ends_ms, int(LONGEST_S * 1000))


def recall(*names: str) -> Sequence[dict[str, Any] | None]:
    """What was kept under each name. None for what is gone, was never there or is not ours."""
    found = _run(RECALL, names, int(LONGEST_S * 1000)) or [None] * len(names)
    return [_read(value) for value in found]


def _read(value: bytes | None) -> dict[str, Any] | None:
    if not value:
        return None
    try:
        read = json.loads(value.partition(b":")[2])
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


# ---- values that one of many may set -----------------------------------------------------------------------------


def claim(name: str, value: str, *, for_s: float) -> str | None:
    """Set `name` unless somebody has: None then, and when Redis is gone; else the value that is there."""
    held = _run(CLAIM, [name], value, int(for_s * 1000))
    return held.decode("utf-8", "replace") if held else None


def replace(name: str, old: str, new: str, *, for_s: float) -> None:
    """Put `new` in the place of `old`, if that is still there."""
    _run(REPLACE, [name], old, new, int(for_s * 1000))


def overwrite(name: str, value: str, *, for_s: float) -> None:
    """Set `name`, whatever is there."""
    ask_redis(lambda client: client.set(full_name(name), value, px=int(for_s * 1000)))


def release(name: str, value: str) -> None:
    """Take `value` away, if it is still there."""
    _run(RELEASE, [name], value)


def _run(script: str, names: Sequence[str], *values: str | int) -> Any:
    keys = [full_name(name) for name in names]
    return ask_redis(lambda client: client.eval(script, len(keys), *keys, *values))
