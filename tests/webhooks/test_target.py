"""Where a webhook may go, and how it is signed."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from service import config
from service.errors import StartupError
from service.webhooks.delivery import signature_headers
from service.webhooks.settings import signing_key
from service.webhooks.target import (
    INSIDE,
    TargetForbidden,
    TargetUnresolvable,
    is_public,
    judge_target,
    parse_target,
)

pytestmark = pytest.mark.anyio
SECRET = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def test_the_published_example_is_signed_alike() -> None:
    body = b'{"test": 2432232314}'
    headers = signature_headers([signing_key(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert headers["webhook-timestamp"] == "1614265330"


@pytest.mark.parametrize("secret", ["short", "whsec_", "whsec_***", "whsec_c2hvcnQ=", "x" * 23])
def test_weak_secrets_are_refused(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_WEBHOOK_SECRET", secret)
    with pytest.raises(StartupError, match="REELMILL_WEBHOOK_SECRET") as refused:
        config.load()
    assert len(secret) < 8 or secret not in str(refused.value)
    for good in (SECRET.get_secret_value(), "x" * 24):
        monkeypatch.setenv("REELMILL_WEBHOOK_SECRET", good)
        assert config.load().webhooks.secret == SecretStr(good)


# IANA's special-purpose address registries (RFC 6890 and later), with multicast, what was never assigned, and the host
# service of a cloud. Not the tables of the code: written from the registries.
SPECIAL = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.0.0/29",
    "192.0.0.8/32",
    "192.0.0.9/32",
    "192.0.0.10/32",
    "192.0.0.170/32",
    "192.0.0.171/32",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "224.0.0.0/4",
    "168.63.129.16/32",
    "169.254.169.254/32",
    "100.100.100.200/32",
    "::/128",
    "::1/128",
    "::/96",
    "::ffff:10.0.0.0/104",
    "::ffff:127.0.0.0/104",
    "::ffff:169.254.0.0/112",
    "64:ff9b::10.0.0.0/104",
    "64:ff9b::169.254.169.254/128",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001::/32",
    "2001:1::1/128",
    "2001:1::2/128",
    "2001:1::3/128",
    "2001:2::/48",
    "2001:3::/32",
    "2001:4:112::/48",
    "2001:10::/28",
    "2001:20::/28",
    "2001:30::/28",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fd00::/8",
    "fd00:ec2::254/128",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "4000::/2",
    "8000::/2",
]
NEIGHBOURS = [
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "168.63.129.15",
    "168.63.129.17",
    "8.8.8.8",
    "93.184.216.34",
    "2000::",
    "2001:200::",
    "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db9::",
    "2003::",
    "2606:4700::1111",
    "3ffe::",
    "3fff:1000::",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize("block", SPECIAL)
def test_addresses_for_a_special_purpose(block: str) -> None:
    network = ip_network(block)
    assert (
        not is_public(network[0]) and not is_public(network[-1]) and not is_public(network[network.num_addresses // 2])
    )


@pytest.mark.parametrize("address", NEIGHBOURS)
def test_addresses_on_the_internet(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_address_in_disguise_is_judged_alike(address: IPv4Address) -> None:
    for disguised in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert is_public(IPv6Address(disguised)) == is_public(address)
    assert not (is_public(address) and not address.is_global)


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "ftp://example.com/", "file:///etc/passwd", "//example.com", "https://", "http://:80/", "https:///x",
        "http://user@example.com/", "http://user:password@example.com/", "http://example.com:port/",
        "http://example.com:0/", "http://example.com:70000/", "http://[::1", "http://ex ample.com/", "http://é.example/",
        "http://example.com/#x", "http://example.com\\@127.0.0.1/", "http://example.com/\r\nHost: x", "javascript:alert(1)",
        "https://example.com/" + "x" * 2000, "http://127.0.0.%31/", "http://a..example/", "http://.example/", "http://example../",
        "http://[::1%25lo]/", "http://[::1%lo]/", "http://[v1.a]/", "http://[127.0.0.1]/", "http://-a.example/",
        "http://" + "a" * 64 + ".example/", "http://127.0.0.1;x/", "http://a,b.example/", "http://\uff11\uff12\uff17.0.0.1/",
        "http://\u24db\u24de.example/", "http://127\u30020.0.1/",
    ],
)  # fmt: skip
def test_what_is_no_url_to_send_to(url: str) -> None:
    with pytest.raises(TargetForbidden):
        parse_target(url)


@given(st.text(max_size=80) | st.text(max_size=60).map(lambda text: f"http://{text}"))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        target = parse_target(text)
    except TargetForbidden:
        return
    assert target.host and 0 < target.port < 65536 and "@" not in target.authority


LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "0177.0.0.1",
    "017700000001",
    "0",
    "0.0.0.0",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "127.0.0.1.",
    "0x7f.0x0.0x0.0x1",
    "1.0x",
    "localhost",
    "localhost.",
    "LocalHost",
    "a.localhost",
    "a.b.localhost.",
    "printer.local",
    "vault.internal",
    "metadata.google.internal",
    "metadata",
    "router.lan",
    "host.home.arpa",
    "x.localdomain",
    "minio",
    "db.",
]


@pytest.mark.parametrize("host", LOOPBACK)
async def test_a_host_inside_by_any_name(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused by its name or its address: what a resolver would say of it does not matter."""
    looked_up: list[str] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: looked_up.append(host) or [])
    with pytest.raises(TargetForbidden):
        await judge_target(f"http://{host}:8080/hook", allow_private=False)
    assert looked_up == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[::1]"])
async def test_an_operator_may_allow_hosts_inside(host: str) -> None:
    target, addresses = await judge_target(f"http://{host}:8080/hook", allow_private=True)
    assert addresses and target.authority == f"{host}:8080"


@pytest.mark.parametrize("found", ["192.0.0.8", "168.63.129.16", "3fff::1", "10.1.2.3", "fe80::1%2"])
async def test_a_public_name_of_a_private_address(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One private address among others is enough: which one is connected to would be chance."""
    entries = [(None, None, None, None, (address, 443)) for address in ("8.8.8.8", found)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)
    with pytest.raises(TargetForbidden, match="private network"):
        await judge_target("https://hook.example/", allow_private=False)
    assert "hook.example" not in INSIDE


@pytest.mark.parametrize("port", [22, 25, 81, 465, 1023])
async def test_ports_of_other_protocols(port: int) -> None:
    with pytest.raises(TargetForbidden, match=f"port {port}"):
        await judge_target(f"https://8.8.8.8:{port}/", allow_private=False)


@pytest.mark.parametrize("url", ["https://8.8.8.8/", "https://8.8.8.8.:8443/x", "http://[2606:4700::1111]:80/"])
async def test_a_public_address_is_taken(url: str) -> None:
    target, addresses = await judge_target(url, allow_private=False)
    assert addresses == [target.host]


async def test_a_name_that_nobody_has() -> None:
    with pytest.raises(TargetUnresolvable):
        await judge_target("https://nowhere.invalid/", allow_private=False)
