"""Where objects are, from the environment, and the driver that fits."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from service.environment import EnvironmentSettings
from service.errors import StartupError
from service.store.objects import ObjectStore


class ObjectSettings(EnvironmentSettings):
    """S3/MinIO; without `MINIO_ENDPOINT` objects are files in `REELMILL_HOME`."""

    endpoint: str | None = Field(
        default=None, validation_alias="MINIO_ENDPOINT", description="S3/MinIO address; unset: files in `REELMILL_HOME`"
    )
    access_key: str | None = Field(default=None, validation_alias="MINIO_ACCESS_KEY", description="S3 access key")
    secret_key: SecretStr | None = Field(default=None, validation_alias="MINIO_SECRET_KEY", description="S3 secret key")
    bucket: str = Field(default="reelmill", validation_alias="MINIO_BUCKET", description="the service's own bucket")
    public_endpoint: str | None = Field(
        default=None,
        validation_alias="MINIO_PUBLIC_ENDPOINT",
        description="address presigned URLs are made for; unset: `MINIO_ENDPOINT`",
    )
    region: str = Field(default="us-east-1", validation_alias="MINIO_REGION", description="S3 region")
    pool: int = 32  # connections of a process, more than it reads at once
    timeout_s: float = 20  # without a byte, before a read is tried again

    @property
    def endpoint_url(self) -> str:
        return _add_scheme(self.endpoint or "")

    @property
    def public_url(self) -> str:
        return _add_scheme(self.public_endpoint or self.endpoint or "")


def _add_scheme(address: str) -> str:
    return (address if "://" in address else f"http://{address}").rstrip("/")


def open_object_store(settings: ObjectSettings, home: Path) -> ObjectStore:
    """The driver for these settings. Raises StartupRefused naming the variable that is missing or wrong."""
    if settings.endpoint is None:
        from service.store.objects_files import FileObjectStore

        return FileObjectStore(home / "objects", settings.bucket)
    from service.store.objects_s3 import S3ObjectStore

    for name, value in (("MINIO_ACCESS_KEY", settings.access_key), ("MINIO_SECRET_KEY", settings.secret_key)):
        if value is None:
            raise StartupError(f"{name} must be set when MINIO_ENDPOINT is")
    _require_http_url("MINIO_ENDPOINT", settings.endpoint_url)
    _require_http_url("MINIO_PUBLIC_ENDPOINT", settings.public_url)
    return S3ObjectStore(settings)


def _require_http_url(variable: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in url or "?" in url or "#" in url:
        raise StartupError(f"{variable} must be an address such as http://minio:9000, without a user or a query")
