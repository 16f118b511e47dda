"""The real S3 server of REELMILL_TEST_S3_ENDPOINT, read once at import."""

import os
import secrets
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from service.store.settings import ObjectSettings

_ENDPOINT = os.environ.get("REELMILL_TEST_S3_ENDPOINT", "")
_ACCESS_KEY, _SECRET_KEY = os.environ.get("MINIO_ACCESS_KEY", ""), os.environ.get("MINIO_SECRET_KEY", "")
needs_s3 = pytest.mark.skipif(not _ENDPOINT, reason="REELMILL_TEST_S3_ENDPOINT is not set: no S3 server to test on")

# For tests that any store will do for: the S3 server, in whose driver more can go wrong, if there is one.
ANY_STORE = "s3" if _ENDPOINT else "folder"


@dataclass(frozen=True)
class S3Server:
    """Endpoint, credentials and a bucket name of this test's own."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str

    def settings(self, **changes: object) -> ObjectSettings:
        given = {"endpoint": self.endpoint, "access_key": self.access_key, "bucket": self.bucket}
        given["secret_key"] = SecretStr(self.secret_key)  # type: ignore[assignment]
        return ObjectSettings.model_construct(**(given | changes))

    def environment(self) -> dict[str, str]:
        return {
            "MINIO_ENDPOINT": self.endpoint,
            "MINIO_ACCESS_KEY": self.access_key,
            "MINIO_SECRET_KEY": self.secret_key,
            "MINIO_BUCKET": self.bucket,
        }


def s3_server() -> S3Server:
    return S3Server(_ENDPOINT, _ACCESS_KEY, _SECRET_KEY, f"reelmill-test-{secrets.token_hex(6)}")
