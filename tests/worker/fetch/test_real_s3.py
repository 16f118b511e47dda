"""The slot's reader over a real S3 server."""

import asyncio
import hashlib
import os
from pathlib import Path

import av
import pytest

from service.pipeline.frames import FrameChanged, FrameMissing
from service.plan.render_plan import FrameRef, ObjectRef
from service.store.objects.s3 import S3ObjectStore
from service.store.settings import ObjectSettings
from tests.support.data.media import noise_video
from tests.support.servers.s3_server import needs_s3, s3_server
from tests.support.servers.stored_frames import SIZE, open_fetcher


@needs_s3
def test_a_real_server_takes_our_signatures(tmp_path: Path) -> None:
    settings = s3_server().settings()
    bucket = settings.bucket
    objects = {f"ex p/Ü+%41&=?#~'{n}*.jpg": os.urandom(SIZE) for n in range(30)} | {"v.mp4": noise_video(40)}
    asyncio.run(_put_objects(settings, objects))
    fetcher = open_fetcher(settings, tmp_path)
    try:
        etags = {key: hashlib.md5(data).hexdigest() for key, data in objects.items()}
        refs = [FrameRef(n, key, etags[key], len(data)) for n, (key, data) in enumerate(objects.items())]
        with fetcher.prefetch(bucket, refs) as reader:
            assert [reader.read(ref) for ref in refs] == list(objects.values())
        with fetcher.source_opener(bucket).open(refs[-1]) as file, av.open(file) as container:
            assert sum(1 for _ in container.decode(video=0)) == 40
        with pytest.raises(FrameMissing):
            fetcher.fetch(bucket, FrameRef(0, "gone", "e", 5))
        asyncio.run(_put_objects(settings, {refs[0].key or "": os.urandom(SIZE), "v.mp4": noise_video(41)}))
        with pytest.raises(FrameChanged):
            fetcher.fetch(bucket, refs[0])
        with pytest.raises(FrameChanged):
            fetcher.source_opener(bucket).open(refs[-1])
    finally:
        fetcher.close()
        asyncio.run(_delete_objects(settings, objects))


async def _put_objects(settings: ObjectSettings, objects: dict[str, bytes]) -> None:
    store = S3ObjectStore(settings)
    await store.check()
    for key, data in objects.items():
        await store.put(ObjectRef(settings.bucket, key), data, "image/jpeg")
    await store.close()


async def _delete_objects(settings: ObjectSettings, objects: dict[str, bytes]) -> None:
    store = S3ObjectStore(settings)
    for key in objects:
        await store.delete(ObjectRef(settings.bucket, key))
    await (await store._client()).delete_bucket(Bucket=settings.bucket)
    await store.close()
