"""Scopes, and the checks of a token's header and claims: pure functions that raise InvalidToken with the reason."""

import base64
import json
import math
import re
from typing import Any, Literal

from service.identity.settings import IdentitySettings

Scope = Literal[
    "catalog:read",
    "catalog:write",
    "videos:read",
    "videos:render",
    "query:run",
    "agent:ask",
    "events:write",
    "ops:read",
    "ops:write",
    "admin",
]

ADMIN: Scope = "admin"


def allows(granted: frozenset[str], required: Scope) -> bool:
    """Whether the scopes of a token include `required`; `admin` implies all."""
    return required in granted or ADMIN in granted


MAX_TOKEN_BYTES = 8 * 1024
LEEWAY_S = 30
_TOKEN_PATTERN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class InvalidToken(Exception):
    """Why a token is rejected; logged, never sent to the caller."""


class ExpiredToken(InvalidToken):
    """A token that is valid but for its `exp`."""


def parse_header(token: str) -> dict[str, Any]:
    """The JOSE header of a token; its size and shape are checked before anything else reads it."""
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken("longer than 8 KiB")
    if not _TOKEN_PATTERN.fullmatch(token):
        raise InvalidToken("not three base64url parts")
    header = parse_json_object(_decode_base64url(token.partition(".")[0]))
    if "crit" in header or "b64" in header:
        raise InvalidToken("critical extensions are not understood")
    if not isinstance(header.get("alg"), str) or not isinstance(header.get("kid", ""), str):
        raise InvalidToken("alg or kid is not a string")
    return header


def parse_json_object(data: bytes) -> dict[str, Any]:
    """A JSON object, without duplicate keys."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_reject_duplicates)
    except (ValueError, RecursionError) as error:
        raise InvalidToken("not JSON") from error
    if not isinstance(value, dict):
        raise InvalidToken("not a JSON object")
    return value


def check_times(claims: dict[str, Any], now: float) -> float:
    """Require `exp`, respect `nbf`; both are numbers, with 30 s of leeway. Returns the end, leeway added."""
    if "exp" not in claims:
        raise InvalidToken("no exp")
    if _numeric_date(claims, "nbf", -math.inf) > now + LEEWAY_S:
        raise InvalidToken("not valid yet")
    _numeric_date(claims, "iat", now)
    expires_at = _numeric_date(claims, "exp", now) + LEEWAY_S
    if now >= expires_at:
        raise ExpiredToken("expired")
    return expires_at


def check_issuer_and_audience(claims: dict[str, Any], settings: IdentitySettings) -> None:
    """Require the configured `iss` and `aud`; without a configured audience, `aud` must be absent (RFC 7519)."""
    if settings.issuer is not None and claims.get("iss") != settings.issuer:
        raise InvalidToken("iss is not JWT_ISSUER")
    audience = claims.get("aud")
    if audience is None and settings.audience is None:
        return
    audiences = audience if isinstance(audience, list) else [audience]
    if settings.audience is None or settings.audience not in audiences:
        raise InvalidToken("aud is not JWT_AUDIENCE")


def get_subject(claims: dict[str, Any]) -> str:
    """`sub`: a short printable string."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject.strip()) <= 255 or not subject.isprintable():
        raise InvalidToken("sub is not a printable string of 1 to 255 characters")
    return subject


def get_scopes(claims: dict[str, Any]) -> frozenset[str]:
    """`scope`: names separated by spaces (RFC 6749, 3.3) and nothing else that is blank; absent means none."""
    scope = claims.get("scope", "")
    if not isinstance(scope, str):
        raise InvalidToken("scope is not a string")
    return frozenset(scope.split(" ")) - {""}


def _numeric_date(claims: dict[str, Any], name: str, default: float) -> float:
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidToken(f"{name} is not a number")
    if name in claims and not -(2**53) < value < 2**53:
        raise InvalidToken(f"{name} is out of range")
    return value


def _decode_base64url(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError as error:
        raise InvalidToken("not base64url") from error


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise InvalidToken("duplicate key")
    return value
