"""Client of a running service: its URL, a token, retries, and problem documents turned into exceptions."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import typer

from service.config import Settings
from service.errors import StartupError
from service.identity.local_secret import local_secret
from service.identity.tokens import issue_token

# Shown with answers that another server gave.
OK, CHECK_URL = 200, "does REELMILL_URL name a Reelmill service of this version?"
CLIENT_SCOPES = ("catalog:read", "catalog:write", "videos:read", "videos:render", "ops:read", "ops:write")
MAX_ATTEMPTS = 7
INITIAL_RETRY_DELAY_S, MAX_RETRY_DELAY_S = 0.25, 10.0
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


class ApiError(Exception):
    """The service returned an error; the text has the problem's detail or its invalid fields.

    `refuses_fields`: it refused what was asked for, and names the fields.
    """

    def __init__(self, status: int, detail: str, *, refuses_fields: bool = False) -> None:
        super().__init__(f"{detail} ({status})")
        self.status, self.refuses_fields = status, refuses_fields


def open_client(settings: Settings) -> httpx.AsyncClient:
    """A client of REELMILL_URL with REELMILL_TOKEN; unset, of the local service with a token signed here.

    Raises StartupError, naming the variable that is wrong.
    """
    url = settings.client.url or f"http://127.0.0.1:{settings.process.port}"
    token = settings.client.token or mint_local_token(settings, "local-user", CLIENT_SCOPES, timedelta(hours=12))
    if not (token.isascii() and token.isprintable()):
        raise StartupError("REELMILL_TOKEN: a token has only visible ASCII characters")
    timeout = httpx.Timeout(60, connect=5)
    _require_http_url(url)
    return httpx.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=timeout, trust_env=False
    )


def _require_http_url(url: str) -> None:
    try:
        parsed = httpx.URL(url)
        good = parsed.scheme in ("http", "https") and parsed.host
    except (httpx.InvalidURL, ValueError):
        good = False
    if not good:
        raise StartupError("REELMILL_URL must be an address such as http://127.0.0.1:5003")


class Answer(dict[str, Any]):
    """An object of an answer. Raises ApiError for a member that it does not have: someone else answered."""

    def __missing__(self, name: str) -> Any:
        raise ApiError(OK, f"the answer has no {name}: {CHECK_URL}")


def json_or_raise(response: httpx.Response, of: type[dict[str, Any]] | type[list[Any]] = dict) -> Any:
    """The JSON of a successful response: an object, or a list of objects. Raises ApiError."""
    if not response.is_success:
        refuses_fields = response.status_code == 422 and '"errors"' in response.text
        raise ApiError(response.status_code, problem_message(response), refuses_fields=refuses_fields)
    try:
        answer = json.loads(response.content, object_hook=Answer)
    except (ValueError, RecursionError) as error:
        raise ApiError(response.status_code, f"the answer is not JSON: {CHECK_URL}") from error
    if not isinstance(answer, of) or (of is list and not all(isinstance(row, dict) for row in answer)):
        raise ApiError(response.status_code, f"the answer is not of the expected form: {CHECK_URL}")
    return answer


def problem_message(response: httpx.Response) -> str:
    """The invalid fields of a problem document, or else its detail."""
    try:
        problem = response.json()
        fields = [
            f"{field.get('pointer') or field.get('parameter') or field.get('header')}: {field['detail']}"
            for field in problem.get("errors", [])
        ]
        return "; ".join(fields) or str(problem.get("detail") or problem["title"])
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return f"unexpected response {response.status_code}"


async def get_with_retries(client: httpx.AsyncClient, url: str) -> httpx.Response:
    return await send_with_retries(lambda: client.get(url))


async def send_with_retries(send: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The response to a repeatable request. Retries with growing delays while the service is unreachable or busy."""
    for attempt in range(MAX_ATTEMPTS):
        last = attempt == MAX_ATTEMPTS - 1
        pause = min(INITIAL_RETRY_DELAY_S * 2**attempt, MAX_RETRY_DELAY_S)
        try:
            response = await send()
        except httpx.TransportError:
            if last:
                raise
        else:
            if response.status_code not in (429, 503) or last:
                return response
            pause = max(pause, _retry_after_s(response))
        await asyncio.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _retry_after_s(response: httpx.Response) -> float:
    value = response.headers.get("Retry-After", "")
    return min(float(value), MAX_RETRY_DELAY_S) if value.isdecimal() else 0.0
