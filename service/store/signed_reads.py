"""S3 reads on the hot path: signed here, read with aiohttp."""

import asyncio
from typing import Any

import aiohttp
import botocore.session
from botocore.config import Config

from service.plan.render_plan import ObjectRef
from service.store.object_settings import ObjectSettings
from service.store.objects import ObjectMissing, ObjectStoreError

TRIES = 5
FIRST_PAUSE_S = 0.1
SIGNED_FOR_S = 900


class Broken(Exception):
    """One try did not work; another may."""


class SignedReads:
    """One aiohttp session, opened on first use in the loop that reads."""

    def __init__(self, settings: ObjectSettings) -> None:
        assert settings.secret_key is not None
        self._settings = settings
        self._signer: Any = botocore.session.get_session().create_client(
            "s3",
            region_name=settings.region,
            endpoint_url=settings.endpoint_url,
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=settings.secret_key.get_secret_value(),
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        self._session: aiohttp.ClientSession | None = None

    async def read(self, ref: ObjectRef, start: int, stop: int | None) -> bytes:
        """Raises ObjectMissing at once, ObjectStoreError when five tries have failed."""
        headers = {} if start == 0 and stop is None else {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"}
        reason = ""
        for attempt in range(TRIES):
            try:
                return await self._once(ref, headers)
            except Broken as error:
                reason = str(error)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason = type(error).__name__
            await asyncio.sleep(FIRST_PAUSE_S * 2**attempt)
        raise ObjectStoreError(f"MINIO_ENDPOINT failed {TRIES} times: {reason}")

    async def _once(self, ref: ObjectRef, headers: dict[str, str]) -> bytes:
        url = self._signer.generate_presigned_url(
            "get_object", Params={"Bucket": ref.bucket, "Key": ref.key}, ExpiresIn=SIGNED_FOR_S
        )
        async with self._open().get(_encoded(url), headers=headers) as answer:
            if answer.status == 404:
                raise ObjectMissing(f"there is no object {ref.key}")
            if answer.status in (401, 403):
                raise ObjectStoreError("MINIO_ACCESS_KEY and MINIO_SECRET_KEY were refused by MINIO_ENDPOINT")
            if answer.status not in (200, 206):
                raise Broken(f"it answered {answer.status}")
            data = await answer.read()
            if answer.content_length is not None and len(data) != answer.content_length:
                raise Broken("the body was cut off")
            return data

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=self._settings.timeout_s)
            connector = aiohttp.TCPConnector(limit=self._settings.pool)
            self._session = aiohttp.ClientSession(
                timeout=timeout, connector=connector, auto_decompress=False, trust_env=False
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _encoded(url: str) -> Any:
    """The URL exactly as it was signed."""
    from yarl import URL

    return URL(url, encoded=True)
