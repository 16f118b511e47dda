"""What only the S3 driver does: signed URLs, errors that name the settings, uploads in parts."""

import asyncio
import os
import pickle
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.child_process import child_environment
from service.plan.render_plan import ObjectRef
from service.store.objects.object_store import ObjectNotFound, ObjectStoreError
from service.store.objects.s3 import PART_BYTES, S3ObjectStore
from service.store.settings import ObjectSettings
from tests.store.objects.conftest import BUCKET, SERVER
from tests.support.processes.wrong_clock import needs_faketime, wrong_clock
from tests.support.servers.s3_server import needs_s3

pytestmark = pytest.mark.anyio


@needs_s3
async def test_a_signed_url_reads_without_us(s3: S3ObjectStore, top: str) -> None:
    ref = ObjectRef(BUCKET, f"{top}a b/Übung+%41&=?#~'.jpg")
    await s3.put(ref, b"picture", "image/jpeg")
    url = await s3.presign_get(ref, 10**9)
    assert url is not None
    with await asyncio.to_thread(urllib.request.urlopen, url) as answer:
        assert answer.read() == b"picture"


async def test_urls_are_signed_for_the_public_endpoint() -> None:
    settings = ObjectSettings.model_construct(
        endpoint="minio:9000", public_endpoint="https://files.example/", access_key="k", secret_key=SecretStr("s")
    )
    url = await S3ObjectStore(settings).presign_get(ObjectRef("b", "k"), 60)
    assert url is not None
    assert url.startswith("https://files.example/b/k?X-Amz-Algorithm=")


@needs_s3
@pytest.mark.parametrize("wrong", [{"secret_key": SecretStr("tell-nobody")}, {"access_key": "tell-nobody"}])
async def test_refused_credentials_name_the_variables(wrong: dict[str, object]) -> None:
    store = S3ObjectStore(SERVER.settings(**wrong))
    for asking in (store.check(), store.get(ObjectRef(BUCKET, "x")), anext(store.list(BUCKET, ""))):
        with pytest.raises(
            ObjectStoreError, match=r"credentials were refused.*MINIO_ACCESS_KEY.*MINIO_SECRET_KEY"
        ) as told:
            await asking
        assert "tell-nobody" not in str(told.value)
    await store.close()


CHECK = """
import asyncio, pickle, sys
from service.store.objects.s3 import S3ObjectStore
store = S3ObjectStore(pickle.loads(sys.stdin.buffer.read()))
try:
    asyncio.run(store.check())
except Exception as error:
    print(type(error).__name__, error)
"""


@needs_s3
@needs_faketime
def test_a_wrong_clock_is_not_called_wrong_credentials() -> None:
    """Also where the server answers a HEAD, which has no body that would say so."""
    environment = child_environment() | wrong_clock("+1h")
    command, settings = [sys.executable, "-c", CHECK], pickle.dumps(SERVER.settings())
    told = subprocess.run(command, env=environment, input=settings, capture_output=True, check=True).stdout.decode()
    assert told.startswith("ClockSkewed") and "clock" in told


async def test_an_unreachable_endpoint_is_named() -> None:
    store = S3ObjectStore(SERVER.settings(endpoint="127.0.0.1:9", access_key="k", secret_key=SecretStr("tell-nobody")))
    with pytest.raises(ObjectStoreError, match="MINIO_ENDPOINT cannot be reached"):
        await store.check()
    await store.close()


@needs_s3
async def test_a_cancelled_upload_leaves_nothing(s3: S3ObjectStore, top: str, tmp_path: Path) -> None:
    path, ref = tmp_path / "large", ObjectRef(BUCKET, f"{top}large.mp4")
    path.write_bytes(bytes(8 * PART_BYTES))
    client = await s3._client()
    sending = asyncio.create_task(s3.put_file(ref, path, "video/mp4"))
    while not (await client.list_multipart_uploads(Bucket=BUCKET)).get("Uploads"):
        await asyncio.sleep(0.005)
        assert not sending.done()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not (await client.list_multipart_uploads(Bucket=BUCKET)).get("Uploads")
    with pytest.raises(ObjectNotFound):
        await s3.head(ref)


@needs_s3
async def test_a_failed_upload_leaves_nothing(s3: S3ObjectStore, top: str, tmp_path: Path) -> None:
    path, ref = tmp_path / "large", ObjectRef(BUCKET, f"{top}large.mp4")
    path.write_bytes(bytes(8 * PART_BYTES))
    client = await s3._client()
    sending = asyncio.create_task(s3.put_file(ref, path, "video/mp4"))
    while not (await client.list_multipart_uploads(Bucket=BUCKET)).get("Uploads"):
        await asyncio.sleep(0.005)
    os.truncate(path, 2 * PART_BYTES)
    with pytest.raises(ObjectStoreError, match="the file changed"):
        await sending
    assert not (await client.list_multipart_uploads(Bucket=BUCKET)).get("Uploads")


@needs_s3
async def test_a_closed_store_opens_again(s3: S3ObjectStore) -> None:
    await s3.close()
    await s3.check()
