"""What the verifier accepts, and the attacks that it rejects."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr

from service.errors import StartupError, Unauthenticated
from service.identity.claims import get_scopes
from service.identity.settings import IdentitySettings
from service.identity.tokens import TokenVerifier, issue_token

pytestmark = pytest.mark.anyio
SECRET = "a secret of at least thirty-two bytes"
NOW = int(time.time())
# Valid for longer than any test run: an attack must be rejected for what it is, not because it has expired.
GOOD = {"sub": "lab", "exp": NOW + 86_400, "scope": "videos:read admin"}
HEADER = {"alg": "HS256", "typ": "JWT"}


def settings(**more: Any) -> IdentitySettings:
    return IdentitySettings.model_construct(**{"secret": SecretStr(SECRET)} | more)


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign_token(header: Any, claims: Any, key: bytes = SECRET.encode(), digest: str = "sha256") -> str:
    body = f"{part(header)}.{part(claims)}"
    return f"{body}.{part(hmac.new(key, body.encode(), getattr(hashlib, digest)).digest())}"


def public_key(encoding: Encoding) -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    return key.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


async def test_a_good_token() -> None:
    identity = await TokenVerifier(settings()).verify(sign_token(HEADER, GOOD))
    assert identity.subject == "lab" and identity.scopes == {"videos:read", "admin"}


async def test_minted_tokens_are_accepted_by_the_same_settings() -> None:
    asked = settings(issuer="https://issuer", audience="reelmill", algorithms="HS512", secret=SecretStr(SECRET * 2))
    token = issue_token(SecretStr(SECRET * 2), "lab", ["videos:read"], timedelta(hours=1), asked)
    assert (await TokenVerifier(asked).verify(token)).scopes == {"videos:read"}


ATTACKS: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "one dot": lambda: "a.b",
    "four parts": lambda: sign_token(HEADER, GOOD) + ".x",
    "jwe": lambda: "a.b.c.d.e",
    "alg none": lambda: f"{part({'alg': 'none'})}.{part(GOOD)}.",
    "alg None, some signature": lambda: sign_token({"alg": "None"}, GOOD),
    "alg lower case": lambda: sign_token({"alg": "hs256"}, GOOD),
    "alg HS384": lambda: sign_token({"alg": "HS384"}, GOOD, digest="sha384"),
    "alg RS256": lambda: sign_token({"alg": "RS256"}, GOOD),
    "alg missing": lambda: sign_token({"typ": "JWT"}, GOOD),
    "alg a list": lambda: sign_token({"alg": ["HS256"]}, GOOD),
    "alg a number": lambda: sign_token({"alg": 1}, GOOD),
    "kid an object": lambda: sign_token(HEADER | {"kid": {}}, GOOD),
    "signed with a PEM public key": lambda: sign_token(HEADER, GOOD, public_key(Encoding.PEM)),
    "signed with a DER public key": lambda: sign_token(HEADER, GOOD, public_key(Encoding.DER)),
    "signed with an empty key": lambda: sign_token(HEADER, GOOD, b""),
    "signed with a key of its own header": lambda: sign_token(
        HEADER | {"jwk": {"kty": "oct", "k": part(b"mine" * 8)}}, GOOD, b"mine" * 8
    ),
    "crit": lambda: sign_token(HEADER | {"crit": ["exp"]}, GOOD),
    "crit empty": lambda: sign_token(HEADER | {"crit": []}, GOOD),
    "b64 false": lambda: sign_token(HEADER | {"b64": False}, GOOD),
    "payload changed": lambda: ".".join(
        [part(HEADER), part(GOOD | {"sub": "root"}), sign_token(HEADER, GOOD).split(".")[2]]
    ),
    "no signature": lambda: sign_token(HEADER, GOOD).rpartition(".")[0] + ".",
    "oversize": lambda: sign_token(HEADER, GOOD | {"x": "y" * 8192}),
    "nested header": lambda: f"{part(b'[' * 3000)}.{part(GOOD)}.x",
    "nested claims": lambda: sign_token(HEADER, b'{"a":' + b"[" * 3000),
    "header not UTF-8": lambda: sign_token(b'{"alg":"HS256","x":"\xff"}', GOOD),
    "claims not UTF-8": lambda: sign_token(HEADER, b'{"sub":"\xff"}'),
    "header a list": lambda: sign_token([], GOOD),
    "claims a list": lambda: sign_token(HEADER, []),
    "claims a token": lambda: sign_token(HEADER, sign_token(HEADER, GOOD).encode()),
    "duplicate keys": lambda: sign_token(HEADER, b'{"sub":"a","sub":"b","exp":%d}' % GOOD["exp"]),
    "not ASCII": lambda: sign_token(HEADER, GOOD) + "é",
    "line feed at the end": lambda: sign_token(HEADER, GOOD) + "\n",
    "no exp": lambda: sign_token(HEADER, without("exp")),
    "exp a string": lambda: sign_token(HEADER, GOOD | {"exp": str(GOOD["exp"])}),
    "exp true": lambda: sign_token(HEADER, GOOD | {"exp": True}),
    "exp null": lambda: sign_token(HEADER, GOOD | {"exp": None}),
    "exp infinite": lambda: sign_token(HEADER, GOOD | {"exp": float("inf")}),
    "exp nan": lambda: sign_token(HEADER, GOOD | {"exp": float("nan")}),
    "exp huge": lambda: sign_token(HEADER, GOOD | {"exp": 10**400}),
    "nbf in the future": lambda: sign_token(HEADER, GOOD | {"nbf": NOW + 86_000}),
    "nbf a list": lambda: sign_token(HEADER, GOOD | {"nbf": []}),
    "iat an object": lambda: sign_token(HEADER, GOOD | {"iat": {}}),
    "no sub": lambda: sign_token(HEADER, without("sub")),
    "sub empty": lambda: sign_token(HEADER, GOOD | {"sub": ""}),
    "sub blank": lambda: sign_token(HEADER, GOOD | {"sub": " "}),
    "sub a number": lambda: sign_token(HEADER, GOOD | {"sub": 7}),
    "sub with NUL": lambda: sign_token(HEADER, GOOD | {"sub": "a\0b"}),
    "sub with a lone surrogate": lambda: sign_token(HEADER, GOOD | {"sub": "\ud800"}),
    "sub long": lambda: sign_token(HEADER, GOOD | {"sub": "a" * 300}),
    "scope a list": lambda: sign_token(HEADER, GOOD | {"scope": ["admin"]}),
    "aud unasked": lambda: sign_token(HEADER, GOOD | {"aud": "another"}),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_attacks_are_refused(attack: str) -> None:
    with pytest.raises(Unauthenticated, match=r"^invalid token$") as refusal:
        await TokenVerifier(settings()).verify(ATTACKS[attack]())
    assert 'error="invalid_token"' in refusal.value.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("claims", "accepted"),
    [
        ({"aud": "reelmill", "iss": "us"}, True),
        ({"aud": ["other", "reelmill"], "iss": "us"}, True),
        ({"iss": "us"}, False),
        ({"aud": "other", "iss": "us"}, False),
        ({"aud": [], "iss": "us"}, False),
        ({"aud": {"reelmill": 1}, "iss": "us"}, False),
        ({"aud": "reelmill"}, False),
        ({"aud": "reelmill", "iss": "them"}, False),
        ({"aud": "reelmill", "iss": ["us"]}, False),
    ],
)
async def test_audience_and_issuer(claims: dict[str, Any], accepted: bool) -> None:
    verifier = TokenVerifier(settings(audience="reelmill", issuer="us"))
    token = sign_token(HEADER, GOOD | claims)
    if accepted:
        await verifier.verify(token)
    else:
        with pytest.raises(Unauthenticated, match="invalid token"):
            await verifier.verify(token)


async def test_leeway() -> None:
    verifier = TokenVerifier(settings())
    await verifier.verify(sign_token(HEADER, GOOD | {"exp": time.time() - 25, "nbf": time.time() + 25}))
    with pytest.raises(Unauthenticated, match="token expired"):
        await verifier.verify(sign_token(HEADER, GOOD | {"exp": time.time() - 31}))


async def test_an_expired_forgery_is_invalid_and_not_expired() -> None:
    with pytest.raises(Unauthenticated, match="invalid token"):
        await TokenVerifier(settings()).verify(sign_token(HEADER, GOOD | {"exp": 1}, b"another key"))


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"secret": SecretStr("short")}, "JWT_SECRET"),
        ({"secret": SecretStr("")}, "JWT_SECRET"),
        ({"secret": None}, "JWT_SECRET"),
        ({"algorithms": "HS512"}, "JWT_SECRET"),
        ({"secret": SecretStr(public_key(Encoding.PEM).decode())}, "JWT_SECRET"),
        ({"jwks_url": "https://issuer/keys"}, "JWT_JWKS_URL"),
        ({"secret": None, "jwks_url": "file:///etc/keys"}, "JWT_JWKS_URL"),
        ({"secret": None, "jwks_url": "https://issuer/keys", "algorithms": "HS256"}, "JWT_ALGORITHMS"),
        ({"algorithms": "none"}, "JWT_ALGORITHMS"),
        ({"algorithms": "RS256"}, "JWT_ALGORITHMS"),
        ({"algorithms": "HS256,HS512", "secret": SecretStr(SECRET * 2)}, "JWT_ALGORITHMS"),
    ],
)
def test_settings_that_cannot_be_safe_refuse_the_start(more: dict[str, Any], names: str) -> None:
    with pytest.raises(StartupError, match=names) as refusal:
        TokenVerifier(settings(**more))
    assert SECRET not in str(refusal.value) and "\n" not in str(refusal.value)


def test_empty_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JWT_SECRET", "JWT_JWKS_URL", "JWT_ISSUER", "JWT_AUDIENCE", "JWT_ALGORITHMS"):
        monkeypatch.setenv(name, "")
    assert IdentitySettings() == IdentitySettings.model_construct()


def test_only_spaces_separate_scopes() -> None:
    for blank in "\u00a0\u2028\u3000\t\n":
        assert get_scopes({"scope": f"catalog:read{blank}admin"}) == {f"catalog:read{blank}admin"}
    assert get_scopes({"scope": "  catalog:read   admin "}) == {"catalog:read", "admin"}
