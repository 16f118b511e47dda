"""Public keys of an issuer: which are used, for which algorithm, and what happens when it is down."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
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
from tests.support.servers.hostile_http import CHUNKED, OK, body, bomb, endless, endless_headers, hostile_server

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
        client = partial(httpx.AsyncClient, transport=httpx.MockTransport(self.answer))
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
    await asyncio.sleep(0)  # it is asked again in the background
    assert issuer.asked == 2
    monkeypatch.setattr(jwks, "MAX_STALE_S", -1)
    with pytest.raises(ServiceUnavailable):
        await verifier.verify(token(RSA_PEM, "RS256", "rsa"))


@pytest.mark.parametrize("document", [[], {}, {"keys": {}}, "x"])
async def test_an_issuer_that_never_answered_well_is_unavailable(document: Any) -> None:
    with pytest.raises(ServiceUnavailable):
        await Issuer(document).verifier().verify(token(RSA_PEM, "RS256", "rsa"))


def verifier_of(host: str) -> TokenVerifier:
    return TokenVerifier(IdentitySettings.model_construct(jwks_url=f"http://keeper:s3cret@{host}/keys"))


def dripping() -> Iterator[bytes]:
    yield CHUNKED
    while True:
        yield b"1\r\n \r\n"


def members(*entries: object) -> bytes:
    return json.dumps({"keys": entries}).encode()


HOSTILE: dict[str, tuple[Callable[[], Iterator[bytes]], str]] = {
    "endless": (endless, "longer than 256 KiB"),
    "endless headers": (endless_headers, "cannot be reached"),
    "a bomb": (bomb, "compressed"),
    "nested": (body(b"[" * 200_000), "not JSON"),
    "nested keys": (body(b'{"keys":' * 25_000 + b"1" + b"}" * 25_000), "not JSON"),
    "a number without end": (body(b'{"keys": ' + b"9" * 200_000 + b"}"), "not JSON"),
    "a key twice": (body(b'{"keys": [], "keys": []}'), "duplicate key"),
    "not UTF-8": (body(b'{"keys": ["\xff"]}'), "not JSON"),
    "a surrogate": (body(b'{"keys": "\\ud800"}'), "not a JWK set"),
    "a list": (body(b"[]"), "not a JSON object"),
    "many keys": (body(members(*[{}] * 101)), "more than 100 keys"),
    "an error": (lambda: iter([OK.replace(b"200 OK", b"500 Oops") + b"Content-Length: 0\r\n\r\n"]), "status 500"),
    "another place": (lambda: iter([OK.replace(b"200 OK", b"302 Go") + b"Location: /x\r\n\r\n"]), "status 302"),
    "nothing": (lambda: iter([]), "cannot be reached"),
    "not HTTP": (lambda: iter([b"SSH-2.0\r\n"]), "cannot be reached"),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_hostile_answer_has_a_named_reason(case: str) -> None:
    answer, reason = HOSTILE[case]
    async with hostile_server(answer) as server:
        verifier = verifier_of(server.host)
        for _ in range(3):
            with pytest.raises(ServiceUnavailable, match=reason) as raised:
                await verifier.verify(token(RSA_PEM, "RS256", "rsa"))
        assert server.requests == 1 and server.sent < 16 << 20
        assert "s3cret" not in str(raised.value) and server.host not in str(raised.value)


@pytest.mark.parametrize(
    "entry",
    [
        RSA | {"n": "A" * 200_000}, RSA | {"e": "A" * 200_000}, RSA | {"n": [[1]]}, RSA | {"n": 10**400}, RSA | {"e": None},
        RSA | {"kid": ["rsa"]}, RSA | {"kid": {}}, RSA | {"kty": ["RSA"]}, RSA | {"alg": {}}, RSA | {"use": []}, RSA | {"n": ""},
        {"kty": "EC", "crv": ["P-256"], "kid": "rsa"}, EC | {"x": 7, "kid": "rsa"}, EC | {"x": "A" * 200_000, "kid": "rsa"},
        [], "rsa", None, 1e308, {"kid": "rsa"},
    ],
)  # fmt: skip
async def test_an_odd_key_is_left_out(entry: Any) -> None:
    async with hostile_server(body(members(entry, EC))) as server:
        verifier = verifier_of(server.host)
        with pytest.raises(Unauthenticated, match="invalid token"):
            await verifier.verify(token(RSA_PEM, "RS256", "rsa"))
        assert (await verifier.verify(token(EC_PEM, "ES256", "ec"))).subject == "lab"


async def test_callers_wait_together_for_a_server_that_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "FETCH_TIMEOUT_S", 0.3)
    async with hostile_server(dripping, pause_s=0.02) as server:
        verifier = verifier_of(server.host)
        tokens = [token(RSA_PEM, "RS256", f"k{number}") for number in range(20)]
        async with asyncio.timeout(3):
            answers = await asyncio.gather(*map(verifier.verify, tokens), return_exceptions=True)
            answers += await asyncio.gather(*map(verifier.verify, tokens), return_exceptions=True)
        assert server.requests == 1
        assert all(isinstance(answer, ServiceUnavailable) and "complete answer" in str(answer) for answer in answers)


async def test_who_knows_a_key_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """While old keys are renewed, and while strangers ask for keys that nobody has."""
    answers = iter((body(members(RSA))(), dripping()))
    async with hostile_server(lambda: next(answers), pause_s=0.01) as server:
        verifier = verifier_of(server.host)
        await verifier.verify(token(RSA_PEM, "RS256", "rsa"))
        monkeypatch.setattr(jwks, "CACHE_TTL_S", -1)
        monkeypatch.setattr(jwks, "MIN_FETCH_INTERVAL_S", -1)
        stranger = asyncio.create_task(verifier.verify(token(RSA_PEM, "RS256", "unknown")))
        for _ in range(5):
            await verifier.verify(token(RSA_PEM, "RS256", "rsa"))
            await asyncio.sleep(0.01)
        assert not stranger.done() and server.requests == 2
        stranger.cancel()
        await asyncio.gather(stranger, return_exceptions=True)
