"""boto's and aiohttp's errors as ours: the reason and the variable to look at, never a secret."""

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from service.store.objects import ObjectMissing, ObjectStoreError

GONE = ("404", "NoSuchKey", "NoSuchBucket", "NotFound")
REFUSED = ("401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden")
BEYOND = ("416", "InvalidRange")
OWN_ALREADY = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
CREDENTIALS = "the credentials were refused by MINIO_ENDPOINT: see MINIO_ACCESS_KEY and MINIO_SECRET_KEY"
CLOCK = "MINIO_ENDPOINT has another time of day: set this machine's clock"


class BrokenOff(ObjectStoreError):
    """The answer began and did not end; another try may."""


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Around any use of the client; `what` is the key or prefix that was asked for."""
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
    code = code_of(error)
    if code in GONE:
        return ObjectMissing(f"there is no object {what}")
    if code in REFUSED:
        return ObjectStoreError(CREDENTIALS)
    if code == "RequestTimeTooSkewed":
        return ObjectStoreError(CLOCK)
    return ObjectStoreError(f"MINIO_ENDPOINT answered {code}")


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
