"""Where PostgreSQL and the object store are, from the environment. Imports no driver, to keep slots small."""

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator

from service.environment import EnvironmentSettings
from service.store.source_rules import SourceRules, parse_sources


class DatabaseSettings(EnvironmentSettings):
    """Without `DATABASE_URL`, an embedded PostgreSQL is started in `REELMILL_HOME`."""

    url: str | None = Field(
        default=None,
        repr=False,
        validation_alias="DATABASE_URL",
        description="PostgreSQL URL (`postgresql://…`); unset: an embedded PostgreSQL in `REELMILL_HOME`",
    )
    direct_url: str | None = Field(
        default=None,
        repr=False,
        validation_alias="REELMILL_DATABASE_DIRECT_URL",
        description="URL of PostgreSQL itself, where `DATABASE_URL` is that of PgBouncer: see "
        "[PgBouncer](fleet.md#pgbouncer)",
    )
    pool_size: int = Field(
        default=10,
        ge=1,
        le=200,
        validation_alias="REELMILL_DB_POOL",
        description="pool size; up to 5 overflow connections, plus 3 reserved for health checks",
    )
    timeout_s: float = 10  # to connect; a healthy database takes milliseconds

    @property
    def pooled(self) -> bool:
        """Whether a pooler gives each transaction whichever connection is free."""
        return self.url is not None and self.direct_url is not None


class ObjectSettings(EnvironmentSettings):
    """S3/MinIO; without `MINIO_ENDPOINT`, objects are files in `REELMILL_HOME`."""

    endpoint: str | None = Field(
        default=None, validation_alias="MINIO_ENDPOINT", description="S3/MinIO address; unset: files in `REELMILL_HOME`"
    )
    access_key: str | None = Field(default=None, validation_alias="MINIO_ACCESS_KEY", description="S3 access key")
    secret_key: SecretStr | None = Field(default=None, validation_alias="MINIO_SECRET_KEY", description="S3 secret key")
    bucket: str = Field(default="reelmill", validation_alias="MINIO_BUCKET", description="the service's own bucket")
    public_endpoint: str | None = Field(
        default=None,
        validation_alias="MINIO_PUBLIC_ENDPOINT",
        description="address in presigned URLs; unset: `MINIO_ENDPOINT`",
    )
    region: str = Field(default="us-east-1", validation_alias="MINIO_REGION", description="S3 region")
    sources: str = Field(
        default="",
        validation_alias=AliasChoices("MINIO_SOURCES", "MINIO_SOURCE_BUCKETS"),
        description="other buckets that datasets may be read from, and who may: `bucket/prefix/=alice|bob,shared=*`, "
        "see [Sources](operation.md#sources); unset: none",
    )
    pool: int = 32  # connections per process; more than it reads at the same time
    timeout_s: float = 20  # without receiving a byte, before a read is retried

    @field_validator("sources")
    @classmethod
    def _check_sources(cls, value: str, info: ValidationInfo) -> str:
        parse_sources(value, info.data.get("bucket", ""))
        return value

    @property
    def source_rules(self) -> SourceRules:
        return parse_sources(self.sources, self.bucket)

    @property
    def endpoint_url(self) -> str:
        return _add_scheme(self.endpoint or "")

    @property
    def public_url(self) -> str:
        return _add_scheme(self.public_endpoint or self.endpoint or "")


def _add_scheme(address: str) -> str:
    return (address if "://" in address else f"http://{address}").rstrip("/")
