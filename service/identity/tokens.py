"""JWT in, identity out: python-jose behind one verifier that closes what the library leaves open."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from jose import jwk, jws, jwt
from jose.backends.base import Key
from pydantic import SecretStr

from service.errors import StartupRefused, Unauthenticated, Unavailable
from service.identity.claims import (
    BadToken,
    ExpiredToken,
    check_parties,
    check_times,
    parse_header,
    parse_object,
    scopes_of,
    subject_of,
)
from service.identity.jwks import JwkSet
from service.identity.settings import IdentitySettings as IdentitySettings
from service.ids import Subject

REALM = 'Bearer realm="reelmill"'
_HMAC_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Shortest secret of each algorithm (RFC 7518, 3.2)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller whose token was verified."""

    subject: Subject
    scopes: frozenset[str]


class Keys(Protocol):
    """Where the key for a token comes from; a key works with exactly one algorithm."""

    async def find(self, header: dict[str, Any]) -> tuple[Key, str]: ...


class SecretKey:
    """One shared secret, pinned to one HMAC algorithm."""

    def __init__(self, secret: SecretStr, algorithm: str) -> None:
        value = secret.get_secret_value()
        if len(value.encode()) < _HMAC_BYTES[algorithm]:
            raise StartupRefused(f"JWT_SECRET is too short: {algorithm} needs at least {_HMAC_BYTES[algorithm]} bytes")
        try:
            self._key: Key = jwk.construct(value, algorithm)
        except Exception:
            raise StartupRefused("JWT_SECRET looks like a public key; it must be a random secret") from None
        self.algorithm = algorithm

    async def find(self, header: dict[str, Any]) -> tuple[Key, str]:
        return self._key, self.algorithm


class TokenVerifier:
    """Accepts a token only when its shape, algorithm, signature and every claim are as they should be."""

    def __init__(self, settings: IdentitySettings, local_secret: SecretStr | None = None) -> None:
        self._settings = settings
        self._keys = _keys(settings, local_secret)

    async def verify(self, token: str) -> Identity:
        """The identity in `token`; raise Unauthenticated (or Unavailable when the issuer's keys cannot be read)."""
        try:
            return await self._verify(token)
        except Unavailable:
            raise
        except ExpiredToken as reason:
            raise refused("token expired") from reason
        except Exception as reason:  # python-jose lets TypeError, OverflowError, RecursionError and JWKError escape
            raise refused("invalid token") from reason

    async def _verify(self, token: str) -> Identity:
        header = parse_header(token)
        key, algorithm = await self._keys.find(header)
        if header["alg"] != algorithm:
            raise BadToken("alg is not the one of the key")
        claims = parse_object(jws.verify(token, key, algorithms=[algorithm]))
        check_parties(claims, self._settings)
        identity = Identity(Subject(subject_of(claims)), scopes_of(claims))
        check_times(claims, time.time())
        return identity


def refused(detail: str) -> Unauthenticated:
    """A 401 about a token that was sent (RFC 6750, 3.1)."""
    challenge = f'{REALM}, error="invalid_token", error_description="{detail}"'
    return Unauthenticated(detail, headers={"WWW-Authenticate": challenge})


def mint(
    secret: SecretStr, subject: str, scopes: Iterable[str], ttl: timedelta, settings: IdentitySettings | None = None
) -> str:
    """A token signed with `secret`, with the algorithm, issuer and audience that `settings` ask for."""
    asked = settings or IdentitySettings.model_construct()
    (algorithm,) = asked.accepted("HS256", frozenset(_HMAC_BYTES))
    now = int(time.time())
    claims: dict[str, Any] = {"sub": subject, "scope": " ".join(scopes), "iat": now}
    claims["exp"] = now + int(ttl.total_seconds())
    parties = {"iss": asked.issuer, "aud": asked.audience}
    claims |= {name: value for name, value in parties.items() if value is not None}
    return jwt.encode(claims, secret.get_secret_value(), algorithm)


def _keys(settings: IdentitySettings, local_secret: SecretStr | None) -> Keys:
    if settings.secret is not None and settings.jwks_url:
        raise StartupRefused("JWT_SECRET and JWT_JWKS_URL are both set: keep one")
    if settings.jwks_url:
        return JwkSet(settings.jwks_url, settings.accepted("RS256,ES256", JwkSet.supported))
    secret = settings.secret or local_secret
    if secret is None:
        raise StartupRefused("JWT_SECRET or JWT_JWKS_URL must be set, so that callers can be known")
    algorithms = settings.accepted("HS256", frozenset(_HMAC_BYTES))
    if len(algorithms) > 1:
        raise StartupRefused("JWT_ALGORITHMS must name one algorithm when JWT_SECRET is used")
    return SecretKey(secret, algorithms[0])
