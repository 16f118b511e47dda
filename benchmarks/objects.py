"""Access to the benchmark's own bucket, through boto3 as in a simple script."""

from collections.abc import Callable
from typing import Any

from service.config import Settings


def object_reader(settings: Settings) -> Callable[[str], bytes]:
    """A function that reads an object by key: with boto3's get_object, or the file in a local store."""
    bucket = settings.objects.bucket
    if settings.objects.endpoint is None:
        folder = settings.process.home / "objects" / bucket
        return lambda key: (folder / key).read_bytes()
    client = _s3_client(settings)
    return lambda key: bytes(client.get_object(Bucket=bucket, Key=key)["Body"].read())


def remove_bucket(settings: Settings) -> None:
    """Delete the benchmark's own bucket and its objects; a local store is deleted with its folder."""
    if settings.objects.endpoint is None:
        return
    client, bucket = _s3_client(settings), settings.objects.bucket
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        if found := [{"Key": entry["Key"]} for entry in page.get("Contents", ())]:
            client.delete_objects(Bucket=bucket, Delete={"Objects": found})
    client.delete_bucket(Bucket=bucket)


def _s3_client(settings: Settings) -> Any:
    import boto3
    from botocore.config import Config

    objects = settings.objects
    assert objects.secret_key is not None
    config = Config(
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client(
        "s3",
        endpoint_url=objects.endpoint_url,
        aws_access_key_id=objects.access_key,
        aws_secret_access_key=objects.secret_key.get_secret_value(),
        region_name=objects.region,
        config=config,
    )
