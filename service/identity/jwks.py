"""The issuer's public keys: fetched when needed, cached, and used for up to a day when the issuer is down."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import structlog
from jose import jwk
from jose.backends.base import Key

from service.bounded_answers import AnswerRefused, bounded_answers
from service.errors import ServiceUnavailable, StartupError
from service.identity.claims import InvalidToken, parse_json_object

# An issuer has a few keys, each of less than 2 KiB with its certificates.
MAX_DOCUMENT_BYTES, MAX_KEYS = 256 * 1024, 100
# From the lookup of the name to the last byte. Callers whose key is unknown wait for it.
FETCH_TIMEOUT_S = 3.0
CACHE_TTL_S = 600
MAX_STALE_S = 24 * 3600
MIN_FETCH_INTERVAL_S = 10
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
# In base64url. A longer modulus or exponent makes every check of a signature slow.
MAX_MODULUS_CHARACTERS, MAX_EXPONENT_CHARACTERS = MAX_RSA_BITS // 6 + 4, 8
log = structlog.get_logger(__name__)
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
KeySet = dict[str | None, tuple[Key, str]]


class UnusableKeySet(Exception):
    """The issuer's keys cannot be read. The text says why, without quoting the answer or the address."""


class JwkSet:
    """A cached JWK set: at most one fetch per MIN_FETCH_INTERVAL_S. An unknown key id triggers a fetch.

    Who knows the key of a token never waits for a fetch, not even for one that renews old keys.
    """

    supported_algorithms = frozenset({"RS256", "RS384", "RS512", *_CURVES})

    def __init__(
        self, url: str, algorithms: tuple[str, ...], open_client: Callable[..., httpx.AsyncClient] = httpx.AsyncClient
    ) -> None:
        if httpx.URL(url).scheme not in {"http", "https"}:
            raise StartupError("JWT_JWKS_URL must be an http(s) URL")
        self._url, self._algorithms = url, algorithms
        self._client = open_client(timeout=FETCH_TIMEOUT_S, **bounded_answers(MAX_DOCUMENT_BYTES))
        self._keys: KeySet = {}
        self._fetched_at = self._attempted_at = float("-inf")
        self._fetch: asyncio.Task[None] | None = None
        self._failure = "they were not asked for yet"

    async def get_key(self, header: dict[str, Any]) -> tuple[Key, str]:
        """The key that `kid` in the header names (without `kid`, the only key), and its algorithm."""
        kid = header.get("kid")
        now = time.monotonic()
        known = self._has_key(kid) and now - self._fetched_at <= MAX_STALE_S
        if not known or now - self._fetched_at > CACHE_TTL_S:
            fetch = self._start_fetch(now)
            if fetch is not None and not known:
                await asyncio.shield(fetch)
        if time.monotonic() - self._fetched_at > MAX_STALE_S:
            raise ServiceUnavailable(f"the issuer's keys cannot be read ({self._failure}); try again in a moment")
        if not self._has_key(kid):
            raise InvalidToken("kid names no key of the issuer")
        return self._keys[kid] if kid is not None else next(iter(self._keys.values()))

    def _has_key(self, kid: str | None) -> bool:
        return kid in self._keys if kid is not None else len(self._keys) == 1

    def _start_fetch(self, now: float) -> "asyncio.Task[None] | None":
        """The fetch that runs, else a new one; None if the last one is too recent."""
        if self._fetch is None or self._fetch.done():
            if now - self._attempted_at < MIN_FETCH_INTERVAL_S:
                return None
            self._attempted_at = now
            self._fetch = asyncio.create_task(self._refresh())
        return self._fetch

    async def _refresh(self) -> None:
        """Renew the keys. A failure keeps the old ones and is logged."""
        try:
            self._keys = parse_key_set(await self._read_document(), self._algorithms)
        except UnusableKeySet as failure:
            self._failure = str(failure)
            log.warning("jwks_unreadable", variable="JWT_JWKS_URL", reason=self._failure)
            return
        self._fetched_at = time.monotonic()

    async def _read_document(self) -> bytes:
        """Raises UnusableKeySet. The errors of httpx have the URL in their text, which may hold a password."""
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S), self._client.stream("GET", self._url) as response:
                if not response.is_success:
                    raise UnusableKeySet(f"status {response.status_code}")
                return await response.aread()
        except UnusableKeySet:
            raise
        except AnswerRefused as error:
            raise UnusableKeySet(str(error)) from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise UnusableKeySet(f"no complete answer within {FETCH_TIMEOUT_S:g} s") from error
        except Exception as error:  # an unknown server may make the client raise anything
            raise UnusableKeySet(f"the server cannot be reached, {type(error).__name__}") from error


def parse_key_set(data: bytes, algorithms: tuple[str, ...]) -> KeySet:
    """The signature keys of a JWK set by `kid`, with their algorithms; unusable keys are left out.

    Raises UnusableKeySet if the document as a whole is no JWK set.
    """
    try:
        entries = parse_json_object(data).get("keys")
    except InvalidToken as error:
        raise UnusableKeySet(str(error)) from error
    if not isinstance(entries, list):
        raise UnusableKeySet("not a JWK set")
    if len(entries) > MAX_KEYS:
        raise UnusableKeySet(f"more than {MAX_KEYS} keys")
    usable: KeySet = {}
    for entry in entries:
        if isinstance(entry, dict) and (found := _parse_key(entry, algorithms)):
            usable[entry.get("kid")] = found
    return usable


def _parse_key(entry: dict[str, Any], algorithms: tuple[str, ...]) -> tuple[Key, str] | None:
    algorithm = next((name for name in algorithms if _matches_algorithm(entry, name)), None)
    if algorithm is None or not isinstance(entry.get("kid"), str | None):
        return None
    if not (_is_text(entry, "n", MAX_MODULUS_CHARACTERS) and _is_text(entry, "e", MAX_EXPONENT_CHARACTERS)):
        return None
    try:
        key = jwk.construct(entry, algorithm)
        strong = entry["kty"] != "RSA" or MIN_RSA_BITS <= key.prepared_key.key_size <= MAX_RSA_BITS  # type: ignore[attr-defined]
    except Exception:  # a malformed entry may raise anything
        return None
    return (key, algorithm) if strong else None


def _is_text(entry: dict[str, Any], name: str, limit: int) -> bool:
    """Whether the member is absent or a string of at most `limit` characters."""
    value = entry.get(name, "")
    return isinstance(value, str) and len(value) <= limit


def _matches_algorithm(entry: dict[str, Any], algorithm: str) -> bool:
    if entry.get("use", "sig") != "sig" or entry.get("alg", algorithm) != algorithm or "d" in entry:
        return False
    if algorithm in _CURVES:
        return entry.get("kty") == "EC" and entry.get("crv") == _CURVES[algorithm]
    return entry.get("kty") == "RSA"
