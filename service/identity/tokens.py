"""Verify and issue JWTs. The verifier adds the checks that python-jose leaves out."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from jose import jwk, jws, jwt
from jose.backends.base import Key
from pydantic import SecretStr

from service.errors import ServiceUnavailable, StartupError, Unauthenticated
from service.identity.claims import (
    ExpiredToken,
    InvalidToken,
    check_issuer_and_audience,
    check_times,
    get_scopes,
    get_subject,
    parse_header,
    parse_json_object,
)
from service.identity.jwks import JwkSet
from service.identity.settings import IdentitySettings as IdentitySettings
from service.ids import Subject

BEARER_CHALLENGE = 'Bearer realm="reelmill"'
# Length of the shortest secret for each algorithm (RFC 7518, 3.2).
_HMAC_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller, as verified from the token, which is accepted until `expires_at` (Unix time)."""

    subject: Subject
    scopes: frozenset[str]
    expires_at: float = math.inf


class KeySource(Protocol):
    """Finds the key for a token; a key belongs to exactly one algorithm."""

    async def get_key(self, header: dict[str, Any]) -> tuple[Key, str]: ...


class SharedSecret:
    """One shared secret for one HMAC algorithm."""

    def __init__(self, secret: SecretStr, algorithm: str) -> None:
        value = secret.get_secret_value()
        if len(value.encode()) < _HMAC_BYTES[algorithm]:
            raise StartupError(f"JWT_SECRET is too short: {algorithm} needs at least {_HMAC_BYTES[algorithm]} bytes")
        try:
            self._key: Key = jwk.construct(value, algorithm)
        except Exception:
            raise StartupError("JWT_SECRET looks like a public key; it must be a random secret") from None
        self.algorithm = algorithm

    async def get_key(self, header: dict[str, Any]) -> tuple[Key, str]:
        return self._key, self.algorithm


class TokenVerifier:
    """Checks the shape, algorithm, signature and every claim of a token."""

    def __init__(self, settings: IdentitySettings, local_secret: SecretStr | None = None) -> None:
        self._settings = settings
        self._key_source = _select_key_source(settings, local_secret)

    async def verify(self, token: str) -> Identity:
        """The caller of this token. Raises Unauthenticated, or ServiceUnavailable without the issuer's keys."""
        return (await self.verify_with_claims(token))[0]

    async def verify_with_claims(self, token: str) -> tuple[Identity, dict[str, Any]]:
        """The caller of this token, and all its claims. Raises as `verify`."""
        try:
            return await self._verify(token)
        except ServiceUnavailable:
            raise
        except ExpiredToken as reason:
            raise invalid_token_error("token expired") from reason
        except Exception as reason:  # python-jose lets TypeError, OverflowError, RecursionError and JWKError escape
            raise invalid_token_error("invalid token") from reason

    async def _verify(self, token: str) -> tuple[Identity, dict[str, Any]]:
        header = parse_header(token)
        key, algorithm = await self._key_source.get_key(header)
        if header["alg"] != algorithm:
            raise InvalidToken("alg is not that of the key")
        claims = parse_json_object(jws.verify(token, key, algorithms=[algorithm]))
        check_issuer_and_audience(claims, self._settings)
        subject, scopes = Subject(get_subject(claims)), get_scopes(claims)
        return Identity(subject, scopes, check_times(claims, time.time())), claims


def invalid_token_error(detail: str) -> Unauthenticated:
    """The 401 for a token that was rejected (RFC 6750, 3.1)."""
    challenge = f'{BEARER_CHALLENGE}, error="invalid_token", error_description="{detail}"'
    return Unauthenticated(detail, headers={"WWW-Authenticate": challenge})


def issue_token(
    secret: SecretStr, subject: str, scopes: Iterable[str], ttl: timedelta, settings: IdentitySettings | None = None
) -> str:
    """A token signed with `secret`; the algorithm, issuer and audience are those of `settings`."""
    settings = settings or IdentitySettings.model_construct()
    (algorithm,) = settings.accepted_algorithms("HS256", frozenset(_HMAC_BYTES))
    now = int(time.time())
    claims: dict[str, Any] = {"sub": subject, "scope": " ".join(scopes), "iat": now}
    claims["exp"] = now + int(ttl.total_seconds())
    parties = {"iss": settings.issuer, "aud": settings.audience}
    claims |= {name: value for name, value in parties.items() if value is not None}
    return jwt.encode(claims, secret.get_secret_value(), algorithm)


def _select_key_source(settings: IdentitySettings, local_secret: SecretStr | None) -> KeySource:
    if settings.secret is not None and settings.jwks_url:
        raise StartupError("JWT_SECRET and JWT_JWKS_URL are both set: keep one")
    if settings.jwks_url:
        return JwkSet(settings.jwks_url, settings.accepted_algorithms("RS256,ES256", JwkSet.supported_algorithms))
    secret = settings.secret or local_secret
    if secret is None:
        raise StartupError("JWT_SECRET or JWT_JWKS_URL must be set, to verify tokens")
    algorithms = settings.accepted_algorithms("HS256", frozenset(_HMAC_BYTES))
    if len(algorithms) > 1:
        raise StartupError("JWT_ALGORITHMS must name one algorithm when JWT_SECRET is used")
    return SharedSecret(secret, algorithms[0])
