"""boto's and aiohttp's errors as ours: the reason and the variable to look at, never a secret."""

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from service.store.objects import ObjectNotFound, ObjectStoreError

NOT_FOUND_CODES = ("404", "NoSuchKey", "NoSuchBucket", "NotFound")
ACCESS_DENIED_CODES = ("401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden")
INVALID_RANGE_CODES = ("416", "InvalidRange")
BUCKET_EXISTS_CODES = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
CREDENTIALS_REFUSED = "the credentials were refused by MINIO_ENDPOINT: see MINIO_ACCESS_KEY and MINIO_SECRET_KEY"
CLOCK_SKEWED = "MINIO_ENDPOINT has another time of day: set this machine's clock"


class ConnectionInterrupted(ObjectStoreError):
    """The answer began and did not end; another try may."""


@contextmanager
def translate_s3_errors(key_or_prefix: str) -> Iterator[None]:
    """Around any use of the client; `what` is the key or prefix that was asked for."""
    try:
        yield
    except ClientError as error:
        raise _to_store_error(error, key_or_prefix) from error
    except EndpointConnectionError as error:
        raise ObjectStoreError("MINIO_ENDPOINT cannot be reached") from error
    except aiohttp.ClientError as error:
        raise ConnectionInterrupted(f"MINIO_ENDPOINT broke off ({type(error).__name__})") from error
    except (BotoCoreError, OSError) as error:
        raise ObjectStoreError(f"MINIO_ENDPOINT does not answer as it should ({type(error).__name__})") from error


def _to_store_error(error: ClientError, key_or_prefix: str) -> ObjectStoreError:
    code = error_code(error)
    if code in NOT_FOUND_CODES:
        return ObjectNotFound(f"there is no object {key_or_prefix}")
    if code in ACCESS_DENIED_CODES:
        return ObjectStoreError(CREDENTIALS_REFUSED)
    if code == "RequestTimeTooSkewed":
        return ObjectStoreError(CLOCK_SKEWED)
    return ObjectStoreError(f"MINIO_ENDPOINT answered {code}")


def error_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
