"""Backups of a bucket on a real S3 server, and from a folder into a bucket."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from service.plan.render_plan import ObjectRef
from service.store.backup.archive import Archive
from service.store.backup.creation import create_backup
from service.store.backup.restoration import restore_backup
from service.store.objects.object_store import ObjectInfo, ObjectStore
from service.store.objects.s3 import PART_BYTES, S3ObjectStore
from tests.support.data.backups import back_up, fill, ignore_progress
from tests.support.data.removable_objects import Store
from tests.support.servers.s3_server import needs_s3, s3_server

pytestmark = [pytest.mark.anyio, needs_s3]
# Two objects that were sent in other ways: in parts, and in one request that is longer than a part of ours.
IN_PARTS, AT_ONCE = "frames/in-parts.mp4", "frames/at-once.mp4"


@pytest.fixture
async def bucket() -> AsyncIterator[S3ObjectStore]:
    async for store in _bucket():
        yield store


@pytest.fixture
async def another_bucket() -> AsyncIterator[S3ObjectStore]:
    async for store in _bucket():
        yield store


async def _bucket() -> AsyncIterator[S3ObjectStore]:
    store = S3ObjectStore(s3_server().settings())
    await store.check()
    yield store
    for info in await infos(store):
        await store.delete(ObjectRef(store.bucket, info.key))
    await (await store._client()).delete_bucket(Bucket=store.bucket)
    await store.close()


async def infos(store: ObjectStore) -> list[ObjectInfo]:
    return [info async for page in store.list(store.bucket, "") for info in page]


async def test_a_bucket_comes_back_with_its_etags(
    store: Store, target: Store, bucket: S3ObjectStore, another_bucket: S3ObjectStore, tmp_path: Path
) -> None:
    await fill(store.database, bucket)
    large = tmp_path / "large"
    large.write_bytes(secrets.token_bytes(PART_BYTES + 7))
    await bucket.put_file(ObjectRef(bucket.bucket, IN_PARTS), large, "video/mp4")
    await bucket.put(ObjectRef(bucket.bucket, AT_ONCE), large.read_bytes(), "video/x-own")
    async with store.database.service_transaction() as connection:
        await connection.execute(text("UPDATE datasets SET bucket = :bucket"), {"bucket": bucket.bucket})
    backup = await create_backup(store.database, bucket, tmp_path / "backup.tar", "all", ignore_progress)
    assert backup.left_out.count == 0
    archive = Archive(tmp_path / "backup.tar")
    list(archive.verify())
    restored = await restore_backup(target.database, another_bucket, archive, ignore_progress)
    assert (restored.changed_etags, restored.left_out.count) == (0, 0)
    before, after = await infos(bucket), await infos(another_bucket)
    assert [(info.key, info.size, info.etag) for info in before] == [(info.key, info.size, info.etag) for info in after]
    assert "-" in (await another_bucket.head(ObjectRef(another_bucket.bucket, IN_PARTS))).etag
    assert (await another_bucket.head(ObjectRef(another_bucket.bucket, AT_ONCE))).content_type == "video/x-own"
    for info in before:
        data = await another_bucket.get(ObjectRef(another_bucket.bucket, info.key))
        assert data == await bucket.get(ObjectRef(bucket.bucket, info.key))


async def test_a_folder_moves_into_a_bucket(store: Store, target: Store, bucket: S3ObjectStore, tmp_path: Path) -> None:
    await fill(store.database, store.objects)
    await back_up(store, tmp_path / "backup.tar")
    archive = Archive(tmp_path / "backup.tar")
    list(archive.verify())
    restored = await restore_backup(target.database, bucket, archive, ignore_progress)
    assert restored.changed_etags == archive.manifest.object_count
    async with target.database.service_transaction() as connection:
        rows = (await connection.execute(text("SELECT key, etag FROM frames"))).all()
        assert set(await connection.scalars(text("SELECT bucket FROM datasets"))) == {bucket.bucket}
    assert rows and set(rows) <= {(info.key, info.etag) for info in await infos(bucket)}
