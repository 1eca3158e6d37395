"""Where a request comes from, as nobody outside can forge it. It is told to channels, and never decides who may do what."""

from ipaddress import IPv6Address, ip_address

from django.conf import settings
from django.http import HttpRequest


def read_address(request: HttpRequest) -> str:
    """The shopper's IP address; "" where nobody knows it, as behind a Unix socket or a proxy that does not say.

    Each proxy adds whom it heard to the end of X-Forwarded-For, so behind n of ours the n-th entry from the right is the
    first that one of ours wrote, and everything before it is the client's own word.
    """
    if settings.TRUSTED_PROXIES:
        heard = request.headers.get("X-Forwarded-For", "").split(",")
        ours = heard[-settings.TRUSTED_PROXIES :]
        return _clean(ours[0]) if len(ours) == settings.TRUSTED_PROXIES else ""
    return _clean(request.META.get("REMOTE_ADDR", ""))


def _clean(text: str) -> str:
    """The address in its usual form: one of a link-local network says nothing outside of it."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address  # so a socket that hears both kinds writes 203.0.113.9
    return "" if address.is_link_local else str(address)
