"""The S3/MinIO driver of the object store: aioboto3, one client per process; and signed reads for the hot path."""

import asyncio
import os
import random
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError
from botocore.utils import get_environ_proxies
from yarl import URL

from service.plan.render_plan import ObjectRef
from service.store.object_settings import ObjectSettings
from service.store.objects import ObjectInfo, ObjectMissing, ObjectPart, ObjectStoreError, ObjectTooLarge

CHUNK = 1024 * 1024
MULTIPART = 16 * 1024 * 1024
MOST_PARTS = 10_000
PARTS_AT_ONCE = 4
CONNECT_S = 5
TRIES = 6
FIRST_PAUSE_S = 0.1
SIGNED_FOR_S = 900
LONGEST_SIGNED_S = 7 * 24 * 3600
SLOWEST = 1024 * 1024
"""Bytes a second: a body may take the read timeout and, beyond that, this long."""
GONE = ("404", "NoSuchKey", "NoSuchBucket", "NotFound")
REFUSED = ("401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden")
BEYOND = ("416", "InvalidRange")
OWN_ALREADY = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
CREDENTIALS = "the credentials were refused by MINIO_ENDPOINT: see MINIO_ACCESS_KEY and MINIO_SECRET_KEY"
CLOCK = "MINIO_ENDPOINT has another time of day: set this machine's clock"


class BrokenOff(ObjectStoreError):
    """The answer began and did not end; another try may."""


