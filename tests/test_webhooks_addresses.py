"""Where webhooks may be sent to: the open world over https, and what was allowed by name."""

import time
from ipaddress import ip_address

import pytest

from shop.languages import speaking
from shop.webhooks import addresses
from shop.webhooks.addresses import AddressRefused, BadAddress, find_addresses, may_call, read_url


@pytest.fixture(autouse=True)
def _nothing_is_allowed(settings):
    settings.WEBHOOK_ALLOWED_NETWORKS = []


@pytest.mark.parametrize(
    "url",
    [
        "https://erp.example.com/hooks",
        "https://erp.example.com:8443/hooks?shop=1",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/hooks",
        "https://xn--fiqs8s.example/",
    ],
)
def test_address_of_the_open_world_is_taken(url):
    assert read_url(url).scheme == "https"


@pytest.mark.parametrize(
    ("url", "because"),
    [
        ("", "begins with https://"),
        ("erp.example.com", "begins with https://"),
        ("ftp://erp.example.com/", "begins with https://"),
        ("https:///hooks", "begins with https://"),
        ("http://erp.example.com/", "Only https"),
        ("http://8.8.8.8/", "Only https"),
        ("https://me:secret@erp.example.com/", "user name or password"),
        ("https://@erp.example.com/", "user name or password"),
        ("https://erp.example.com/#part", "plain https address"),
        ("https://erp.example.com/\\@127.0.0.1/", "plain https address"),
        ("https://erp.example.com/a b", "plain https address"),
        ("https://erp.example.com/\r\nX: y", "plain https address"),
        ("https://商店.example/", "plain https address"),
        ("https://erp.example.com/" + "a" * 500, "plain https address"),
        ("https://erp.example.com:99999/", "no address of the web"),
        ("https://[::1/", "no address of the web"),
        ("https://erp.example.com:25/", "port 25"),
        ("https://erp.example.com:0/", "port 0"),
        ("https://erp_example.com/", "no name of a host"),
        ("https://localhost/", "not in the open world"),
        ("https://LOCALHOST./", "not in the open world"),
        ("https://erp/", "not in the open world"),
        ("https://erp.internal/", "not in the open world"),
        ("https://2130706433/", "no usual way"),
        ("https://0x7f.1/", "no usual way"),
        ("https://127.1/", "no usual way"),
        ("https://0177.0.0.1/", "no usual way"),
        ("https://127.0.0.1/", "not in the open world"),
        ("https://127.0.0.1./", "no usual way"),
        ("https://[::ffff:127.0.0.1]/", "not in the open world"),
        ("https://[::ffff:8.8.8.8]/", "not in the open world"),
        ("https://169.254.169.254/latest/meta-data", "not in the open world"),
    ],
)
def test_other_addresses_are_refused_and_it_is_said_why(url, because):
    with pytest.raises(BadAddress) as refused:
        read_url(url)
    with speaking("en"):
        assert because in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.192",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::a00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "2001::1",
        "2001:db8::1",
        "2002:a00:1::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_address_that_only_we_could_reach_is_never_called(address):
    assert not may_call(ip_address(address), scheme="https")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_address_of_the_world_is_called_over_https_only(address):
    assert may_call(ip_address(address), scheme="https")
    assert not may_call(ip_address(address), scheme="http")


def test_network_of_ones_own_is_called_when_it_was_allowed(settings):
    settings.WEBHOOK_ALLOWED_NETWORKS = ["10.1.2.0/24"]
    assert may_call(ip_address("10.1.2.3"), scheme="http")
    assert not may_call(ip_address("10.1.3.3"), scheme="https")
    assert read_url("http://10.1.2.3:8000/hooks").port == 8000
    assert read_url("http://erp.internal/hooks").host == "erp.internal"


def test_what_is_no_network_allows_nothing(settings):
    settings.WEBHOOK_ALLOWED_NETWORKS = ["everything", "10.0.0.1/8"]
    assert not may_call(ip_address("10.0.0.1"), scheme="https")


def name_leads_to(monkeypatch, *found: str) -> None:
    monkeypatch.setattr(addresses, "resolve", lambda host, port: [ip_address(each) for each in found])


def test_name_is_refused_when_any_of_its_addresses_is_private(monkeypatch):
    name_leads_to(monkeypatch, "8.8.8.8", "10.0.0.1")
    with pytest.raises(AddressRefused):
        find_addresses(read_url("https://erp.example.com/"), within_s=5)


def test_name_leads_to_its_addresses(monkeypatch):
    name_leads_to(monkeypatch, "8.8.8.8", "8.8.4.4")
    found = find_addresses(read_url("https://erp.example.com/"), within_s=5)
    assert found == [ip_address("8.8.8.8"), ip_address("8.8.4.4")]


def test_name_server_that_does_not_answer_costs_no_more_than_its_time(monkeypatch):
    monkeypatch.setattr(addresses, "resolve", lambda host, port: time.sleep(5))
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        find_addresses(read_url("https://erp.example.com/"), within_s=0.1)
    assert time.monotonic() - began < 4
