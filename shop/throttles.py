"""How often one asker may ask the API: so many times in a minute of one kind of request, then 429 with `Retry-After`.

Counted in Redis, under what the request shows to be let in by, and under its address, which nobody can invent. It protects
against haste, not against loss: where Redis is away everybody is let through. Callbacks of channels are never counted.
"""

import math
from ipaddress import ip_network

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from shop.api import describe_error
from shop.credentials import shown_by
from shop.hints import ask_redis, digest, full_name
from shop.problems import Problem
from shop.visitors import read_address

WINDOW_MS = 60_000
# Behind one address there may be many who show a token, a session or a key; who shows nothing is one with the others.
MANY = 10
API = "api/v1/"
# What is counted apart, by method and path. All other requests are `read` or `write`.
KINDS = {
    "POST orders": "place",
    "POST orders/<str:number>/payments": "apply",
    "POST orders/<str:number>/cancel": "cancel",
    "POST payments/<str:number>/query": "query",
    "POST payments/<str:number>/refunds": "refund",
    "GET orders/<str:number>/status": "status",
    "GET orders": "list",
    "GET payments": "list",
    "GET refunds": "list",
    "GET events": "feed",
    "GET schema/": "docs",
    "GET docs/": "docs",
}
SAFE = ("GET", "HEAD", "OPTIONS")

# Counts one under each name; then the longest that any of them has to wait, in milliseconds.
COUNT = """
local longest = 0
for at, name in ipairs(KEYS) do
  local count = redis.call('incr', name)
  local ends = redis.call('pttl', name)
  if count == 1 or ends < 0 then
    redis.call('pexpire', name, ARGV[1])
    ends = tonumber(ARGV[1])
  end
  if count > tonumber(ARGV[at + 1]) and ends > longest then longest = ends end
end
return longest
"""


class TooManyRequests(Exception):
    """More than are taken in a minute. Ask again after `retry_after_s`."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(_("Too many requests. Please try again in a moment."))
        self.retry_after_s = retry_after_s


describe_error(
    TooManyRequests,
    lambda e: Problem(status=429, code="too_many_requests", detail=str(e), retry_after_s=e.retry_after_s),
)


def count_request(request: HttpRequest) -> None:
    """Count a request of the API by its kind. Raises TooManyRequests."""
    kind = kind_of(request)
    shown = shown_by(request)
    address, limit = _network_of(request), settings.THROTTLES[kind]
    names = {f"{kind}:by:{digest(shown)}": limit} if shown else {}
    if address:
        names |= {f"{kind}:from:{address}": limit * MANY} if shown else {f"{kind}:nobody:{address}": limit}
    _count(names)


def count_refusal(request: HttpRequest) -> None:
    """Count a key that let nobody in, by the address alone. Raises TooManyRequests."""
    address = _network_of(request)
    _count({f"refused:{address}": settings.THROTTLES["refused"]} if address else {})


def kind_of(request: HttpRequest) -> str:
    """The kind of request under which it is counted."""
    route = request.resolver_match.route.removeprefix(API) if request.resolver_match else ""
    method = "GET" if request.method == "HEAD" else request.method
    return KINDS.get(f"{method} {route}", "read" if request.method in SAFE else "write")


def _network_of(request: HttpRequest) -> str:
    """The address; of IPv6 the network that one household has.

    Empty where none of the world is known, as behind a proxy that does not say: one would be counted for all of them.
    """
    address = read_address(request)
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address


def _count(limits: dict[str, int]) -> None:
    counted = {full_name(f"throttle:{name}"): limit for name, limit in limits.items() if limit}
    if not counted:
        return
    waits_ms = ask_redis(
        lambda client: client.eval(COUNT, len(counted), *counted, WINDOW_MS, *counted.values())
    )
    if waits_ms:
        raise TooManyRequests(math.ceil(int(waits_ms) / 1000))
