"""S3 without boto's client: signed URLs, reads with aiohttp (a third of the cost of get_object), error translation."""

import asyncio
import os
import random
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlsplit

import aiohttp
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError
from botocore.utils import get_environ_proxies
from yarl import URL

from service.plan.render_plan import ObjectRef
from service.store.objects.object_store import (
    ClockSkewed,
    ObjectNotFound,
    ObjectStoreError,
    ObjectStoreFull,
    ObjectTooLarge,
    ObjectVersion,
    ReadResult,
)
from service.store.objects.s3_answers import BodyDigests, ConnectionInterrupted, DigestDoubted, ExpectedAnswer
from service.store.settings import ObjectSettings

NOT_FOUND_CODES = ("404", "NoSuchKey", "NoSuchBucket", "NoSuchUpload", "NotFound")
ACCESS_DENIED_CODES = ("401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden")
INVALID_RANGE_CODES = ("416", "InvalidRange")
BUCKET_EXISTS_CODES = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
CREDENTIALS_REFUSED = "the credentials were refused by MINIO_ENDPOINT: see MINIO_ACCESS_KEY and MINIO_SECRET_KEY"
CLOCK_SKEWED = "MINIO_ENDPOINT has another time of day: set this machine's clock"


@contextmanager
def translate_s3_errors(key_or_prefix: str) -> Iterator[None]:
    """Raise ObjectStoreError for errors of boto3 and aiohttp about this key or prefix."""
    try:
        yield
    except ClientError as error:
        raise _to_store_error(error, key_or_prefix) from error
    except EndpointConnectionError as error:
        raise ObjectStoreError("MINIO_ENDPOINT cannot be reached") from error
    except aiohttp.ClientError as error:
        raise ConnectionInterrupted(f"MINIO_ENDPOINT closed the connection ({type(error).__name__})") from error
    except (BotoCoreError, OSError) as error:
        raise ObjectStoreError(f"MINIO_ENDPOINT does not work as an S3 server ({type(error).__name__})") from error


# MinIO's disks and quotas, Ceph's quotas, and names that others use.
FULL_CODES = (
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "QuotaExceeded",
    "StorageFull",
    "InsufficientStorage",
)


def _to_store_error(error: ClientError, key_or_prefix: str) -> ObjectStoreError:
    code = error_code(error)
    if code in NOT_FOUND_CODES:
        return ObjectNotFound(f"there is no object {key_or_prefix}")
    if code in ACCESS_DENIED_CODES:  # an answer to HEAD has no body, which would tell the clock from the credentials
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return (
            ClockSkewed(CLOCK_SKEWED) if _is_clock_wrong(headers.get("date")) else ObjectStoreError(CREDENTIALS_REFUSED)
        )
    if code in FULL_CODES:
        return ObjectStoreFull(f"the object store has no space left ({code}): free some, or raise the quota")
    if code == "RequestTimeTooSkewed":
        return ClockSkewed(CLOCK_SKEWED)
    return ObjectStoreError(f"MINIO_ENDPOINT answered {code}")


def error_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


CONNECT_TIMEOUT_S = 5
# S3 refuses signatures that are 15 minutes old, or from the future.
MAX_SKEW_S = 600
MAX_ATTEMPTS = 6
INITIAL_BACKOFF_S, MAX_BACKOFF_S = 0.1, 2.0
URL_LIFETIME_S = 900
# A body may take the read timeout plus its size at this rate.
MIN_BYTES_PER_SECOND = 1024 * 1024


class UrlSigner:
    """Signs URLs with botocore's SigV4 alone: a quarter of the cost of its `generate_presigned_url`."""

    def __init__(self, settings: ObjectSettings, url: str) -> None:
        self._url, self._region, self._credentials = url, settings.region, Credentials(*get_credentials(settings))

    def presign_get(self, ref: ObjectRef, seconds: int) -> str:
        """A URL to read the object."""
        return self._presign("GET", ref, seconds, {})

    def presign_put(self, ref: ObjectRef, seconds: int, size: int, content_type: str) -> str:
        """A URL to write the object. Size and type are signed, so that no other size or type is accepted."""
        return self._presign("PUT", ref, seconds, {"Content-Length": str(size), "Content-Type": content_type})

    def _presign(self, method: str, ref: ObjectRef, seconds: int, headers: dict[str, str]) -> str:
        path = quote(f"{ref.bucket}/{ref.key}", safe="/-._~")
        request = AWSRequest(method, f"{self._url}/{path}", headers)
        S3SigV4QueryAuth(self._credentials, "s3", self._region, seconds).add_auth(request)
        signed: str = request.url
        return signed


