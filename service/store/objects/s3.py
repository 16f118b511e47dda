"""The S3/MinIO driver of the object store: one aioboto3 client per process; large files are uploaded in parts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import aioboto3
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError

from service.plan.render_plan import ObjectRef
from service.store.objects.file_part import FilePart
from service.store.objects.keys import OWN_PREFIXES
from service.store.objects.object_store import (
    ObjectChanged,
    ObjectInfo,
    ObjectNotFound,
    ObjectStoreError,
    ObjectVersion,
    SkippedEntry,
    UnfinishedUpload,
)
from service.store.objects.s3_answers import ConnectionInterrupted, range_header, strip_etag
from service.store.objects.s3_http import (
    BUCKET_EXISTS_CODES,
    CONNECT_TIMEOUT_S,
    INVALID_RANGE_CODES,
    MAX_ATTEMPTS,
    SignedReader,
    UrlSigner,
    backoff_s,
    error_code,
    get_credentials,
    translate_s3_errors,
)
from service.store.settings import ObjectSettings

# Size of a part in bytes; a file that is not larger is sent in one request.
PART_BYTES = 16 * 1024 * 1024
MAX_PARTS = 10_000
CONCURRENT_PARTS = 4
# The most that S3 takes in one request.
MAX_PUT_BYTES = 5 * 1024**3


async def upload_in_parts(client: Any, target: dict[str, str], content_type: str, source: FilePart) -> None:
    """Upload a file to `target` (Bucket and Key) in parts. A failed or cancelled upload is aborted.

    Raises ObjectStoreError if the file changes meanwhile.
    """
    creation = asyncio.ensure_future(client.create_multipart_upload(**target, ContentType=content_type))
    try:
        upload = await asyncio.shield(creation)
        target = target | {"UploadId": upload["UploadId"]}
        parts = await _upload_parts(client, target, source)
        await client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    except BaseException:
        await asyncio.shield(_abort_upload(client, target, creation))
        raise


async def _upload_parts(client: Any, target: dict[str, str], source: FilePart) -> list[dict[str, Any]]:
    length, limit = max(PART_BYTES, -(-source.length // MAX_PARTS)), asyncio.Semaphore(CONCURRENT_PARTS)

    async def upload_part(number: int, start: int) -> dict[str, Any]:
        async with limit:
            response = await client.upload_part(**target, PartNumber=number, Body=source.part(start, length))
            return {"PartNumber": number, "ETag": response["ETag"]}

    try:
        async with asyncio.TaskGroup() as group:
            starts = enumerate(range(0, source.length, length), 1)
            tasks = [group.create_task(upload_part(number, start)) for number, start in starts]
    except ExceptionGroup as failed:
        _require_unchanged(source)
        raise failed.exceptions[0] from None
    _require_unchanged(source)
    return [task.result() for task in tasks]


def _require_unchanged(source: FilePart) -> None:
    if source.has_changed:
        raise ObjectStoreError("the file changed while it was uploaded")


async def _abort_upload(client: Any, target: dict[str, str], creation: "asyncio.Future[dict[str, Any]]") -> None:
    """Also if we were cancelled while it was created. Errors are ignored: the one that led here says more."""
    with suppress(ClientError, BotoCoreError, OSError):
        upload = await creation
        await client.abort_multipart_upload(**target | {"UploadId": upload["UploadId"]})


CHUNK_BYTES = 1024 * 1024
MAX_OBJECT_BYTES = 5 * 1024**4  # S3's own limit
MAX_URL_LIFETIME_S = 7 * 24 * 3600


def client_config(settings: ObjectSettings) -> AioConfig:
    """Checksums only where S3 requires them: otherwise ranged reads fail on servers other than AWS."""
    return AioConfig(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=settings.timeout_s,
        max_pool_connections=settings.pool,
        retries={"mode": "standard", "total_max_attempts": 4},
    )


class S3ObjectStore:
    """Objects in S3. The client is opened on first use and closed by `close`."""

    def __init__(self, settings: ObjectSettings) -> None:
        self.settings, self.bucket = settings, settings.bucket
        self._stack, self._opening = AsyncExitStack(), asyncio.Lock()
        self._opened: Any = None
        self._signer, self._reader = UrlSigner(settings, settings.public_url), SignedReader(settings)

    async def _client(self) -> Any:
        async with self._opening:
            if self._opened is None:
                access_key, secret_key = get_credentials(self.settings)
                session = aioboto3.Session(
                    aws_access_key_id=access_key, aws_secret_access_key=secret_key, region_name=self.settings.region
                )
                url, config = self.settings.endpoint_url, client_config(self.settings)
                client = session.client("s3", endpoint_url=url, config=config)
                self._opened = await self._stack.enter_async_context(client)
        return self._opened

    async def check(self) -> None:
        client = await self._client()
        try:
            with translate_s3_errors(self.bucket):
                await client.head_bucket(Bucket=self.bucket)
        except ObjectNotFound:
            await self._create_bucket(client)

    async def _create_bucket(self, client: Any) -> None:
        """Another process may create it at the same time."""
        region = self.settings.region
        location = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with translate_s3_errors(self.bucket):
            try:
                await client.create_bucket(Bucket=self.bucket, **location)
            except ClientError as error:
                if error_code(error) not in BUCKET_EXISTS_CODES:
                    raise
                await client.head_bucket(Bucket=self.bucket)

    async def free_bytes(self) -> int | None:
        return None

    async def put(self, ref: ObjectRef, data: bytes, content_type: str) -> ObjectInfo:
        return await self._put(ref, data, content_type)

    async def _put(self, ref: ObjectRef, body: bytes | FilePart, content_type: str) -> ObjectInfo:
        client = await self._client()
        with translate_s3_errors(ref.key):
            await client.put_object(Bucket=ref.bucket, Key=ref.key, Body=body, ContentType=content_type)
        return await self.head(ref)

    async def put_file(self, ref: ObjectRef, path: Path, content_type: str) -> ObjectInfo:
        with await asyncio.to_thread(path.open, "rb") as file:
            source = FilePart(file)
            if source.length <= PART_BYTES:
                return await self._put(ref, source, content_type)
            return await self._put_in_parts(ref, source, content_type)

    async def _put_in_parts(self, ref: ObjectRef, source: FilePart, content_type: str) -> ObjectInfo:
        client, target = await self._client(), {"Bucket": ref.bucket, "Key": ref.key}
        with translate_s3_errors(ref.key):
            await upload_in_parts(client, target, content_type, source)
        return await self.head(ref)

    async def restore(self, source: FilePart, info: ObjectInfo) -> ObjectInfo:
        """The ETag says whether the object was sent in parts. Those of our own size have the same ETag again."""
        ref, in_parts = ObjectRef(self.bucket, info.key), "-" in info.etag
        if source.length > MAX_PUT_BYTES or (in_parts and source.length > PART_BYTES):
            return await self._put_in_parts(ref, source, info.content_type)
        return await self._put(ref, source, info.content_type)

    async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = "") -> bytes:
        if etag:
            return await self._get_version(ObjectVersion(ref, etag), start, MAX_OBJECT_BYTES if stop is None else stop)
        for attempt in range(MAX_ATTEMPTS - 1):
            try:
                return b"".join([chunk async for chunk in self.stream(ref, start, stop)])
            except ConnectionInterrupted:
                await asyncio.sleep(backoff_s(attempt))
        return b"".join([chunk async for chunk in self.stream(ref, start, stop)])

    async def _get_version(self, version: ObjectVersion, start: int, stop: int) -> bytes:
        """As slots read frames: what the answer says of itself is checked, and a damaged one is read again."""
        if stop <= start:
            return b""
        span = None if (start, stop) == (0, MAX_OBJECT_BYTES) else (start, stop)
        return (await self._reader.read(version, span, stop - start)).data

    async def stream(
        self, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = ""
    ) -> AsyncIterator[bytes]:
        if stop is not None and stop <= start:
            return
        client = await self._client()
        byte_range = {} if start == 0 and stop is None else {"Range": range_header(start, stop)}
        with translate_s3_errors(ref.key):
            try:
                response = await client.get_object(Bucket=ref.bucket, Key=ref.key, **byte_range)
            except ClientError as error:
                if error_code(error) in INVALID_RANGE_CODES:
                    return
                raise
            async with response["Body"] as body:
                if start and not response.get("ContentRange", "").startswith(f"bytes {start}-"):
                    raise ObjectStoreError("MINIO_ENDPOINT does not serve ranges")
                if etag and (found := strip_etag(response.get("ETag", ""))) != etag:
                    raise ObjectChanged(found, etag)
                async for chunk in body.content.iter_chunked(CHUNK_BYTES):
                    yield chunk

    async def head(self, ref: ObjectRef) -> ObjectInfo:
        client = await self._client()
        with translate_s3_errors(ref.key):
            response = await client.head_object(Bucket=ref.bucket, Key=ref.key)
        kind = response.get("ContentType", "application/octet-stream")
        etag = strip_etag(response["ETag"])
        return ObjectInfo(ref.key, response["ContentLength"], etag, response["LastModified"], kind)

    async def list(self, bucket: str, prefix: str, after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        client = await self._client()
        start = {"StartAfter": after} if after else {}
        with translate_s3_errors(prefix):
            async for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **start):
                found = [
                    ObjectInfo(entry["Key"], entry["Size"], strip_etag(entry["ETag"]), entry["LastModified"])
                    for entry in page.get("Contents", [])
                ]
                if found:
                    yield found

    async def list_skipped(self, bucket: str, prefix: str) -> AsyncIterator[Sequence[SkippedEntry]]:
        """Everything in S3 is an object."""
        nothing: Sequence[Sequence[SkippedEntry]] = ()
        for page in nothing:
            yield page

    async def list_unfinished(self, before: datetime) -> AsyncIterator[Sequence[UnfinishedUpload]]:
        """MinIO lists none, and aborts them itself after a day."""
        client = await self._client()
        for prefix in OWN_PREFIXES:
            with translate_s3_errors(prefix):
                pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix)
                async for page in pages:
                    uploads = [
                        UnfinishedUpload(u["Key"], u["UploadId"], u["Initiated"]) for u in page.get("Uploads", [])
                    ]
                    yield [upload for upload in uploads if upload.started < before]

    async def abort(self, upload: UnfinishedUpload) -> None:
        client = await self._client()
        with suppress(ObjectNotFound), translate_s3_errors(upload.key):
            await client.abort_multipart_upload(Bucket=self.bucket, Key=upload.key, UploadId=upload.id)

    async def delete(self, ref: ObjectRef) -> None:
        client = await self._client()
        with translate_s3_errors(ref.key):
            await client.delete_object(Bucket=ref.bucket, Key=ref.key)

    async def presign_get(self, ref: ObjectRef, seconds: int) -> str | None:
        return self._signer.presign_get(ref, min(seconds, MAX_URL_LIFETIME_S))

    async def presign_put(self, ref: ObjectRef, seconds: int, size: int, content_type: str) -> str | None:
        return self._signer.presign_put(ref, min(seconds, MAX_URL_LIFETIME_S), size, content_type)

    async def close(self) -> None:
        self._opened = None
        await self._reader.close()
        await self._stack.aclose()
