"""Signed URLs that each accept one file without a token. The object store issues them if it can; otherwise this API
does."""

import asyncio
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from service.errors import Forbidden, NotFound, invalid_field
from service.plan.names.safe_paths import safe_path
from service.plan.render_plan import ObjectRef
from service.routers.catalog.access import get_visible_dataset
from service.routers.catalog.dataset_models import Uploaded
from service.routers.catalog.uploads import (
    UPLOAD_REQUEST_BODY,
    Upload,
    discard_if_deleted,
    find_upload_area,
    require_upload_area,
)
from service.routers.http.dependencies import CallerDep, DatabaseDep, ObjectsDep, ResourcesDep, require_scope
from service.routers.http.fields import RequestModel, at_most
from service.routers.http.object_streams import guess_media_type
from service.routers.http.problems import error_responses
from service.routers.http.signing import Signer, SignerDep
from service.routers.settings import CatalogSettings
from service.store import usage
from service.store.catalog import datasets
from service.store.catalog.datasets import DatasetRow
from service.store.objects.object_store import ObjectStore

MAX_FILES = 1000
# The most that can be asked for. Addresses end sooner: they need no token, so they outlive every right. Ten minutes are
# enough to begin the upload of MAX_FILES files of 20 MB over 300 Mbit/s; an upload that has begun is not cut.
MAX_ASKED_EXPIRY_S = 24 * 3600
MAX_EXPIRY_S = 600


class WantedUpload(RequestModel):
    """A file to upload."""

    name: Annotated[str, StringConstraints(min_length=1), AfterValidator(safe_path)] = Field(
        description="may contain folders; an existing file is replaced", examples=["frame_00000.jpg"]
    )
    size: int = Field(ge=0, description="exact size in bytes", examples=[210_000])
    content_type: Annotated[str, StringConstraints(pattern=r"^[\w.+-]{1,60}/[\w.+-]{1,60}$")] | None = Field(
        None, description="unset: guessed from the name", examples=["image/jpeg"]
    )

    @property
    def media_type(self) -> str:
        return self.content_type or guess_media_type(self.name)


def _require_unique_names(files: list[WantedUpload]) -> list[WantedUpload]:
    if len({file.name for file in files}) < len(files):
        raise ValueError("each name once")
    return files


class NewUploads(RequestModel):
    """The files to upload."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"files": [{"name": "frame_00000.jpg", "size": 210_000}]}]}
    )
    files: Annotated[list[WantedUpload], AfterValidator(_require_unique_names), at_most(MAX_FILES)] = Field(
        min_length=1, max_length=MAX_FILES
    )
    expires_in: int = Field(
        MAX_EXPIRY_S,
        ge=60,
        le=MAX_ASKED_EXPIRY_S,
        description=f"seconds until the URLs expire; more than {MAX_EXPIRY_S} are cut to that, see `expires_at`",
    )

    @property
    def lifetime_s(self) -> int:
        return min(self.expires_in, MAX_EXPIRY_S)


class UploadAddress(BaseModel):
    """The URL and headers for the `PUT` of one file."""

    name: str
    size: int = Field(description="the body must have exactly this many bytes")
    method: Literal["PUT"] = "PUT"
    url: str = Field(description="without a host (REELMILL_URL is not set): the host that you sent this request to")
    headers: dict[str, str] = Field(description="send these headers unchanged")


class Uploads(BaseModel):
    """One URL per file, in the order of the request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "uploads": [
                        {
                            "name": "frame_00000.jpg",
                            "size": 210_000,
                            "method": "PUT",
                            "url": "https://files.example/reelmill/frames/…/frame_00000.jpg?X-Amz-Signature=…",
                            "headers": {"Content-Type": "image/jpeg"},
                        }
                    ],
                    "expires_at": "2026-03-01T11:00:00Z",
                }
            ]
        }
    )
    uploads: list[UploadAddress]
    expires_at: datetime


router = APIRouter(prefix="/api/datasets", tags=["datasets"])
SIGNING_PURPOSE = "upload"
# The path whose body is a list of files, of up to `max_list_bytes`.
SIGNING_PATHS = re.compile(r"/api/datasets/[^/]+/uploads")