class SignedReader:
    """Reads whole objects or ranges with one aiohttp session, opened on first use in the loop that reads."""

    def __init__(self, settings: ObjectSettings) -> None:
        self._settings, self._url = settings, settings.endpoint_url
        self._signer, self._digests = UrlSigner(settings, self._url), BodyDigests()
        self._session: aiohttp.ClientSession | None = None

    async def read(self, version: ObjectVersion, span: tuple[int, int] | None, limit: int) -> ReadResult:
        """The object, or its bytes [start, stop); at most `limit` bytes.

        Raises ObjectNotFound or ObjectTooLarge at once, ObjectChanged or ObjectDamaged when a second answer says the
        same, ObjectStoreError after MAX_ATTEMPTS or twice the read timeout. A digest in doubt is no failed attempt.
        """
        clock = asyncio.get_running_loop().time
        deadline, attempt, doubts = clock() + 2 * self._settings.timeout_s, 0, 0
        expected = ExpectedAnswer(version, span, limit)
        while True:
            try:
                return await self._read_once(expected)
            except DigestDoubted:
                doubts += 1
            except (ConnectionInterrupted, aiohttp.ClientError, OSError) as error:
                attempt += 1
                if attempt == MAX_ATTEMPTS or clock() >= deadline:
                    raise ObjectStoreError(
                        f"MINIO_ENDPOINT failed {attempt} times: {_describe_error(error)}"
                    ) from error
            await asyncio.sleep(backoff_s(attempt + doubts - 1))

    async def _read_once(self, expected: ExpectedAnswer) -> ReadResult:
        ref = expected.version.ref
        url = URL(self._signer.presign_get(ref, URL_LIFETIME_S), encoded=True)
        async with self._get_session().get(url, headers=expected.request_headers(), allow_redirects=False) as response:
            _raise_for_status(response, ref)
            etag, size = expected.check_version(response), expected.object_size(response)
            if response.status == 416:
                return ReadResult(b"", size or 0, etag)
            length = expected.body_length(response, size)
            is_md5 = self._digests.can_check(expected, response, size)
            async with asyncio.timeout(self._settings.timeout_s + (length or expected.limit) / MIN_BYTES_PER_SECOND):
                data = await _read_body(response, expected.limit)
            if length is not None and len(data) != length:
                raise ConnectionInterrupted(f"{len(data)} bytes arrived instead of {length}")
            if is_md5:
                await self._digests.check(expected, data)
            return ReadResult(data, len(data) if size is None else size, etag)

    def _get_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=self._settings.timeout_s
            )
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
        """A later read opens another session."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def backoff_s(attempt: int) -> float:
    """Doubles with each attempt up to MAX_BACKOFF_S, with jitter so that many slots do not retry at once."""
    return min(INITIAL_BACKOFF_S * 2.0**attempt, MAX_BACKOFF_S) * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)


def _raise_for_status(response: aiohttp.ClientResponse, ref: ObjectRef) -> None:
    if response.status in (200, 206, 412, 416):
        return
    if response.status == 404:
        raise ObjectNotFound(f"there is no object {ref.key}")
    if response.status in (401, 403):
        if _is_clock_wrong(response.headers.get("Date")):
            raise ClockSkewed(CLOCK_SKEWED)
        raise ObjectStoreError(CREDENTIALS_REFUSED)
    if response.status >= 500 or response.status in (304, 408, 429):
        raise ConnectionInterrupted(f"it answered {response.status}")
    raise ObjectStoreError(f"MINIO_ENDPOINT answered {response.status}")


def _is_clock_wrong(date: str | None) -> bool:
    """Whether the clock of the server, which sent this Date, is so far from ours that it takes our signatures for
    expired, or for not valid yet."""
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return False
    return abs(theirs - time.time()) > MAX_SKEW_S


async def _read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Reads at most `limit` bytes, also if the server sends no length."""
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise ObjectTooLarge(size, limit)
    return b"".join(chunks)


def get_credentials(settings: ObjectSettings) -> tuple[str, str]:
    assert settings.access_key is not None
    assert settings.secret_key is not None
    return settings.access_key, settings.secret_key.get_secret_value()


def _describe_error(error: Exception) -> str:
    """Without the URL, which contains a signature."""
    return str(error) if isinstance(error, ConnectionInterrupted) else type(error).__name__
