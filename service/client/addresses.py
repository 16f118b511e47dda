"""Where the service is and who asks: from arguments, the environment, or the service on this machine."""

import base64
import hashlib
import hmac
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from service.client.errors import Misconfigured

DEFAULT_PORT, LOCAL_USER, LOCAL_LIFETIME_S = "5003", "local-user", 12 * 3600
LOCAL_SCOPES = "catalog:read catalog:write videos:read videos:render query:run agent:ask ops:read ops:write"
NOT_HERE = "REELMILL_TOKEN is not set: a service that is not on this machine needs a token"


@dataclass(frozen=True, slots=True)
class Address:
    """The URL of the service, without a slash at its end, and the token."""

    url: str
    token: str

    def __repr__(self) -> str:
        return f"Address({self.url!r})"  # never the token


def find_address(url: str | None = None, token: str | None = None) -> Address:
    """What is not given comes from REELMILL_URL and REELMILL_TOKEN; without them, it is the service of this machine.

    Raises Misconfigured.
    """
    url = url or os.environ.get("REELMILL_URL")
    token = token or os.environ.get("REELMILL_TOKEN")
    if token is None and url is not None and not is_here(url):
        raise Misconfigured(NOT_HERE)
    url = url or f"http://127.0.0.1:{os.environ.get('PORT') or DEFAULT_PORT}"
    return checked_address(url, sign_local_token() if token is None else token)


def checked_address(url: str, token: str) -> Address:
    """Raises Misconfigured."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in url
    except ValueError:
        good = False
    if not good or not (url.isascii() and url.isprintable()):
        raise Misconfigured("REELMILL_URL must be an address such as http://127.0.0.1:5003")
    if not (token.isascii() and token.isprintable()):
        raise Misconfigured("REELMILL_TOKEN: a token has only visible ASCII characters")
    return Address(url.rstrip("/"), token)


def is_here(url: str) -> bool:
    """Whether it names this machine: only then may it get a token that is signed here."""
    try:
        return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    except ValueError:
        return False


def sign_local_token() -> str:
    """A token of the service on this machine, signed with JWT_SECRET or the secret in its home.

    Raises Misconfigured if there is neither, or another issuer signs the tokens.
    """
    if os.environ.get("JWT_JWKS_URL"):
        raise Misconfigured("REELMILL_TOKEN is not set, and tokens are issued elsewhere (JWT_JWKS_URL): set it")
    algorithm = os.environ.get("JWT_ALGORITHMS") or "HS256"
    if algorithm != "HS256":
        raise Misconfigured(f"REELMILL_TOKEN is not set: `reelmill token` signs one with {algorithm}")
    now = int(time.time())
    claims: dict[str, Any] = {"sub": LOCAL_USER, "scope": LOCAL_SCOPES, "iat": now, "exp": now + LOCAL_LIFETIME_S}
    for claim, variable in (("iss", "JWT_ISSUER"), ("aud", "JWT_AUDIENCE")):
        if value := os.environ.get(variable):
            claims[claim] = value
    return _sign(claims, (os.environ.get("JWT_SECRET") or _read_local_secret()).encode())


def _read_local_secret() -> str:
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    home = Path(os.environ.get("REELMILL_HOME") or Path(data) / "reelmill")
    try:
        return (home / "jwt-secret").read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = "no service has run on this machine as this user: start one with `reelmill up`"
        raise Misconfigured(f"{reason}, or set REELMILL_URL and REELMILL_TOKEN") from error


def _sign(claims: dict[str, Any], secret: bytes) -> str:
    """RFC 7519 with HMAC SHA-256."""
    parts = [_encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    text = b".".join(parts)
    return (text + b"." + _encode(hmac.new(secret, text, hashlib.sha256).digest())).decode()


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
