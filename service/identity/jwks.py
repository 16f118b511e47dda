"""The issuer's public keys: fetched when needed, cached, and used for up to a day when the issuer is down."""

import asyncio
import json
import time
from typing import Any

import httpx
import structlog
from jose import jwk
from jose.backends.base import Key

from service.errors import ServiceUnavailable, StartupError
from service.identity.claims import InvalidToken

MAX_DOCUMENT_BYTES = 256 * 1024
CACHE_TTL_S = 600
MAX_STALE_S = 24 * 3600
MIN_FETCH_INTERVAL_S = 10
MIN_RSA_BITS = 2048
log = structlog.get_logger(__name__)
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


class JwkSet:
    """A cached JWK set: at most one fetch per MIN_FETCH_INTERVAL_S. An unknown key id triggers a fetch."""

    supported_algorithms = frozenset({"RS256", "RS384", "RS512", *_CURVES})

    def __init__(self, url: str, algorithms: tuple[str, ...], client: httpx.AsyncClient | None = None) -> None:
        if httpx.URL(url).scheme not in {"http", "https"}:
            raise StartupError("JWT_JWKS_URL must be an http(s) URL")
        self._url, self._algorithms = url, algorithms
        self._client = client or httpx.AsyncClient(timeout=5)
        self._keys: dict[str | None, tuple[Key, str]] = {}
        self._fetched_at = self._attempted_at = float("-inf")
        self._lock = asyncio.Lock()

    async def get_key(self, header: dict[str, Any]) -> tuple[Key, str]:
        """The key that `kid` in the header names (without `kid`, the only key), and its algorithm."""
        kid = header.get("kid")
        fresh = time.monotonic() - self._fetched_at <= CACHE_TTL_S
        refreshing = self._lock.locked()  # by another caller; meanwhile the old keys are used
        if not self._has_key(kid) or not (fresh or refreshing):
            await self._refresh()
        if time.monotonic() - self._fetched_at > MAX_STALE_S:
            raise ServiceUnavailable("the issuer's keys cannot be read; try again in a moment")
        if not self._has_key(kid):
            raise InvalidToken("kid names no key of the issuer")
        return self._keys[kid] if kid is not None else next(iter(self._keys.values()))

    def _has_key(self, kid: str | None) -> bool:
        return kid in self._keys if kid is not None else len(self._keys) == 1

    async def _refresh(self) -> None:
        async with self._lock:
            if time.monotonic() - self._attempted_at < MIN_FETCH_INTERVAL_S:
                return
            self._attempted_at = time.monotonic()
            try:
                async with self._client.stream("GET", self._url) as response:
                    response.raise_for_status()
                    data = b""
                    async for chunk in response.aiter_bytes():
                        data += chunk
                        if len(data) > MAX_DOCUMENT_BYTES:
                            raise ValueError("the JWK set is too long")
                self._keys = parse_key_set(json.loads(data), self._algorithms)
            except (httpx.HTTPError, ValueError) as error:
                log.warning("jwks_unreadable", reason=repr(error))
                return
            self._fetched_at = time.monotonic()


def parse_key_set(document: Any, algorithms: tuple[str, ...]) -> dict[str | None, tuple[Key, str]]:
    """The signature keys of a JWK set by `kid`, with their algorithms; unusable keys are left out."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a JWK set")
    usable: dict[str | None, tuple[Key, str]] = {}
    for entry in entries:
        if isinstance(entry, dict) and (found := _parse_key(entry, algorithms)):
            usable[entry.get("kid")] = found
    return usable


def _parse_key(entry: dict[str, Any], algorithms: tuple[str, ...]) -> tuple[Key, str] | None:
    algorithm = next((name for name in algorithms if _matches_algorithm(entry, name)), None)
    if algorithm is None or not isinstance(entry.get("kid"), str | None):
        return None
    try:
        key = jwk.construct(entry, algorithm)
        strong = entry["kty"] != "RSA" or key.prepared_key.key_size >= MIN_RSA_BITS  # type: ignore[attr-defined]
    except Exception:  # a malformed entry may raise anything
        return None
    return (key, algorithm) if strong else None


def _matches_algorithm(entry: dict[str, Any], algorithm: str) -> bool:
    if entry.get("use", "sig") != "sig" or entry.get("alg", algorithm) != algorithm or "d" in entry:
        return False
    if algorithm in _CURVES:
        return entry.get("kty") == "EC" and entry.get("crv") == _CURVES[algorithm]
    return entry.get("kty") == "RSA"
