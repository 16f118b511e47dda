"""Known weaknesses of python-jose and of what it brings along: the library alone has them, our verifier does not.

docs/security.md names these tests. If a newer python-jose no longer has one, its test says so, and the page can be corrected.
"""

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import time
from functools import partial
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jose import jwe, jwk, jwt
from jose.exceptions import JOSEError
from pydantic import SecretStr

from service.errors import StartupError, Unauthenticated
from service.identity.claims import MAX_TOKEN_BYTES
from service.identity.jwks import JwkSet
from service.identity.settings import IdentitySettings
from service.identity.tokens import TokenVerifier

pytestmark = pytest.mark.anyio
SECRET = b"a secret of at least thirty-two bytes"
GOOD = {"sub": "lab", "exp": int(time.time()) + 86_400}
HEADER: dict[str, Any] = {"alg": "HS256"}


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hmac_token(header: Any = HEADER, claims: Any = GOOD, key: bytes = SECRET) -> str:
    body = f"{part(header)}.{part(claims)}"
    return f"{body}.{part(hmac.new(key, body.encode(), hashlib.sha256).digest())}"


def private_pem(key: Any) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_jwk(pem: str, algorithm: str) -> dict[str, Any]:
    return jwk.construct(pem, algorithm).public_key().to_dict() | {"kid": "k", "use": "sig"}


RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def verifier_with_secret(**more: Any) -> TokenVerifier:
    return TokenVerifier(IdentitySettings.model_construct(secret=SecretStr(SECRET.decode()), **more))


def verifier_with_keys(*keys: dict[str, Any]) -> TokenVerifier:
    """With keys that an issuer publishes."""
    verifier = TokenVerifier(IdentitySettings.model_construct(jwks_url="https://issuer/keys"))
    answer = httpx.MockTransport(lambda _request: httpx.Response(200, json={"keys": keys}))
    client = partial(httpx.AsyncClient, transport=answer)
    verifier._key_source = JwkSet("https://issuer/keys", ("RS256", "ES256"), client)
    return verifier


async def assert_refused(verifier: TokenVerifier, token: str) -> None:
    with pytest.raises(Unauthenticated, match=r"^invalid token$"):
        await verifier.verify(token)


@pytest.mark.parametrize("form", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1], ids=["SPKI", "PKCS1"])
async def test_a_public_key_in_der_is_no_shared_secret(form: PublicFormat) -> None:
    """The gap that the fix of CVE-2024-33663 left."""
    known_to_all = RSA_KEY.public_key().public_bytes(Encoding.DER, form)
    forged = hmac_token(HEADER | {"kid": "k"}, key=known_to_all)
    assert jwt.decode(forged, known_to_all)["sub"] == "lab"
    await assert_refused(verifier_with_keys(public_jwk(private_pem(RSA_KEY), "RS256")), forged)


async def test_a_public_key_of_openssh_is_no_shared_secret() -> None:
    """CVE-2024-33663, fixed in python-jose 3.4.0."""
    known_to_all = EC_KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    forged = hmac_token(HEADER | {"kid": "k"}, key=known_to_all)
    with pytest.raises(JOSEError):
        jwt.decode(forged, known_to_all)
    await assert_refused(verifier_with_keys(public_jwk(private_pem(EC_KEY), "ES256")), forged)


async def test_a_token_without_exp_is_refused() -> None:
    token = hmac_token(claims={"sub": "lab"})
    assert jwt.decode(token, SECRET, "HS256") == {"sub": "lab"}
    await assert_refused(verifier_with_secret(), token)


async def test_a_token_without_aud_is_refused_where_an_audience_is_required() -> None:
    assert jwt.decode(hmac_token(), SECRET, "HS256", audience="reelmill")["sub"] == "lab"
    await assert_refused(verifier_with_secret(audience="reelmill"), hmac_token())


async def test_an_unknown_critical_extension_is_refused() -> None:
    token = hmac_token(HEADER | {"crit": ["x"], "x": 1})
    assert jwt.decode(token, SECRET, "HS256")["sub"] == "lab"
    await assert_refused(verifier_with_secret(), token)


async def test_an_rsa_key_of_1024_bits_is_not_used() -> None:
    weak = private_pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))
    token, key = jwt.encode(GOOD, weak, "RS256", {"kid": "k"}), public_jwk(weak, "RS256")
    assert jwt.decode(token, key, "RS256")["sub"] == "lab"
    await assert_refused(verifier_with_keys(key), token)