def client_config(settings: ObjectSettings) -> AioConfig:
    """Checksums only when required: otherwise ranged reads break on servers other than AWS."""
    return AioConfig(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=CONNECT_S,
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
                self._opened = await self._stack.enter_async_context(self._new_client())
        return self._opened

    def _new_client(self) -> Any:
        access_key, secret_key = _keys(self.settings)
        session = aioboto3.Session(
            aws_access_key_id=access_key, aws_secret_access_key=secret_key, region_name=self.settings.region
        )
        return session.client("s3", endpoint_url=self.settings.endpoint_url, config=client_config(self.settings))

    async def check(self) -> None:
        client = await self._client()
        try:
            with explained(self.bucket):
                await client.head_bucket(Bucket=self.bucket)
        except ObjectMissing:
            await self._create_bucket(client)

    async def _create_bucket(self, client: Any) -> None:
        """Another process may be doing the same."""
        region = self.settings.region
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with explained(self.bucket):
            try:
                await client.create_bucket(Bucket=self.bucket, **place)
            except ClientError as error:
                if _code(error) not in OWN_ALREADY:
                    raise
                await client.head_bucket(Bucket=self.bucket)

    async def put(self, ref: ObjectRef, data: bytes, content_type: str) -> ObjectInfo:
        client = await self._client()
        with explained(ref.key):
            await client.put_object(Bucket=ref.bucket, Key=ref.key, Body=data, ContentType=content_type)
        return await self.head(ref)

    async def put_file(self, ref: ObjectRef, path: Path, content_type: str) -> ObjectInfo:
        with await asyncio.to_thread(path.open, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= MULTIPART:
                return await self.put(ref, await asyncio.to_thread(file.read), content_type)
            await self._put_parts(ref, file, content_type)
        return await self.head(ref)

    async def _put_parts(self, ref: ObjectRef, file: BinaryIO, content_type: str) -> None:
        """aioboto3's own upload queues up to 100 parts in memory, and leaves them on the server when cancelled."""
        client, target = await self._client(), {"Bucket": ref.bucket, "Key": ref.key}
        with explained(ref.key):
            begun = await client.create_multipart_upload(**target, ContentType=content_type)
            target["UploadId"] = begun["UploadId"]
            try:
                parts = await _send_parts(client, target, file)
                await client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
            except BaseException:
                await asyncio.shield(_abort(client, target))
                raise

    async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None) -> bytes:
        for attempt in range(TRIES - 1):
            try:
                return b"".join([chunk async for chunk in self.stream(ref, start, stop)])
            except BrokenOff:
                await asyncio.sleep(pause_s(attempt))
        return b"".join([chunk async for chunk in self.stream(ref, start, stop)])

    async def stream(self, ref: ObjectRef, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        if stop is not None and stop <= start:
            return
        client = await self._client()
        wanted = {} if start == 0 and stop is None else {"Range": range_header(start, stop)}
        with explained(ref.key):
            try:
                answer = await client.get_object(Bucket=ref.bucket, Key=ref.key, **wanted)
            except ClientError as error:
                if _code(error) in BEYOND:
                    return
                raise
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
        return self._signer.url(ref, min(seconds, LONGEST_SIGNED_S))

    async def close(self) -> None:
        self._opened = None
        await self._stack.aclose()


async def _send_parts(client: Any, target: dict[str, str], file: BinaryIO) -> list[dict[str, Any]]:
    size = os.fstat(file.fileno()).st_size
    length, gate = max(MULTIPART, -(-size // MOST_PARTS)), asyncio.Semaphore(PARTS_AT_ONCE)

    async def send(number: int, start: int) -> dict[str, Any]:
        async with gate:
            data = await asyncio.to_thread(os.pread, file.fileno(), length, start)
            if len(data) != min(length, size - start):
                raise ObjectStoreError("the file changed while it was sent")
            answer = await client.upload_part(**target, PartNumber=number, Body=data)
            return {"PartNumber": number, "ETag": answer["ETag"]}

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(send(n, start)) for n, start in enumerate(range(0, size, length), 1)]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def _abort(client: Any, target: dict[str, str]) -> None:
    try:
        await client.abort_multipart_upload(**target)
    except (ClientError, BotoCoreError, OSError):
        return  # the error that led here says more


class UrlSigner:
    """botocore's SigV4 on its own: a quarter of the cost of its `generate_presigned_url`."""

    def __init__(self, settings: ObjectSettings, url: str) -> None:
        self._url, self._region, self._credentials = url, settings.region, Credentials(*_keys(settings))

    def url(self, ref: ObjectRef, seconds: int) -> str:
        path = quote(f"{ref.bucket}/{ref.key}", safe="/-._~")
        request = AWSRequest("GET", f"{self._url}/{path}")
        S3SigV4QueryAuth(self._credentials, "s3", self._region, seconds).add_auth(request)
        signed: str = request.url
        return signed


class SignedReads:
    """Whole and ranged reads with one aiohttp session, opened on first use in the loop that reads."""

    def __init__(self, settings: ObjectSettings) -> None:
        self._settings, self._url = settings, settings.endpoint_url
        self._signer = UrlSigner(settings, self._url)
        self._session: aiohttp.ClientSession | None = None

    async def read(self, ref: ObjectRef, span: tuple[int, int] | None, limit: int) -> ObjectPart:
        """All of the object or bytes [start, stop) of it.

        Raises ObjectMissing or ObjectTooLarge at once, and ObjectStoreError when some tries, or twice the read timeout,
        brought nothing.
        """
        clock = asyncio.get_running_loop().time
        until, attempt = clock() + 2 * self._settings.timeout_s, 0
        while True:
            try:
                return await self._once(ref, span, limit)
            except (BrokenOff, aiohttp.ClientError, OSError) as error:
                attempt += 1
                if attempt == TRIES or clock() >= until:
                    raise ObjectStoreError(f"MINIO_ENDPOINT failed {attempt} times: {_short(error)}") from error
            await asyncio.sleep(pause_s(attempt - 1))

    async def _once(self, ref: ObjectRef, span: tuple[int, int] | None, limit: int) -> ObjectPart:
        url = URL(self._signer.url(ref, SIGNED_FOR_S), encoded=True)
        headers = {"Range": range_header(*span)} if span else None
        async with self._open().get(url, headers=headers, allow_redirects=False) as answer:
            etag = answer.headers.get("ETag", "").strip('"')
            if span and answer.status == 416:
                return ObjectPart(b"", _whole_size(answer), etag)
            _require_success(answer, ref)
            length = answer.content_length
            if span and answer.status == 200 and (span[0] or length is None or length > span[1]):
                raise ObjectStoreError("MINIO_ENDPOINT does not serve ranges")
            if length is not None and length > limit:
                raise ObjectTooLarge(length, limit)
            async with asyncio.timeout(self._settings.timeout_s + (length or limit) / SLOWEST):
                data = await _body(answer, limit)
            if length is not None and len(data) != length:
                raise BrokenOff("the body was cut off")
            return ObjectPart(data, _whole_size(answer) if answer.status == 206 else len(data), etag)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=self._settings.timeout_s)
            secure = self._url.startswith("https:")
            trust = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None) if secure else True
            self._session = aiohttp.ClientSession(
                timeout=timeout,
                connector=aiohttp.TCPConnector(limit=self._settings.pool, ssl=trust),
                proxy=get_environ_proxies(self._url).get(urlsplit(self._url).scheme),
                auto_decompress=False,
                read_bufsize=256 * 1024,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def range_header(start: int, stop: int | None) -> str:
    """HTTP's ranges include their end, ours do not."""
    return f"bytes={start}-{'' if stop is None else stop - 1}"


def pause_s(attempt: int) -> float:
    """Doubling, and spread so that many slots do not come back at once."""
    return FIRST_PAUSE_S * 2.0**attempt * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)


def _require_success(answer: aiohttp.ClientResponse, ref: ObjectRef) -> None:
    if answer.status in (200, 206):
        return
    if answer.status == 404:
        raise ObjectMissing(f"there is no object {ref.key}")
    if answer.status in (401, 403):
        raise ObjectStoreError(CREDENTIALS)
    if answer.status >= 500 or answer.status in (408, 429):
        raise BrokenOff(f"it answered {answer.status}")
    raise ObjectStoreError(f"MINIO_ENDPOINT answered {answer.status}")


async def _body(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """Also where the server names no length, never more than the limit."""
    chunks, size = [], 0
    async for chunk in answer.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise ObjectTooLarge(size, limit)
    return b"".join(chunks)


def _whole_size(answer: aiohttp.ClientResponse) -> int:
    """From `Content-Range: bytes 0-9/100` or, with status 416, `bytes */100`; 0 where the server leaves it out."""
    size = answer.headers.get("Content-Range", "").rpartition("/")[2]
    return int(size) if size.isdecimal() else 0


def _keys(settings: ObjectSettings) -> tuple[str, str]:
    assert settings.access_key is not None
    assert settings.secret_key is not None
    return settings.access_key, settings.secret_key.get_secret_value()


@contextmanager
def explained(what: str) -> Iterator[None]:
    """boto's errors as ours: the reason and the variable to look at, no secret."""
    try:
        yield
    except ClientError as error:
        raise _of_answer(error, what) from error
    except EndpointConnectionError as error:
        raise ObjectStoreError("MINIO_ENDPOINT cannot be reached") from error
    except aiohttp.ClientError as error:
        raise BrokenOff(f"MINIO_ENDPOINT broke off ({type(error).__name__})") from error
    except (BotoCoreError, OSError) as error:
        raise ObjectStoreError(f"MINIO_ENDPOINT does not answer as it should ({type(error).__name__})") from error


def _of_answer(error: ClientError, what: str) -> ObjectStoreError:
    code = _code(error)
    if code in GONE:
        return ObjectMissing(f"there is no object {what}")
    if code in REFUSED:
        return ObjectStoreError(CREDENTIALS)
    if code == "RequestTimeTooSkewed":
        return ObjectStoreError(CLOCK)
    return ObjectStoreError(f"MINIO_ENDPOINT answered {code}")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _short(error: Exception) -> str:
    """No URL: it carries a signature."""
    return str(error) if isinstance(error, BrokenOff) else type(error).__name__
