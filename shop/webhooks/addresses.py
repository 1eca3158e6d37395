"""Where we may send to: https in the open world, and the networks that `WEBHOOK_ALLOWED_NETWORKS` names.

Whoever adds an endpoint chooses an address that our servers then call, so nothing that only we can reach may be behind it.
A name is looked up once for each message, and what was checked is what is connected to.
"""

import queue
import re
import socket
import threading
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from shop.sentences import Words, say

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MOST_LETTERS = 500
USUAL_PORTS = {"https": 443, "http": 80}
# Below these are the doors of other services: mail, file shares, databases of old.
FIRST_FREE_PORT = 1024
# All that the world routes of IPv6; what wraps an IPv4 address (mapped, NAT64) is outside of it, or not global.
WORLD = IPv6Network("2000::/3")
# Global by number, and all the same a cloud's own machine beside ours.
CLOUD = (IPv4Network("168.63.129.16/32"), IPv4Network("192.0.0.0/24"))
# Names that only a network of one's own knows.
PRIVATE_ENDINGS = (
    ".localhost",
    ".local",
    ".localdomain",
    ".internal",
    ".intranet",
    ".lan",
    ".home",
    ".corp",
    ".home.arpa",
)
_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.IGNORECASE)
_TARGET = re.compile(r"[!-~]*")
# Old ways to write an IPv4 address, as 127.1 or 2130706433 or 0x7f.1, end in a number; no name of the world does.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)


class BadAddress(ValueError):
    """No endpoint may have this address. The message is a lazy sentence."""


class AddressRefused(OSError):
    """The name leads to an address that we do not call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An endpoint's address in parts. `path` has the query behind it."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What stands in `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == USUAL_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def receiver(self) -> tuple[str, str, int, str]:
        """What every way to write this address has in common. `read_url` has seen to all but the host."""
        try:
            host = str(ip_address(self.host))
        except ValueError:
            host = self.host.removesuffix(".")
        return self.scheme, host, self.port, self.path


def read_url(url: str) -> Target:
    """The parts of an address that an endpoint may have; nothing is looked up. Raises BadAddress."""
    if (
        len(url) > MOST_LETTERS
        or not _TARGET.fullmatch(url)
        or any(letter in url for letter in '\\#"<>^`{|}')
    ):
        _refuse(_("Write a plain https address of at most %(most)d characters."), most=MOST_LETTERS)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        _refuse(_("This is no address of the web."))
    if parts.scheme not in USUAL_PORTS or not host:
        _refuse(_("The address begins with https:// and the name of a host."))
    if "@" in parts.netloc:
        _refuse(_("The address holds a user name or password: whoever sees it would know them."))
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    target = Target(
        scheme=parts.scheme, host=host, port=USUAL_PORTS[parts.scheme] if port is None else port, path=path
    )
    _check_port(target)
    _check_host(target)
    return target


def find_addresses(target: Target, *, within_s: float) -> list[Address]:
    """The addresses of the host, all of which may be called. Raises AddressRefused; OSError when it is not found in time."""
    found = [read for each in _look_up(target.host, target.port, within_s) if (read := each)]
    if not found:
        raise OSError("the name has no address")
    if not all(may_call(each, scheme=target.scheme) for each in found):
        raise AddressRefused("an address that is not of the open world")
    return found


def may_call(address: Address, *, scheme: str) -> bool:
    """Whether this is in the open world, over https; or in a network that was allowed."""
    if any(address in network for network in allowed_networks()):
        return True
    return scheme == "https" and _is_of_the_world(address)


def allowed_networks() -> list[Network]:
    """`WEBHOOK_ALLOWED_NETWORKS`; what is no network allows nothing, and a check names it."""
    found: list[Network] = []
    for text in settings.WEBHOOK_ALLOWED_NETWORKS:
        try:
            found.append(ip_network(text))
        except ValueError:
            continue
    return found


def _is_of_the_world(address: Address) -> bool:
    if any(address in network for network in CLOUD) or address.is_multicast or not address.is_global:
        return False
    if isinstance(address, IPv6Address):
        inside = address.sixtofour or address.teredo or address.ipv4_mapped
        return address in WORLD and not inside
    return not address.is_reserved


def _check_port(target: Target) -> None:
    if target.port != USUAL_PORTS[target.scheme] and target.port < FIRST_FREE_PORT:
        _refuse(_("No webhook is sent to port %(port)d: take 443 or one from 1024 on."), port=target.port)


def _check_host(target: Target) -> None:
    """What can be said without looking the name up; the rest is said when something is sent."""
    try:
        address = ip_address(target.host)
    except ValueError:
        _check_name(target)
    else:
        if not may_call(address, scheme=target.scheme):
            _refuse_private(target)


def _check_name(target: Target) -> None:
    name = target.host.removesuffix(".")
    if not _NAME.fullmatch(name) or _NUMBER.fullmatch(name.rpartition(".")[2]):
        _refuse(
            _("“%(host)s” is no name of a host, and no usual way to write its address."), host=target.host
        )
    is_private = "." not in name or f".{name}".lower().endswith(PRIVATE_ENDINGS)
    # A network of one's own may have names of its own: where one is allowed, the address decides.
    if not allowed_networks() and (is_private or target.scheme != "https"):
        _refuse_private(target)


def _refuse_private(target: Target) -> None:
    if target.scheme != "https":
        _refuse(_("Only https: anybody on the way could read and change what is sent over http."))
    words = _(
        "“%(host)s” is not in the open world: WEBHOOK_ALLOWED_NETWORKS names the networks of one's own that may be called."
    )
    _refuse(words, host=target.host)


def _refuse(words: Words, **facts: object) -> None:
    raise BadAddress(say(words, **facts))


def _look_up(host: str, port: int, within_s: float) -> list[Address]:
    """getaddrinfo knows no timeout and may take half a minute; a thread that is left behind does no harm."""
    answers: queue.SimpleQueue[list[Address] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(resolve(host, port))
        except (OSError, UnicodeError, ValueError) as error:
            answers.put(OSError(type(error).__name__))

    threading.Thread(target=ask, daemon=True, name="webhook-resolve").start()
    try:
        answer = answers.get(timeout=max(within_s, 0.001))
    except queue.Empty:
        raise TimeoutError("the name was not found in time") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def resolve(host: str, port: int) -> list[Address]:
    """What the system says, each address once. Raises OSError, ValueError."""
    said = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ip_address(each) for each in dict.fromkeys(str(address[0]) for *_, address in said)]


def seconds_left(until: float) -> float:
    """Until that moment of `time.monotonic`. Raises TimeoutError when it is over."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is over")
    return left


def host_of(url: str) -> str:
    """The host of an address that was read before: what may be shown of it anywhere."""
    return urlsplit(url).hostname or ""
