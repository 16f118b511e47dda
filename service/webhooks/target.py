"""Checks the target of a webhook: strict URL parsing, DNS resolution, and no address inside our own network."""

import asyncio
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

RESOLVE_TIMEOUT_S = 5.0
MAX_URL_LENGTH = 2000
# RFC 6052: the last 32 bits are an IPv4 address.
NAT64 = IPv6Network("64:ff9b::/96")


class TargetForbidden(Exception):
    """Webhooks must not go to this target. The text says why, without quoting the target."""


class TargetUnresolvable(Exception):
    """The name of the host cannot be resolved now."""


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL. `authority` is the value of the Host header."""

    url: str
    host: str
    port: int
    authority: str


def parse_target(url: str) -> Target:
    """Check the syntax of a URL. Raises TargetForbidden."""
    if (
        len(url) > MAX_URL_LENGTH
        or not url.isascii()
        or not url.isprintable()
        or any(char in ' \\#<>"' for char in url)
    ):
        raise TargetForbidden("it is not a plain URL of at most 2000 ASCII characters without a fragment")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise TargetForbidden("it is not a URL") from error
    if parts.scheme not in ("http", "https") or not host:
        raise TargetForbidden("it must begin with https:// or http:// and name a host")
    if "@" in parts.netloc:
        raise TargetForbidden("it must not hold a user or a password")
    if port == 0:
        raise TargetForbidden("port 0 cannot be reached")
    return Target(url, host, port or (443 if parts.scheme == "https" else 80), parts.netloc)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether this is a global unicast address, and so is any IPv4 address embedded in it."""
    if isinstance(address, IPv6Address):
        if address in NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.is_site_local:  # deprecated by RFC 3879, and global to ipaddress
            return False
        embedded = [address.sixtofour, *(address.teredo or ())]
        if not all(is_public(inner) for inner in embedded if inner is not None):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


async def resolve_addresses(target: Target, *, allow_private: bool) -> list[str]:
    """The addresses of the host, all of which must be allowed. Raises TargetForbidden, TargetUnresolvable."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            entries = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError) as error:
        raise TargetUnresolvable("its host cannot be resolved") from error
    addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in entries))
    if not allow_private and not all(is_public(ip_address(address)) for address in addresses):
        raise TargetForbidden("its host is inside of a private network (REELMILL_WEBHOOK_ALLOW_PRIVATE)")
    if not addresses:
        raise TargetUnresolvable("its host has no address")
    return addresses
