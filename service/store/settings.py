"""Where PostgreSQL and the object store are, how long renders are kept and how much an owner may store, from the
environment. Imports no driver, to keep slots small."""

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

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
        description="pool size; up to 5 overflow connections, plus 5 reserved for health checks",
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


NO_LIMIT = "none"
_AGE = re.compile(r"([0-9]{1,6})\s*(h|d|w)")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*(B|[KMGTP]B|[KMGTP]iB)", re.IGNORECASE)
# Renders that are kept longer are kept for ever.
MAX_AGE_DAYS = 36_500
# The key of everybody's quota among those of single owners.
EVERYBODY = "*"


def parse_age(value: str) -> timedelta | None:
    """Parse `12h`, `30d` or `8w`; None for `none`. Raises ValueError."""
    if value.strip().lower() in ("", NO_LIMIT):
        return None
    match = _AGE.fullmatch(value.strip())
    age = timedelta(hours=int(match[1]) * _HOURS[match[2]]) if match else timedelta(0)
    if not timedelta(0) < age <= timedelta(days=MAX_AGE_DAYS):
        raise ValueError("write a number with h, d or w, as in 30d, or none")
    return age


def parse_size(value: str) -> int | None:
    """Parse a number of bytes such as `500GB` or `1.5 TiB`; None for `none`. Raises ValueError."""
    if value.strip().lower() == NO_LIMIT:
        return None
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError("write a number with B, kB, MB, GB, TB, or KiB, MiB, GiB, TiB, as in 500GB, or none")
    unit = match[2].upper()
    base = 1024 if "I" in unit else 1000
    return int(float(match[1]) * base ** "BKMGTP".index(unit[0]))


def parse_quotas(value: str) -> Mapping[str, int | None]:
    """Parse `500GB,alice=2TB,bob=none`, or the same as JSON with `*` for everybody. Raises ValueError."""
    if value.lstrip().startswith("{"):
        try:
            named = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ValueError('write JSON as in {"*": "500GB", "alice": "2TB"}') from error
        if not all(isinstance(size, str) for size in named.values()):
            raise ValueError("sizes are texts, as in 500GB")
    else:
        pairs = [part.rpartition("=") for part in value.split(",") if part.strip()]
        named = {owner.strip() or EVERYBODY: size for owner, _, size in pairs}
        if len(named) < len(pairs):
            raise ValueError("each owner once, and one size for everybody else")
    return MappingProxyType({owner: parse_size(size) for owner, size in named.items()})


class StorageLimits(EnvironmentSettings):
    """How long finished renders are kept, and how much an owner may store. Give API and workers the same values."""

    render_retention: str = Field(
        default=NO_LIMIT,
        validation_alias="REELMILL_RENDER_RETENTION",
        description="age at which renders are deleted, as in `30d`, see [Retention](operation.md#retention); "
        "`none`: never",
    )
    owner_quota: str = Field(
        default=NO_LIMIT,
        validation_alias="REELMILL_OWNER_QUOTA",
        description="what uploads and renders of one owner may take, and exceptions: `500GB,alice=2TB,bob=none`, see "
        "[Quotas](operation.md#quotas); `none`: any",
    )

    @field_validator("render_retention")
    @classmethod
    def _check_retention(cls, value: str) -> str:
        parse_age(value)
        return value

    @field_validator("owner_quota")
    @classmethod
    def _check_quota(cls, value: str) -> str:
        parse_quotas(value)
        return value

    @property
    def retention(self) -> timedelta | None:
        return parse_age(self.render_retention)

    def quota_of(self, owner: str) -> int | None:
        """Bytes that this owner may store; None: any number."""
        quotas = parse_quotas(self.owner_quota)
        return quotas.get(owner, quotas.get(EVERYBODY))
