"""Where a request comes from, as nobody outside can forge it. It is told to channels, and never decides who may do what
with an order or with money.
"""

import re
from ipaddress import IPv6Address, ip_address

from django.conf import settings
from django.http import HttpRequest

# What proxies say of themselves. Behind one, everybody seems to come from this machine.
PROXY_HEADERS = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")
PORT_BEHIND = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<v4>[0-9.]+)):[0-9]{1,5}")


def read_address(request: HttpRequest) -> str:
    """The shopper's IP address; "" where nobody knows it, as behind a Unix socket or a proxy that does not say.

    With DEBUG off it is one of the world: any other is that of a machine of ours, and says nothing to a channel.

    Each proxy adds whom it heard to the end of X-Forwarded-For, so behind n of ours the n-th entry from the right is the
    first that one of ours wrote, and everything before it is the client's own word.
    """
    if settings.TRUSTED_PROXIES:
        heard = request.headers.get("X-Forwarded-For", "").split(",")
        ours = heard[-settings.TRUSTED_PROXIES :]
        return _clean(ours[0]) if len(ours) == settings.TRUSTED_PROXIES else ""
    return _clean(request.META.get("REMOTE_ADDR", ""))


def is_this_machine(request: HttpRequest) -> bool:
    """Whether it comes from here and through no proxy. False where the server does not know, as behind a Unix socket."""
    if any(name in request.headers for name in PROXY_HEADERS):
        return False
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _clean(text: str) -> str:
    """The address in its usual form, without the port that some proxies write behind it."""
    text = text.strip()
    with_port = PORT_BEHIND.fullmatch(text)
    try:
        address = ip_address(with_port["v6"] or with_port["v4"] if with_port else text)
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return ""  # of a network of one's own
        address = address.ipv4_mapped or address  # so a socket that hears both kinds writes 203.0.113.9
    is_known = not address.is_link_local if settings.DEBUG else address.is_global
    return str(address) if is_known else ""
