"""Deliveries to a real local server."""

import base64
import datetime
import hmac
import json
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from service.webhooks.delivery import DeliveryError, deliver
from service.webhooks.settings import WebhookSettings, signing_key
from tests.support.doubles.webhook_receiver import ReceivedRequest, WebhookReceiver, webhook_receiver

pytestmark = pytest.mark.anyio
SECRET = SecretStr("a secret of at least 24 bytes")
KEY = signing_key(SECRET)
BODY = {"type": "render.succeeded", "data": {"é": [1, None]}}


def settings(**changes: Any) -> WebhookSettings:
    return WebhookSettings.model_construct(**({"secret": SECRET, "allow_private": True, "timeout_s": 5.0} | changes))


def signatures_of(keys: Sequence[bytes], message: ReceivedRequest) -> str:
    """The header that Standard Webhooks 1.0 asks for, computed from its text and not with the service's function."""
    timestamp = int(message.headers["webhook-timestamp"])
    signed = f"{message.headers['webhook-id']}.{timestamp}.".encode() + message.body
    digests = (hmac.new(key, signed, "sha256").digest() for key in keys)
    return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)


def check_signature(server: WebhookReceiver, *keys: bytes) -> None:
    for one in server.received:
        assert one.headers["webhook-signature"] == signatures_of(keys or [KEY], one)


async def test_every_key_signs() -> None:
    keys = [b"first key of at least 24 bytes", b"another key of at least 24 bytes"]
    with webhook_receiver() as at:
        await deliver(settings(), keys, at.url, "msg_1", BODY)
    check_signature(at, *keys)
    assert at.received[0].headers["webhook-signature"].count("v1,") == 2


async def test_it_arrives_signed() -> None:
    with webhook_receiver() as at:
        await deliver(settings(), [KEY], at.url, "msg_1", BODY)
    (one,) = at.received
    assert json.loads(one.body) == BODY
    assert (one.path, one.headers["host"], one.headers["webhook-id"]) == ("/hook", f"127.0.0.1:{at.port}", "msg_1")
    check_signature(at)


@pytest.mark.parametrize(("answer", "final"), [(500, False), (404, False), (429, False), (410, True)])
async def test_other_answers_are_failures(answer: int, final: bool) -> None:
    with webhook_receiver(answer) as at, pytest.raises(DeliveryError, match=str(answer)) as failure:
        await deliver(settings(), [KEY], at.url, "msg_1", BODY)
    assert failure.value.permanent is final


@pytest.mark.parametrize("answer", [301, 302, 307, 308])
async def test_redirects_are_not_followed(answer: int) -> None:
    with webhook_receiver(answer, 200) as at:
        with pytest.raises(DeliveryError, match=str(answer)):
            await deliver(settings(), [KEY], at.url, "msg_1", BODY)
        assert len(at.received) == 1


async def test_a_receiver_that_hangs() -> None:
    with webhook_receiver("hang") as at, pytest.raises(DeliveryError, match="no answer within") as failure:
        await deliver(settings(timeout_s=0.3), [KEY], at.url, "msg_1", BODY)
    assert not failure.value.permanent


async def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        with pytest.raises(DeliveryError, match="cannot be reached"):
            await deliver(settings(), [KEY], url, "msg_1", BODY)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST.", "[::ffff:127.0.0.1]", "127.1"])
async def test_a_private_address_is_never_connected_to(host: str) -> None:
    with webhook_receiver() as at, pytest.raises(DeliveryError, match=r"private network|is a number") as failure:
        await deliver(settings(allow_private=False), [KEY], f"http://{host}:{at.port}/hook", "msg_1", BODY)
    assert failure.value.permanent and at.received == []


async def test_the_checked_address_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is resolved once: a second look, which could say something else, is never taken."""
    lookups, real = [], socket.getaddrinfo

    def resolve(host: Any, *more: Any, **options: Any) -> Any:
        lookups.append(host)
        return real("127.0.0.1" if host == "hook.test" else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with webhook_receiver() as at:
        await deliver(settings(), [KEY], f"http://hook.test:{at.port}/hook", "msg_1", BODY)
    assert lookups.count("hook.test") == 1
    assert at.received[0].headers["host"] == f"hook.test:{at.port}"


async def test_a_certificate_nobody_vouches_for(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_write_certificate(tmp_path))
    with webhook_receiver() as at:
        at.server.socket = context.wrap_socket(at.server.socket, server_side=True)
        with pytest.raises(DeliveryError, match="cannot be reached"):
            await deliver(settings(), [KEY], at.url.replace("http:", "https:"), "msg_1", BODY)
    assert at.received == []


def _write_certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, now, now + datetime.timedelta(days=1))
    text = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    plain = serialization.NoEncryption()
    text += key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "server.pem").write_bytes(text)
    return folder / "server.pem"
