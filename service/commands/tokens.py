"""Tokens that are signed on this machine."""

import re
from datetime import timedelta

import typer

from service.config import Settings
from service.errors import StartupError
from service.identity.local_secret import local_secret
from service.identity.tokens import issue_token

# Of whoever works on the service's own machine.
LOCAL_SCOPES = (
    *("catalog:read", "catalog:write", "videos:read", "videos:render"),
    *("query:run", "agent:ask", "ops:read", "ops:write"),
)
MAX_LIFETIME_S = 36_500 * 86_400
SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def mint_local_token(settings: Settings, subject: str, scopes: tuple[str, ...], lifetime: timedelta) -> str:
    """A signed token. Raises StartupError if another issuer signs the tokens (JWT_JWKS_URL)."""
    if settings.identity.jwks_url:
        raise StartupError("JWT_JWKS_URL: tokens are issued there and cannot be signed here")
    secret = settings.identity.secret or local_secret(settings.process.home)
    return issue_token(secret, subject, scopes, lifetime, settings.identity)


def parse_duration(text: str) -> timedelta:
    """Parse `90s`, `30m`, `12h` or `7d`."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text.strip())
    if match is None or not int(match[1]):
        raise typer.BadParameter("use a number and one of s, m, h, d, as in 12h", param_hint="--ttl")
    seconds = int(match[1]) * SECONDS_PER_UNIT[match[2]]
    if seconds > MAX_LIFETIME_S:
        raise typer.BadParameter("at most 36500d", param_hint="--ttl")
    return timedelta(seconds=seconds)
