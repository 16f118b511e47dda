"""Public keys of an issuer: which are used, for which algorithm, and what happens when it is down."""

import time
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jose import jwk, jwt

from service.errors import ServiceUnavailable, Unauthenticated
from service.identity import jwks
from service.identity.settings import IdentitySettings
from service.identity.tokens import TokenVerifier

pytestmark = pytest.mark.anyio


def pair(private: Any, algorithm: str, kid: str) -> tuple[str, dict[str, Any]]:
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return pem, jwk.construct(pem, algorithm).public_key().to_dict() | {"kid": kid, "use": "sig"}


RSA_PEM, RSA = pair(rsa.generate_private_key(public_exponent=65537, key_size=2048), "RS256", "rsa")
WEAK_PEM, WEAK = pair(rsa.generate_private_key(public_exponent=65537, key_size=1024), "RS256", "weak")
EC_PEM, EC = pair(ec.generate_private_key(ec.SECP256R1()), "ES256", "ec")
P384_PEM, P384 = pair(ec.generate_private_key(ec.SECP384R1()), "ES384", "p384")
DOCUMENT = {
    "keys": [RSA, WEAK, EC, P384 | {"alg": "ES256"}, {"kty": "RSA"}, 7, {"kty": "oct", "k": "AAAA", "kid": "o"}]
}


class Issuer:
    """A JWKS endpoint that can be down."""

    def __init__(self, document: Any) -> None:
        self.document, self.away, self.asked = document, False, 0

    def verifier(self) -> TokenVerifier:
        settings = IdentitySettings.model_construct(jwks_url="https://issuer/keys")
        verifier = TokenVerifier(settings)
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        verifier._key_source = jwks.JwkSet("https://issuer/keys", ("RS256", "ES256"), client)
        return verifier

    def answer(self, _request: httpx.Request) -> httpx.Response:
        self.asked += 1
        return httpx.Response(500) if self.away else httpx.Response(200, json=self.document)


def token(pem: str, algorithm: str, kid: str | None) -> str:
    claims = {"sub": "lab", "exp": int(time.time()) + 60}
    return jwt.encode(claims, pem, algorithm, {"kid": kid} if kid else None)


@pytest.mark.parametrize(("pem", "algorithm", "kid"), [(RSA_PEM, "RS256", "rsa"), (EC_PEM, "ES256", "ec")])
async def test_keys_of_the_issuer(pem: str, algorithm: str, kid: str) -> None:
    assert (await Issuer(DOCUMENT).verifier().verify(token(pem, algorithm, kid))).subject == "lab"


@pytest.mark.parametrize(
    ("pem", "algorithm", "kid"),
    [
        (WEAK_PEM, "RS256", "weak"),
        (P384_PEM, "ES384", "p384"),
        (RSA_PEM, "RS512", "rsa"),
        (RSA_PEM, "RS256", "ec"),
        (RSA_PEM, "RS256", "unknown"),
        (RSA_PEM, "RS256", None),
        ("AAAA", "HS256", "o"),
    ],
)
async def test_keys_that_must_not_be_used(pem: str, algorithm: str, kid: str | None) -> None:
    with pytest.raises(Unauthenticated, match="invalid token"):
        await Issuer(DOCUMENT).verifier().verify(token(pem, algorithm, kid))


async def test_the_only_key_needs_no_kid() -> None:
    await Issuer({"keys": [RSA]}).verifier().verify(token(RSA_PEM, "RS256", None))


async def test_unknown_key_ids_do_not_flood_the_issuer() -> None:
    issuer = Issuer(DOCUMENT)
    verifier = issuer.verifier()
    for number in range(20):
        with pytest.raises(Unauthenticated):
            await verifier.verify(token(RSA_PEM, "RS256", f"unknown-{number}"))
    assert issuer.asked == 1


async def test_known_keys_outlive_the_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = Issuer(DOCUMENT)
    verifier = issuer.verifier()
    await verifier.verify(token(RSA_PEM, "RS256", "rsa"))
    issuer.away = True
    monkeypatch.setattr(jwks, "CACHE_TTL_S", -1)
    monkeypatch.setattr(jwks, "MIN_FETCH_INTERVAL_S", -1)
    await verifier.verify(token(RSA_PEM, "RS256", "rsa"))
    assert issuer.asked == 2
    monkeypatch.setattr(jwks, "MAX_STALE_S", -1)
    with pytest.raises(ServiceUnavailable):
        await verifier.verify(token(RSA_PEM, "RS256", "rsa"))


@pytest.mark.parametrize("document", [[], {}, {"keys": {}}, "x", {"keys": ["y" * 300_000]}])
async def test_an_issuer_that_never_answered_well_is_unavailable(document: Any) -> None:
    with pytest.raises(ServiceUnavailable):
        await Issuer(document).verifier().verify(token(RSA_PEM, "RS256", "rsa"))
