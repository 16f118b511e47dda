"""Where a webhook may go, and how it is signed."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from service import config
from service.errors import StartupError
from service.webhooks.delivery import signature_headers
from service.webhooks.settings import signing_key
from service.webhooks.target import TargetForbidden, TargetUnresolvable, is_public, parse_target, resolve_addresses

pytestmark = pytest.mark.anyio
SECRET = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def test_the_published_example_is_signed_alike() -> None:
    body = b'{"test": 2432232314}'
    headers = signature_headers(signing_key(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
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


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::1", "2001:db8::1", "fec0::1", "::127.0.0.1",
        "2001:0:7f00:1::1",
    ],
)  # fmt: skip
def test_addresses_inside(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_addresses_outside(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_address_in_disguise_is_judged_alike(address: IPv4Address) -> None:
    for disguised in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert is_public(IPv6Address(disguised)) == is_public(address)
    if not is_public(address):
        assert not is_public(IPv6Address(int(IPv6Address("2002::")) | int(address) << 80))


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "ftp://example.com/", "file:///etc/passwd", "//example.com", "https://", "http://:80/", "https:///x",
        "http://user@example.com/", "http://user:password@example.com/", "http://example.com:port/",
        "http://example.com:0/", "http://example.com:70000/", "http://[::1", "http://ex ample.com/", "http://é.example/",
        "http://example.com/#x", "http://example.com\\@127.0.0.1/", "http://example.com/\r\nHost: x", "javascript:alert(1)",
        "https://example.com/" + "x" * 2000,
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


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0",
        "0.0.0.0",
    ],
)
async def test_loopback_by_any_name(host: str) -> None:
    target = parse_target(f"http://{host}:8080/hook")
    with pytest.raises((TargetForbidden, TargetUnresolvable)):
        await resolve_addresses(target, allow_private=False)
    if host in ("127.0.0.1", "localhost", "127.1"):
        assert await resolve_addresses(target, allow_private=True)


async def test_a_public_address_is_taken() -> None:
    assert await resolve_addresses(parse_target("https://8.8.8.8/"), allow_private=False) == ["8.8.8.8"]


async def test_a_name_that_nobody_has() -> None:
    with pytest.raises(TargetUnresolvable):
        await resolve_addresses(parse_target("https://nowhere.invalid/"), allow_private=False)