async def test_a_key_on_another_curve_is_not_used() -> None:
    """ES256 is for P-256 alone (RFC 7518, 3.4)."""
    other = private_pem(ec.generate_private_key(ec.SECP384R1()))
    token, key = jwt.encode(GOOD, other, "ES256", {"kid": "k"}), public_jwk(other, "ES256")
    assert jwt.decode(token, key, "ES256")["sub"] == "lab"
    await assert_refused(verifier_with_keys(key), token)


async def test_an_empty_secret_is_refused_at_the_start() -> None:
    assert jwt.decode(hmac_token(key=b""), "", "HS256")["sub"] == "lab"
    with pytest.raises(StartupError, match="JWT_SECRET"):
        TokenVerifier(IdentitySettings.model_construct(secret=SecretStr("")))
    await assert_refused(verifier_with_secret(), hmac_token(key=b""))


async def test_kid_decides_which_key_is_used() -> None:
    pem = private_pem(RSA_KEY)
    token, key = jwt.encode(GOOD, pem, "RS256", {"kid": "another"}), public_jwk(pem, "RS256")
    assert jwt.decode(token, {"keys": [key]}, "RS256")["sub"] == "lab"
    await assert_refused(verifier_with_keys(key), token)


ESCAPES = {
    TypeError: hmac_token(HEADER | {"alg": ["HS256"]}),
    OverflowError: hmac_token(claims=GOOD | {"exp": float("inf")}),
    RecursionError: hmac_token(claims=b'{"a":' + b"[" * 5000),
}


@pytest.mark.parametrize("error", ESCAPES, ids=lambda error: error.__name__)
async def test_errors_that_are_not_about_tokens_are_a_401(error: type[Exception]) -> None:
    with pytest.raises(error) as escaped:
        jwt.decode(ESCAPES[error], SECRET, "HS256")
    assert not isinstance(escaped.value, JOSEError)
    await assert_refused(verifier_with_secret(), ESCAPES[error])


async def test_a_jwk_error_is_a_401() -> None:
    """python-jose raises it where the key cannot be read; it is no JWTError."""
    with pytest.raises(jwk.JWKError):
        jwt.decode(hmac_token(HEADER | {"alg": "RS256"}), "no key")
    await assert_refused(verifier_with_secret(), hmac_token(HEADER | {"alg": "RS256"}))


async def test_an_encrypted_token_is_never_opened() -> None:
    """CVE-2024-33664: a JWE of a few kilobytes that unpacks to many megabytes."""
    bomb = jwe.encrypt(b"\0" * (4 << 20), SECRET[:32], algorithm="dir", encryption="A256GCM", zip="DEF").decode()
    assert len(bomb) < MAX_TOKEN_BYTES
    with pytest.raises(JOSEError):  # since 3.4.0
        jwe.decrypt(bomb, SECRET[:32])
    await assert_refused(verifier_with_secret(), bomb)


UNUSED = ("ecdsa", "rsa", "pyasn1", "jose.jwe", "jose.backends.ecdsa_backend", "jose.backends.rsa_backend")
VERIFY = """
import asyncio, json, sys
from datetime import timedelta
from pydantic import SecretStr
from service.identity.claims import MAX_TOKEN_BYTES
from service.identity.jwks import parse_key_set
from service.identity.settings import IdentitySettings
from service.identity.tokens import TokenVerifier, issue_token
from jose import jws
secret, (token, keys) = SecretStr("s" * 32), sys.argv[1:]
((key, algorithm),) = parse_key_set(keys.encode(), ("ES256",)).values()
jws.verify(token, key, [algorithm])
ours = issue_token(secret, "lab", ["admin"], timedelta(hours=1))
asyncio.run(TokenVerifier(IdentitySettings.model_construct(secret=secret)).verify(ours))
print(type(key).__name__, *(name for name in UNUSED if name in sys.modules))
"""


def test_signatures_are_cryptographys_and_never_those_of_ecdsa_or_rsa() -> None:
    """CVE-2024-23342 (Minerva) is about signing with ecdsa. It is installed with python-jose, and never imported; we sign
    with HMAC alone."""
    pem = private_pem(EC_KEY)
    arguments = [jwt.encode(GOOD, pem, "ES256"), json.dumps({"keys": [public_jwk(pem, "ES256")]})]
    script = f"UNUSED = {UNUSED}\n{VERIFY}"
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (["CryptographyECKey"], "")
