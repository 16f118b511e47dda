"""Sign in at an OpenID Connect issuer, by authorization code with PKCE (RFC 7636), for a token of our own."""

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Self, get_args
from urllib.parse import quote, urlencode

import httpx
import structlog
from pydantic import SecretStr

from service.bounded_answers import bounded_answers
from service.errors import ServiceUnavailable, StartupError, Unauthenticated
from service.identity.claims import InvalidToken, Scope, parse_json_object
from service.identity.settings import IdentitySettings, OidcSettings
from service.identity.tokens import TokenVerifier, issue_token

# Who loses a group keeps what it allows until the session ends.
SESSION_TTL = timedelta(hours=12)
METADATA_TTL_S = 600
# Anybody may ask to sign in: an issuer that does not answer is asked so often for all of them.
MIN_ATTEMPT_INTERVAL_S = 5.0
MAX_ANSWER_BYTES, TIMEOUT_S = 256 * 1024, 5.0
EVERYBODY = "*"
Reason = Literal["refused", "stale", "invalid", "unavailable"]
log = structlog.get_logger(__name__)


class SignInFailed(Exception):
    """`reason` is for the page, the text for the log."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SignInFlow:
    """What a browser keeps while its user is at the issuer: it shows that he who comes back is he who went."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def start(cls) -> Self:
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))

    @property
    def challenge(self) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class IssuerMetadata:
    """What the issuer says about itself (OpenID Connect Discovery, 3), and the verifier of its tokens."""

    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str | None
    scopes: frozenset[str]
    # Of ways to show the client's secret; by default it is in the header.
    secret_in_body: bool
    verifier: TokenVerifier
    read_at: float


