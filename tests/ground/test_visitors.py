"""The shopper's address: what our own proxies heard, and never what somebody outside wrote."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from shop.visitors import read_address

# Of the world: the addresses that are set apart for examples are nobody's, and are not believed.
FORGED = "8.8.4.4"
SHOPPER = "8.8.8.8"
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
    "heard",
    [
        None,
        "",
        "unknown",
        "_hidden",
        f"{FORGED},",
        f"{FORGED} ; x",
        f"{SHOPPER}:",
        f"{SHOPPER}:x",
        "[8.8.8.8",
    ],
)
def test_proxy_that_says_no_address_is_not_replaced_by_a_guess(settings, heard):
    settings.TRUSTED_PROXIES = 1
    assert read(heard) == ""


@pytest.mark.parametrize(
    ("written", "usual"),
    [
        ("2001:4860:4860:0::8888", "2001:4860:4860::8888"),
        ("2001:4860:4860::ABCD", "2001:4860:4860::abcd"),
        ("::ffff:8.8.8.8", SHOPPER),
        ("0:0:0:0:0:ffff:808:808", SHOPPER),
        ("8.8.8.8:52113", SHOPPER),
        ("[2001:4860:4860::8888]:443", "2001:4860:4860::8888"),
        ("[::ffff:8.8.8.8]:443", SHOPPER),
    ],
)
def test_address_is_given_in_its_usual_form(settings, written, usual):
    settings.TRUSTED_PROXIES = 1
    assert read(written) == usual


LOCAL = [
    "127.0.0.1",
    "10.0.0.5",
    "192.168.1.4",
    "100.64.0.1",
    "203.0.113.9",
    "::1",
    "fd00::1",
    "::ffff:10.0.0.5",
]


@pytest.mark.parametrize("peer", LOCAL)
def test_address_that_is_not_of_the_world_is_no_shoppers_in_production(settings, peer):
    settings.TRUSTED_PROXIES = 0
    assert read(peer=peer) == ""


def test_developers_machine_is_a_shopper_too(settings):
    settings.TRUSTED_PROXIES, settings.DEBUG = 0, True
    assert read(peer="127.0.0.1") == "127.0.0.1"


@pytest.mark.parametrize("debug", [True, False])
def test_address_with_the_name_of_a_network_card_says_nothing(settings, debug):
    settings.TRUSTED_PROXIES, settings.DEBUG = 0, debug
    assert read(peer="2001:4860:4860::8888%eth0") == read(peer="fe80::1%eth0") == ""
