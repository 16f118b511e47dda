"""The S3/MinIO driver of the object store: aioboto3, one client per process."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import aioboto3
from aiobotocore.config import AioConfig
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from service.plan.render_plan import ObjectRef
from service.store.object_settings import ObjectSettings
from service.store.objects import ObjectInfo, ObjectMissing, ObjectStoreError

CHUNK = 1024 * 1024
MULTIPART = 16 * 1024 * 1024
GONE = ("404", "NoSuchKey", "NoSuchBucket", "NotFound")
REFUSED = ("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden")


def client_config(settings: ObjectSettings) -> AioConfig:
    """Checksums only when required: otherwise ranged reads break on servers other than AWS."""
    return AioConfig(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=5,
        read_timeout=settings.timeout_s,
        max_pool_connections=settings.pool,
        retries={"mode": "standard", "total_max_attempts": 4},
    )


class S3ObjectStore:
    """Opened on first use, closed by `close`."""

    def __init__(self, settings: ObjectSettings) -> None:
        self.settings, self.bucket = settings, settings.bucket
        self._stack, self._opening = AsyncExitStack(), asyncio.Lock()
        self._clients: dict[str, Any] = {}

    async def _client(self, url: str | None = None) -> Any:
        url = url or self.settings.endpoint_url
        async with self._opening:
            if url not in self._clients:
                self._clients[url] = await self._stack.enter_async_context(self._session_client(url))
        return self._clients[url]

    def _session_client(self, url: str) -> Any:
        assert self.settings.secret_key is not None
        session = aioboto3.Session(
            aws_access_key_id=self.settings.access_key,
            aws_secret_access_key=self.settings.secret_key.get_secret_value(),
            region_name=self.settings.region,
        )
        return session.client("s3", endpoint_url=url, config=client_config(self.settings))

    async def check(self) -> None:
        client = await self._client()
        try:
            with explained("bucket"):
                await client.head_bucket(Bucket=self.bucket)
        except ObjectMissing:
            with explained("bucket"):
                await client.create_bucket(Bucket=self.bucket)

    async def put(self, ref: ObjectRef, data: bytes, content_type: str) -> ObjectInfo:
        client = await self._client()
        with explained(ref.key):
            await client.put_object(Bucket=ref.bucket, Key=ref.key, Body=data, ContentType=content_type)
        return await self.head(ref)

    async def put_file(self, ref: ObjectRef, path: Path, content_type: str) -> ObjectInfo:
        client = await self._client()
        transfer = TransferConfig(multipart_threshold=MULTIPART, multipart_chunksize=MULTIPART, max_concurrency=4)
        with explained(ref.key):
            await client.upload_file(
                str(path), ref.bucket, ref.key, ExtraArgs={"ContentType": content_type}, Config=transfer
            )
        return await self.head(ref)

    async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None) -> bytes:
        return b"".join([chunk async for chunk in self.stream(ref, start, stop)])

    async def stream(self, ref: ObjectRef, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        if stop is not None and stop <= start:
            return
        client = await self._client()
        wanted = {} if start == 0 and stop is None else {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"}
        with explained(ref.key):
            answer = await client.get_object(Bucket=ref.bucket, Key=ref.key, **wanted)
            async with answer["Body"] as body:
                async for chunk in body.content.iter_chunked(CHUNK):
                    yield chunk

    async def head(self, ref: ObjectRef) -> ObjectInfo:
        client = await self._client()
        with explained(ref.key):
            answer = await client.head_object(Bucket=ref.bucket, Key=ref.key)
        kind = answer.get("ContentType", "application/octet-stream")
        etag = answer["ETag"].strip('"')
        return ObjectInfo(ref.key, answer["ContentLength"], etag, answer["LastModified"], kind)

    async def list(self, bucket: str, prefix: str) -> AsyncIterator[list[ObjectInfo]]:
        client = await self._client()
        with explained(prefix):
            async for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                found = [
                    ObjectInfo(entry["Key"], entry["Size"], entry["ETag"].strip('"'), entry["LastModified"])
                    for entry in page.get("Contents", [])
                ]
                if found:
                    yield found

    async def delete(self, ref: ObjectRef) -> None:
        client = await self._client()
        with explained(ref.key):
            await client.delete_object(Bucket=ref.bucket, Key=ref.key)

    async def presign_get(self, ref: ObjectRef, seconds: int) -> str | None:
        client = await self._client(self.settings.public_url)
        params = {"Bucket": ref.bucket, "Key": ref.key}
        url: str = await client.generate_presigned_url("get_object", Params=params, ExpiresIn=seconds)
        return url

    async def close(self) -> None:
        self._clients.clear()
        await self._stack.aclose()


@contextmanager
def explained(what: str) -> Iterator[None]:
    """boto's errors as ours: the reason and the variable to look at, no secret."""
    try:
        yield
    except ClientError as error:
        raise _of_answer(error, what) from error
    except EndpointConnectionError as error:
        raise ObjectStoreError("MINIO_ENDPOINT cannot be reached") from error
    except (BotoCoreError, OSError, TimeoutError) as error:
        raise ObjectStoreError(f"MINIO_ENDPOINT does not answer as it should ({type(error).__name__})") from error
    except Exception as error:
        if type(error).__module__.startswith("aiohttp"):
            raise ObjectStoreError(f"MINIO_ENDPOINT broke off ({type(error).__name__})") from error
        raise


def _of_answer(error: ClientError, what: str) -> ObjectStoreError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in GONE:
        return ObjectMissing(f"there is no object {what}")
    if code in REFUSED:
        return ObjectStoreError("MINIO_ACCESS_KEY and MINIO_SECRET_KEY were refused by MINIO_ENDPOINT")
    if code in ("416", "InvalidRange"):
        return ObjectStoreError("the range lies beyond the end of the object")
    return ObjectStoreError(f"MINIO_ENDPOINT answered {code}")