class OpenIdIssuer:
    """The issuer as a client of it sees it."""

    def __init__(self, settings: OidcSettings) -> None:
        """Raises StartupError."""
        if not _is_address(settings.issuer):
            raise StartupError("OIDC_ISSUER must be an address such as https://issuer.example/realm")
        if not settings.client_id:
            raise StartupError("OIDC_CLIENT_ID must be set, as the issuer calls this service")
        self.address, self.client_id = str(settings.issuer), settings.client_id
        self._secret = settings.client_secret.get_secret_value() if settings.client_secret else None
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, **bounded_answers(MAX_ANSWER_BYTES))
        self._metadata: IssuerMetadata | None = None
        self._failed_at = float("-inf")
        self._reading = asyncio.Lock()

    async def close(self) -> None:
        await self._client.aclose()

    async def authorization_url(self, flow: SignInFlow, redirect_uri: str) -> str:
        """Where to send the browser. Raises SignInFailed."""
        metadata = await self._read_metadata()
        scopes = ["openid", *sorted({"profile", "groups"} & metadata.scopes)]
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(scopes),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": flow.challenge,
            "code_challenge_method": "S256",
        }
        separator = "&" if "?" in metadata.authorization_endpoint else "?"
        return f"{metadata.authorization_endpoint}{separator}{urlencode(query)}"

    async def redeem(self, code: str, flow: SignInFlow, redirect_uri: str) -> dict[str, Any]:
        """The verified claims of who has signed in, with his `groups`. Raises SignInFailed."""
        metadata = await self._read_metadata()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        tokens = await self._ask("POST", metadata.token_endpoint, **self._as_client(metadata, form, flow))
        claims = await self._verify_id_token(metadata, tokens.get("id_token"), flow)
        if "groups" not in claims and metadata.userinfo_endpoint:
            header = {"Authorization": f"Bearer {tokens.get('access_token')}"}
            more = await self._ask("GET", metadata.userinfo_endpoint, headers=header)
            if more.get("sub") == claims["sub"]:
                claims |= {"groups": more.get("groups")}
        return claims

    def _as_client(self, metadata: IssuerMetadata, form: dict[str, str], flow: SignInFlow) -> dict[str, Any]:
        """The form, with what shows that it is of this service and of the sign-in that began (RFC 6749, 2.3.1)."""
        form |= {"client_id": self.client_id, "code_verifier": flow.verifier}
        if self._secret is None:
            return {"data": form}
        if metadata.secret_in_body:
            return {"data": form | {"client_secret": self._secret}}
        return {"data": form, "auth": httpx.BasicAuth(quote(self.client_id, safe=""), quote(self._secret, safe=""))}

    async def _verify_id_token(self, metadata: IssuerMetadata, token: object, flow: SignInFlow) -> dict[str, Any]:
        """OpenID Connect Core, 3.1.3.7."""
        try:
            _, claims = await metadata.verifier.verify_with_claims(token if isinstance(token, str) else "")
        except Unauthenticated as error:
            raise SignInFailed("invalid", f"the id token is not good: {error.__cause__ or error}") from error
        except ServiceUnavailable as error:
            raise SignInFailed("unavailable", str(error)) from error
        if not secrets.compare_digest(str(claims.get("nonce")).encode(), flow.nonce.encode()):
            raise SignInFailed("invalid", "the id token is of another sign-in")
        if claims.get("azp", self.client_id) != self.client_id:
            raise SignInFailed("invalid", "the id token is for another client")
        return claims

    async def _read_metadata(self) -> IssuerMetadata:
        """Raises SignInFailed. One request for all who sign in."""
        async with self._reading:
            if self._metadata is not None and time.monotonic() - self._metadata.read_at <= METADATA_TTL_S:
                return self._metadata
            if time.monotonic() - self._failed_at < MIN_ATTEMPT_INTERVAL_S:
                raise SignInFailed("unavailable", "the issuer's metadata could not be read a moment ago")
            address = f"{self.address.rstrip('/')}/.well-known/openid-configuration"
            try:
                self._metadata = self._parse_metadata(await self._ask("GET", address))
            except SignInFailed as failure:
                self._failed_at = time.monotonic()
                raise SignInFailed("unavailable", f"the metadata cannot be read: {failure}") from failure
            return self._metadata

    def _parse_metadata(self, document: dict[str, Any]) -> IssuerMetadata:
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if document.get("issuer") != self.address or not all(_is_address(document.get(name)) for name in names):
            raise SignInFailed("unavailable", "the metadata is not of OIDC_ISSUER, or lacks an address")
        expected = IdentitySettings.model_construct(
            jwks_url=document["jwks_uri"], issuer=self.address, audience=self.client_id
        )
        userinfo, methods = document.get("userinfo_endpoint"), document.get("token_endpoint_auth_methods_supported")
        return IssuerMetadata(
            document["authorization_endpoint"],
            document["token_endpoint"],
            userinfo if _is_address(userinfo) else None,
            frozenset(_texts(document.get("scopes_supported"))),
            secret_in_body=bool(methods) and "client_secret_basic" not in _texts(methods),
            verifier=TokenVerifier(expected),
            read_at=time.monotonic(),
        )

    async def _ask(self, method: str, address: str, **request: Any) -> dict[str, Any]:
        """The JSON object that the issuer answers. Raises SignInFailed; what it answered is not quoted."""
        try:
            answer = await self._client.request(method, address, **request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SignInFailed("unavailable", f"the issuer cannot be asked, {type(error).__name__}") from error
        if not answer.is_success:
            reason: Reason = "invalid" if answer.is_client_error else "unavailable"
            raise SignInFailed(reason, f"the issuer answered {answer.status_code}")
        try:
            return parse_json_object(answer.content)
        except InvalidToken as error:
            raise SignInFailed("unavailable", f"the issuer's answer is {error}") from error


class OpenIdSignIn:
    """Turns who has signed in at the issuer into a token of this service, with the scopes of his groups."""

    def __init__(self, oidc: OidcSettings, identity: IdentitySettings, local_secret: SecretStr | None) -> None:
        """Raises StartupError."""
        secret = identity.secret or local_secret
        if identity.jwks_url or secret is None:
            raise StartupError("OIDC_ISSUER needs JWT_SECRET, which signs sessions, instead of JWT_JWKS_URL")
        self.issuer, self._scopes = OpenIdIssuer(oidc), parse_groups(oidc.groups)
        self._secret, self._identity = secret, identity

    async def finish(self, code: str, flow: SignInFlow, redirect_uri: str) -> str:
        """The token of a session. Raises SignInFailed."""
        claims = await self.issuer.redeem(code, flow, redirect_uri)
        groups = claims.get("groups")
        named = [EVERYBODY, *_texts([groups] if isinstance(groups, str) else groups)]
        scopes = sorted(frozenset().union(*(self._scopes.get(group, frozenset()) for group in named)))
        if not scopes:
            raise SignInFailed("refused", "no group of the user is in OIDC_GROUPS")
        return issue_token(self._secret, claims["sub"], scopes, SESSION_TTL, self._identity)


def parse_groups(value: str) -> dict[str, frozenset[str]]:
    """Group -> scopes. Raises StartupError."""
    groups: dict[str, frozenset[str]] = {}
    for rule in filter(None, (part.strip() for part in value.split(","))):
        name, _, scopes = rule.rpartition("=")
        allowed = frozenset(scopes.split())
        if not name.strip() or not allowed or not allowed <= frozenset(get_args(Scope)):
            raise StartupError("OIDC_GROUPS: write it as in operators=admin,lab=catalog:read videos:read")
        groups[name.strip()] = groups.get(name.strip(), frozenset()) | allowed
    return groups


def _texts(value: object) -> Iterable[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _is_address(value: object) -> bool:
    try:
        url = httpx.URL(value) if isinstance(value, str) else None
    except (httpx.InvalidURL, ValueError):
        return False
    return url is not None and url.scheme in ("http", "https") and bool(url.host)
