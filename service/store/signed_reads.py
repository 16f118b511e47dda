"""S3 reads on the hot path: signed here, read with aiohttp, a third of the cost of aioboto3's get_object."""

import asyncio
import os
import random
import ssl
from urllib.parse import quote, urlsplit

import aiohttp
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import get_environ_proxies
from yarl import URL

from service.plan.render_plan import ObjectRef
from service.store.object_settings import ObjectSettings
from service.store.objects import ObjectMissing, ObjectPart, ObjectStoreError, ObjectTooLarge
from service.store.s3_errors import CREDENTIALS, BrokenOff

CONNECT_S = 5
TRIES = 6
FIRST_PAUSE_S = 0.1
SIGNED_FOR_S = 900
SLOWEST = 1024 * 1024
"""Bytes a second: a body may take the read timeout and, beyond that, this long."""


class UrlSigner:
    """botocore's SigV4 on its own: a quarter of the cost of its `generate_presigned_url`."""

    def __init__(self, settings: ObjectSettings, url: str) -> None:
        self._url, self._region, self._credentials = url, settings.region, Credentials(*keys_of(settings))

    def url(self, ref: ObjectRef, seconds: int) -> str:
        """To read the object."""
        return self._signed("GET", ref, seconds, {})

    def put_url(self, ref: ObjectRef, seconds: int, size: int, content_type: str) -> str:
        """To write it: the two headers are signed, so that nothing longer and nothing of another type goes there."""
        return self._signed("PUT", ref, seconds, {"Content-Length": str(size), "Content-Type": content_type})

    def _signed(self, method: str, ref: ObjectRef, seconds: int, headers: dict[str, str]) -> str:
        path = quote(f"{ref.bucket}/{ref.key}", safe="/-._~")
        request = AWSRequest(method, f"{self._url}/{path}", headers)
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


def keys_of(settings: ObjectSettings) -> tuple[str, str]:
    assert settings.access_key is not None
    assert settings.secret_key is not None
    return settings.access_key, settings.secret_key.get_secret_value()


def _short(error: Exception) -> str:
    """No URL: it carries a signature."""
    return str(error) if isinstance(error, BrokenOff) else type(error).__name__
