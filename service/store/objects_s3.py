"""The S3/MinIO driver of the object store: aioboto3, one client per process."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aioboto3
from aiobotocore.config import AioConfig
from botocore.exceptions import ClientError

from service.plan.render_plan import ObjectRef
from service.store import multipart
from service.store.multipart import PART_BYTES, FilePart
from service.store.object_settings import ObjectSettings
from service.store.objects import ObjectInfo, ObjectNotFound
from service.store.s3_errors import (
    BUCKET_EXISTS_CODES,
    INVALID_RANGE_CODES,
    ConnectionInterrupted,
    error_code,
    translate_s3_errors,
)
from service.store.signed_reads import (
    CONNECT_TIMEOUT_S,
    MAX_ATTEMPTS,
    UrlSigner,
    backoff_s,
    get_credentials,
    range_header,
)

CHUNK_BYTES = 1024 * 1024
MAX_URL_LIFETIME_S = 7 * 24 * 3600


def client_config(settings: ObjectSettings) -> AioConfig:
    """Checksums only when required: otherwise ranged reads break on servers other than AWS."""
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
    """Opened on first use, closed by `close`."""

    def __init__(self, settings: ObjectSettings) -> None:
        self.settings, self.bucket = settings, settings.bucket
        self._stack, self._opening = AsyncExitStack(), asyncio.Lock()
        self._opened: Any = None
        self._signer = UrlSigner(settings, settings.public_url)

    async def _client(self) -> Any:
        async with self._opening:
            if self._opened is None:
                self._opened = await self._stack.enter_async_context(self._create_client())
        return self._opened

    def _create_client(self) -> Any:
        access_key, secret_key = get_credentials(self.settings)
        session = aioboto3.Session(
            aws_access_key_id=access_key, aws_secret_access_key=secret_key, region_name=self.settings.region
        )
        return session.client("s3", endpoint_url=self.settings.endpoint_url, config=client_config(self.settings))

    async def check(self) -> None:
        client = await self._client()
        try:
            with translate_s3_errors(self.bucket):
                await client.head_bucket(Bucket=self.bucket)
        except ObjectNotFound:
            await self._create_bucket(client)

    async def _create_bucket(self, client: Any) -> None:
        """Another process may be doing the same."""
        region = self.settings.region
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with translate_s3_errors(self.bucket):
            try:
                await client.create_bucket(Bucket=self.bucket, **place)
            except ClientError as error:
                if error_code(error) not in BUCKET_EXISTS_CODES:
                    raise
                await client.head_bucket(Bucket=self.bucket)

    async def put(self, ref: ObjectRef, data: bytes, content_type: str) -> ObjectInfo:
        return await self._put(ref, data, content_type)

    async def _put(self, ref: ObjectRef, body: bytes | FilePart, content_type: str) -> ObjectInfo:
        client = await self._client()
        with translate_s3_errors(ref.key):
            await client.put_object(Bucket=ref.bucket, Key=ref.key, Body=body, ContentType=content_type)
        return await self.head(ref)

    async def put_file(self, ref: ObjectRef, path: Path, content_type: str) -> ObjectInfo:
        with await asyncio.to_thread(path.open, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= PART_BYTES:
                return await self._put(ref, FilePart(file.fileno(), 0, size), content_type)
            client, target = await self._client(), {"Bucket": ref.bucket, "Key": ref.key}
            with translate_s3_errors(ref.key):
                await multipart.upload_in_parts(client, target, content_type, file, size)
        return await self.head(ref)

    async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None) -> bytes:
        for attempt in range(MAX_ATTEMPTS - 1):
            try:
                return b"".join([chunk async for chunk in self.stream(ref, start, stop)])
            except ConnectionInterrupted:
                await asyncio.sleep(backoff_s(attempt))
        return b"".join([chunk async for chunk in self.stream(ref, start, stop)])

    async def stream(self, ref: ObjectRef, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        if stop is not None and stop <= start:
            return
        client = await self._client()
        wanted = {} if start == 0 and stop is None else {"Range": range_header(start, stop)}
        with translate_s3_errors(ref.key):
            try:
                answer = await client.get_object(Bucket=ref.bucket, Key=ref.key, **wanted)
            except ClientError as error:
                if error_code(error) in INVALID_RANGE_CODES:
                    return
                raise
            async with answer["Body"] as body:
                async for chunk in body.content.iter_chunked(CHUNK_BYTES):
                    yield chunk

    async def head(self, ref: ObjectRef) -> ObjectInfo:
        client = await self._client()
        with translate_s3_errors(ref.key):
            answer = await client.head_object(Bucket=ref.bucket, Key=ref.key)
        kind = answer.get("ContentType", "application/octet-stream")
        etag = answer["ETag"].strip('"')
        return ObjectInfo(ref.key, answer["ContentLength"], etag, answer["LastModified"], kind)

    async def list(self, bucket: str, prefix: str) -> AsyncIterator[list[ObjectInfo]]:
        client = await self._client()
        with translate_s3_errors(prefix):
            async for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                found = [
                    ObjectInfo(entry["Key"], entry["Size"], entry["ETag"].strip('"'), entry["LastModified"])
                    for entry in page.get("Contents", [])
                ]
                if found:
                    yield found

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
        await self._stack.aclose()
