"""Tokens minted on this machine, with JWT_SECRET or the secret in REELMILL_HOME."""

import re
from datetime import timedelta

import typer

from service.config import Settings
from service.errors import StartupError
from service.identity.local_secret import local_secret
from service.identity.tokens import issue_token

SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def mint_local_token(settings: Settings, subject: str, scopes: tuple[str, ...], lifetime: timedelta) -> str:
    """A signed token. Raises StartupRefused where tokens come from somebody else (JWT_JWKS_URL)."""
    if settings.identity.jwks_url:
        raise StartupError("JWT_JWKS_URL: tokens come from that issuer, none can be minted here")
    secret = settings.identity.secret or local_secret(settings.process.home)
    return issue_token(secret, subject, scopes, lifetime, settings.identity)


def parse_duration(text: str) -> timedelta:
    """`90s`, `30m`, `12h`, `7d`."""
    match = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if match is None or not int(match[1]):
        raise typer.BadParameter("use a number and one of s, m, h, d, as in 12h", param_hint="--ttl")
    return timedelta(seconds=int(match[1]) * SECONDS_PER_UNIT[match[2]])
