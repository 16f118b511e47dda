"""Choose the driver of the object store that the settings ask for."""

from pathlib import Path
from urllib.parse import urlsplit

from service.errors import StartupError
from service.store.objects.files import TEMP_FOLDER, FileObjectStore
from service.store.objects.object_store import ObjectStore
from service.store.settings import ObjectSettings


def open_object_store(settings: ObjectSettings, home: Path) -> ObjectStore:
    """The driver for these settings. Raises StartupError, naming the variable that is missing or wrong."""
    if settings.endpoint is None:
        _require_separate_folders(home / "objects", settings)
        return FileObjectStore(home / "objects", settings.bucket)
    from service.store.objects.s3 import S3ObjectStore  # with aioboto3 and aiohttp, which only S3 needs

    for name, value in (("MINIO_ACCESS_KEY", settings.access_key), ("MINIO_SECRET_KEY", settings.secret_key)):
        if value is None:
            raise StartupError(f"{name} must be set when MINIO_ENDPOINT is")
    _require_http_url("MINIO_ENDPOINT", settings.endpoint_url)
    _require_http_url("MINIO_PUBLIC_ENDPOINT", settings.public_url)
    return S3ObjectStore(settings)


def _require_separate_folders(root: Path, settings: ObjectSettings) -> None:
    """A bucket's folder may be a link, but that of a source must not lead to our own objects. Raises StartupError."""
    ours = [(root / name).resolve() for name in (settings.bucket, TEMP_FOLDER)]
    for bucket in {rule.bucket for rule in settings.source_rules.rules}:
        folder = (root / bucket).resolve()
        if any(folder.is_relative_to(own) or own.is_relative_to(folder) for own in ours):
            raise StartupError(f"MINIO_SOURCES: the folder of bucket {bucket} leads to the service's own objects")


def _require_http_url(variable: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in url or "?" in url or "#" in url:
        raise StartupError(f"{variable} must be an address such as http://minio:9000, without a user or a query")