@dataclass(frozen=True, slots=True)
class UploadUrls:
    """Signs upload URLs for one dataset that are valid for `expires_in_s` seconds."""

    objects: ObjectStore
    signer: Signer
    # Of this API, for others; empty: not configured. Never from a request, whose Host header anybody can write.
    public_url: str
    dataset: DatasetRow
    expires_in_s: int

    async def sign_all(self, files: list[WantedUpload]) -> list[UploadAddress]:
        """Signing takes up to a millisecond of CPU time: other requests have their turn after each."""
        addresses = []
        for file in files:
            addresses.append(await self.sign(file))
            await asyncio.sleep(0)
        return addresses

    async def sign(self, upload: WantedUpload) -> UploadAddress:
        ref = ObjectRef(self.dataset.bucket, self.dataset.prefix + upload.name)
        url = await self.objects.presign_put(ref, self.expires_in_s, upload.size, upload.media_type)
        headers = {"Content-Type": upload.media_type}
        return UploadAddress(name=upload.name, size=upload.size, url=url or self._own_url(upload), headers=headers)

    def _own_url(self, upload: WantedUpload) -> str:
        grant = [str(self.dataset.id), upload.name, upload.size, int(time.time()) + self.expires_in_s]
        path = f"/api/datasets/{self.dataset.id}/uploads/{quote(upload.name)}"
        return f"{self.public_url}{path}?grant={self.signer.sign(SIGNING_PURPOSE, grant)}"


@router.post(
    "/{dataset_id}/uploads",
    summary="Get addresses to upload to",
    response_model=Uploads,
    responses=error_responses(409),
    dependencies=[Depends(require_scope("catalog:write"))],
)
async def sign_uploads(
    dataset_id: UUID,
    body: NewUploads,
    caller: CallerDep,
    resources: ResourcesDep,
    signer: SignerDep,
) -> Uploads:
    """One URL per file. Until it expires, anyone can `PUT` that file to it without a token, with exactly the given
    size and headers. Only for datasets that were registered without a `prefix`. Scan the dataset after the uploads."""
    row = await find_upload_area(resources, caller, dataset_id)
    _check_sizes(body, resources.catalog)
    expires_at = datetime.now(UTC) + timedelta(seconds=body.lifetime_s)
    quota, size = resources.storage.quota_of(row.owner or ""), sum(file.size for file in body.files)
    # Before a URL is out, so that a deletion and a quota know of it.
    async with resources.database.service_transaction() as connection:
        if not await datasets.note_upload_urls(connection, dataset_id, expires_at):
            raise NotFound("there is no such dataset")
        await usage.reserve_upload(connection, row, size, quota, expires_at)
    urls = UploadUrls(resources.objects, signer, resources.public_url, row, body.lifetime_s)
    return Uploads(uploads=await urls.sign_all(body.files), expires_at=expires_at)


def _check_sizes(body: NewUploads, settings: CatalogSettings) -> None:
    for number, file in enumerate(body.files):
        if file.size > settings.max_upload_bytes:
            detail = f"an upload may have at most {settings.max_upload_bytes} bytes (REELMILL_MAX_UPLOAD_BYTES)"
            raise invalid_field(f"#/files/{number}/size", detail, "too_long")


@router.put(
    "/{dataset_id}/uploads/{name:path}",
    summary="Upload to a signed address",
    response_model=Uploaded,
    responses=error_responses(403),
    openapi_extra={"requestBody": UPLOAD_REQUEST_BODY, "security": []},
)
async def upload_signed(
    dataset_id: UUID,
    name: str,
    grant: Annotated[str, Query(max_length=4000, description="from the URL that `POST …/uploads` returned")],
    request: Request,
    database: DatabaseDep,
    objects: ObjectsDep,
    signer: SignerDep,
) -> Uploaded:
    """Only if the object store cannot sign URLs. The grant replaces the token: it is valid for one file of one size,
    for a short time."""
    size = signed_size(signer, grant, dataset_id, name)
    async with database.service_transaction() as connection:
        row = await get_visible_dataset(connection, dataset_id)
    require_upload_area(row, objects.bucket)
    upload = Upload(objects, ObjectRef(row.bucket, row.prefix + name), size, exact=True)
    stored = await upload.receive(request)
    await discard_if_deleted(database, objects, dataset_id, [upload.ref])
    return Uploaded(name=name, size=stored.size, etag=stored.etag)


def signed_size(signer: Signer, grant: str, dataset: UUID, name: str) -> int:
    """The required size in bytes. Raises Forbidden if the grant is altered, expired or for another file."""
    try:
        granted_dataset, granted_name, size, expires = signer.verify(SIGNING_PURPOSE, grant)
    except (ValueError, RecursionError) as error:
        raise Forbidden("this upload address is not one of ours, or was altered") from error
    if (granted_dataset, granted_name) != (str(dataset), name):
        raise Forbidden("this upload address is for another file")
    if expires < time.time():
        expired_at = datetime.fromtimestamp(expires, UTC).isoformat()
        raise Forbidden(f"this upload address expired at {expired_at}: ask for a new one")
    return int(size)
