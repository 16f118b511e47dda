"""Uploads that never ended are found by their age and can be aborted, in a folder and on a real S3 server."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.plan.render_plan import ObjectRef
from service.store.objects.files import TEMP_FOLDER, FileObjectStore
from service.store.objects.object_store import ObjectStore, UnfinishedUpload
from service.store.objects.s3 import PART_BYTES, S3ObjectStore
from tests.store.objects.conftest import BUCKET, list_objects
from tests.support.servers.s3_server import needs_s3

pytestmark = pytest.mark.anyio
SOON, LONG_AGO = datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC) - timedelta(hours=1)


async def begin_upload(store: ObjectStore, key: str) -> None:
    """As a process that is killed leaves it."""
    if isinstance(store, FileObjectStore):
        (store.root / TEMP_FOLDER / key.replace("/", "-")).write_bytes(b"x" * 1000)
        return
    assert isinstance(store, S3ObjectStore)
    client = await store._client()
    upload = await client.create_multipart_upload(Bucket=BUCKET, Key=key)
    target = {"Bucket": BUCKET, "Key": key, "UploadId": upload["UploadId"]}
    await client.upload_part(**target, PartNumber=1, Body=bytes(6 * 1024 * 1024))


async def unfinished(store: ObjectStore, before: datetime) -> list[UnfinishedUpload]:
    return [upload async for page in store.list_unfinished(before) for upload in page]


async def test_an_unfinished_upload_is_listed_and_aborted(store: ObjectStore, top: str) -> None:
    await begin_upload(store, f"renders/{top}video.mp4")
    await begin_upload(store, f"segments/{top}a.mp4")
    assert await unfinished(store, LONG_AGO) == [], "it may still go on"
    found = await unfinished(store, SOON)
    assert len(found) == 2 and all(LONG_AGO < upload.started < SOON for upload in found)
    await store.abort(found[0])
    assert await unfinished(store, SOON) == found[1:]
    await store.abort(found[0])
    await store.abort(found[1])
    assert await unfinished(store, SOON) == [] and await list_objects(store, f"renders/{top}") == []


async def test_finished_ones_are_not_listed(store: ObjectStore, top: str, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(PART_BYTES + 1))
    await store.put_file(ObjectRef(BUCKET, f"renders/{top}video.mp4"), path, "video/mp4")
    assert await unfinished(store, SOON) == []


@needs_s3
async def test_uploads_of_others_into_the_bucket_are_left_alone(s3: S3ObjectStore, top: str) -> None:
    await begin_upload(s3, f"backup/{top}x")
    assert await unfinished(s3, SOON) == []
    client = await s3._client()
    for upload in (await client.list_multipart_uploads(Bucket=BUCKET))["Uploads"]:
        await client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
