"""The shopper's address: what our own proxies heard, and never what somebody outside wrote."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from shop.visitors import read_address

FORGED = "198.51.100.66"
SHOPPER = "203.0.113.9"
PROXY = "10.0.0.5"


def read(heard: str | None = None, *, peer: str | None = PROXY) -> str:
    headers = {} if heard is None else {"X-Forwarded-For": heard}
    request = RequestFactory().get("/", headers=headers, REMOTE_ADDR=peer)
    if peer is None:
        del request.META["REMOTE_ADDR"]  # as of a server that gives no client
    return read_address(request)


def test_without_a_proxy_the_address_is_the_peers_and_the_header_is_ignored(settings):
    settings.TRUSTED_PROXIES = 0
    assert read(FORGED, peer=SHOPPER) == read(peer=SHOPPER) == SHOPPER


@pytest.mark.parametrize("peer", [None, "", "unix:", "shop.sock", "203.0.113", "fe80::1%eth0"])
def test_peer_without_an_address_is_not_known_whatever_the_header_says(settings, peer):
    settings.TRUSTED_PROXIES = 0
    assert read(FORGED, peer=peer) == ""


@pytest.mark.parametrize("peer", [PROXY, None])
@pytest.mark.parametrize("heard", [SHOPPER, f" {SHOPPER} ", f"{FORGED}, {SHOPPER}", f"{FORGED},,{SHOPPER}"])
def test_behind_one_proxy_the_last_entry_counts(settings, heard, peer):
    settings.TRUSTED_PROXIES = 1
    assert read(heard, peer=peer) == SHOPPER


def test_behind_two_proxies_the_last_but_one_counts(settings):
    settings.TRUSTED_PROXIES = 2
    assert read(f"{FORGED}, {SHOPPER}, 10.0.0.4") == SHOPPER


@pytest.mark.parametrize("heard", [None, "", SHOPPER])
def test_request_that_has_not_passed_all_proxies_has_no_address(settings, heard):
    settings.TRUSTED_PROXIES = 2
    assert read(heard) == ""


@pytest.mark.parametrize(
    "heard", [None, "", "unknown", f"{SHOPPER}:443", "_hidden", f"{FORGED},", f"{FORGED} ; x"]
)
def test_proxy_that_says_no_address_is_not_replaced_by_a_guess(settings, heard):
    settings.TRUSTED_PROXIES = 1
    assert read(heard) == ""


@pytest.mark.parametrize(
    ("written", "usual"),
    [
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:203.0.113.9", SHOPPER),
        ("0:0:0:0:0:ffff:cb00:7109", SHOPPER),
    ],
)
def test_address_is_given_in_its_usual_form(settings, written, usual):
    settings.TRUSTED_PROXIES = 1
    assert read(written) == usual
