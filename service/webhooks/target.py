"""Judges the target of a webhook, alike at submission and at delivery: syntax, name, and what it resolves to."""

import asyncio
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

RESOLVE_TIMEOUT_S = 5.0
MAX_URL_LENGTH = 2000
# Ports below 1024 other than those of HTTP belong to protocols that must not be sent our bytes, such as SMTP.
HTTP_PORTS, FIRST_FREE_PORT = (80, 443), 1024
# Lookups have threads of their own: a slow name server must not take those that read files.
_LOOKUP_THREADS = ThreadPoolExecutor(8, thread_name_prefix="webhook-lookup")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Names that never leave the machine or its network (RFC 6761, 6762, 7686, 8375; ICANN reserved .internal).
PRIVATE_DOMAINS = frozenset(
    {"localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "onion"}
)
# Not `ipaddress.is_global`: what that calls global depends on the version of Python. These are all blocks of IANA's
# IPv4 special-purpose registry, also those that routers forward (anycast of DNS and relays: no receiver lives there),
# multicast, and Azure's host service, which is reached from inside only.
SPECIAL_IPV4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
    )
)  # fmt: skip
# IANA has assigned global unicast addresses from this block only; the others are special-purpose blocks in it.
GLOBAL_IPV6 = IPv6Network("2000::/3")
SPECIAL_IPV6 = tuple(
    IPv6Network(block) for block in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
# The last 32 bits are the IPv4 address that is reached: mapped addresses and the well-known prefix of NAT64 (RFC 6052).
EMBEDDED_IPV4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
INSIDE = "its host is inside of a private network (REELMILL_WEBHOOK_ALLOW_PRIVATE)"


class TargetForbidden(Exception):
    """Webhooks must not go to this target. The text says why, without quoting the target."""


class TargetUnresolvable(Exception):
    """The name of the host cannot be resolved now."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL of good syntax. `host` has no brackets and no final dot; `authority` is the value of the Host header."""

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
    bare = host.removesuffix(".")
    in_brackets = "[" in parts.netloc
    if in_brackets != isinstance(_literal(bare), IPv6Address) or not (
        in_brackets or all(map(_LABEL.fullmatch, bare.split(".")))
    ):
        raise TargetForbidden("its host is neither a domain name nor an address; write other alphabets as xn--")
    return Target(url, bare, port or (443 if parts.scheme == "https" else 80), parts.netloc)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether this is an address on the internet, and not one for a special purpose."""
    if isinstance(address, IPv4Address):
        return not any(address in block for block in SPECIAL_IPV4)
    if any(address in block for block in EMBEDDED_IPV4):
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in GLOBAL_IPV6 and not any(address in block for block in SPECIAL_IPV6)


async def judge_target(url: str, *, allow_private: bool) -> tuple[Target, list[str]]:
    """The target and the addresses of its host, all of which may be called. Raises TargetForbidden, TargetUnresolvable.

    Connect to one of these addresses: a second lookup could give others.
    """
    target = parse_target(url)
    if not allow_private:
        _require_public_name(target)
    addresses = await _resolve(target)
    if not allow_private and not all(is_public(ip_address(address)) for address in addresses):
        raise TargetForbidden(INSIDE)
    if not addresses:
        raise TargetUnresolvable("its host has no address")
    return target, addresses


def _require_public_name(target: Target) -> None:
    """What the name alone gives away, whatever it resolves to. Raises TargetForbidden."""
    if target.port not in HTTP_PORTS and target.port < FIRST_FREE_PORT:
        raise TargetForbidden(f"port {target.port} is that of another protocol: use 80, 443 or one from 1024 on")
    if (address := _literal(target.host)) is not None:
        if not is_public(address):
            raise TargetForbidden(INSIDE)
        return
    *parents, last = target.host.split(".")
    if _NUMBER.fullmatch(last):  # `2130706433`, `0x7f.1`, `017700000001`: resolvers read them as addresses
        raise TargetForbidden("its host is a number: write an address with four parts, or a name")
    if not parents or last in PRIVATE_DOMAINS or target.host.endswith(".home.arpa"):
        raise TargetForbidden(INSIDE)


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host spells out; None for a name, and for an address with a zone."""
    try:
        return None if "%" in host else ip_address(host)
    except ValueError:
        return None


async def _resolve(target: Target) -> list[str]:
    """The addresses of the host, without doubles. Raises TargetUnresolvable."""

    def look_up() -> list[str]:
        entries = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in entries))

    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            return await asyncio.get_running_loop().run_in_executor(_LOOKUP_THREADS, look_up)
    except (OSError, TimeoutError, UnicodeError) as error:
        raise TargetUnresolvable("its host cannot be resolved") from error
