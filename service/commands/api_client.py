"""Client of a running service: its URL, a token, and problem documents turned into exceptions."""

import re
from datetime import timedelta
from typing import Any

import httpx
import typer

from service.config import Settings
from service.errors import StartupError
from service.identity.local_secret import local_secret
from service.identity.tokens import issue_token

CLIENT_SCOPES = ("catalog:read", "catalog:write", "videos:read", "videos:render", "ops:read")
SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def mint_local_token(settings: Settings, subject: str, scopes: tuple[str, ...], lifetime: timedelta) -> str:
    """A signed token. Raises StartupError if another issuer signs the tokens (JWT_JWKS_URL)."""
    if settings.identity.jwks_url:
        raise StartupError("JWT_JWKS_URL: tokens are issued there and cannot be signed here")
    secret = settings.identity.secret or local_secret(settings.process.home)
    return issue_token(secret, subject, scopes, lifetime, settings.identity)


def parse_duration(text: str) -> timedelta:
    """Parse `90s`, `30m`, `12h` or `7d`."""
    match = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if match is None or not int(match[1]):
        raise typer.BadParameter("use a number and one of s, m, h, d, as in 12h", param_hint="--ttl")
    return timedelta(seconds=int(match[1]) * SECONDS_PER_UNIT[match[2]])


class ApiError(Exception):
    """The service returned an error; the text has the problem's detail or its invalid fields."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{detail} ({status})")
        self.status = status


def open_client(settings: Settings) -> httpx.AsyncClient:
    """A client of REELMILL_URL with REELMILL_TOKEN; unset, of the local service with a token signed here."""
    url = settings.client.url or f"http://127.0.0.1:{settings.process.port}"
    token = settings.client.token or mint_local_token(settings, "local-user", CLIENT_SCOPES, timedelta(hours=12))
    timeout = httpx.Timeout(60, connect=5)
    return httpx.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=timeout, trust_env=False
    )


def json_or_raise(response: httpx.Response) -> Any:
    """The JSON of a successful response. Raises ApiError."""
    if response.is_success:
        return response.json()
    raise ApiError(response.status_code, problem_message(response))


def problem_message(response: httpx.Response) -> str:
    """The invalid fields of a problem document, or else its detail."""
    try:
        problem = response.json()
        fields = [
            f"{field.get('pointer') or field.get('parameter') or field.get('header')}: {field['detail']}"
            for field in problem.get("errors", [])
        ]
        return "; ".join(fields) or str(problem.get("detail") or problem["title"])
    except (ValueError, KeyError, AttributeError):
        return f"unexpected response {response.status_code}"
