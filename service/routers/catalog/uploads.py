"""Upload files into a dataset through the API, and list its stored objects."""

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from service.errors import Conflict, FieldProblem, InvalidRequest, NotFound
from service.plan.names.safe_paths import safe_path
from service.plan.render_plan import ObjectRef
from service.routers.catalog.access import CatalogDep, get_visible_dataset, require_owner, require_visible_dataset
from service.routers.catalog.dataset_models import StoredObjectDetails, Uploaded
from service.routers.http.dependencies import CallerDep, Resources, ResourcesDep, require_scope
from service.routers.http.exception_mapping import BadRequest, ContentTooLarge
from service.routers.http.middleware import content_length
from service.routers.http.object_streams import (
    UNKNOWN_MEDIA_TYPE,
    binary_content,
    guess_media_type,
    stream_while_visible,
)
from service.routers.http.problems import error_responses
from service.store import usage
from service.store.catalog import datasets
from service.store.catalog.datasets import DatasetRow
from service.store.catalog.source_access import check_source
from service.store.database import Caller, Database
from service.store.deletion import is_upload_area
from service.store.objects.object_store import ObjectInfo, ObjectStore

router = APIRouter(prefix="/api/datasets", tags=["datasets"])
# Paths whose bodies are limited by REELMILL_MAX_UPLOAD_BYTES instead of the general limit.
UPLOAD_PATHS = re.compile(r"/api/datasets/[^/]+/(objects|(objects|uploads)/.+)", re.DOTALL)
# Longer bodies are buffered in a temporary file.
MAX_IN_MEMORY_BYTES = 2 * 1024 * 1024

UPLOAD_REQUEST_BODY = {"required": False, "content": binary_content(UNKNOWN_MEDIA_TYPE, "a JPEG file")}


@router.put(
    "/{dataset_id}/objects/{name:path}",
    summary="Upload a frame",
    response_model=Uploaded,
    responses=error_responses(409),
    dependencies=[Depends(require_scope("catalog:write"))],
    openapi_extra={"requestBody": UPLOAD_REQUEST_BODY},
)
async def upload_object(
    dataset_id: UUID,
    name: str,
    request: Request,
    caller: CallerDep,
    resources: ResourcesDep,
    settings: CatalogDep,
) -> Uploaded:
    """The body is the file. `name` may contain folders; an existing file is replaced. Only for datasets that were
    registered without a `prefix`. Scan the dataset after the uploads."""
    _check_name(name, request)
    row = await find_upload_area(resources, caller, dataset_id)
    size = announced_size(request, settings.max_upload_bytes)
    upload = Upload(resources.objects, ObjectRef(row.bucket, row.prefix + name), size)
    async with reserve(resources, row, size) as reservation:
        stored = await upload.receive(request)
        reservation.stored = stored.size
    await discard_if_deleted(resources.database, resources.objects, dataset_id, [upload.ref])
    return Uploaded(name=name, size=stored.size, etag=stored.etag)


async def find_upload_area(resources: Resources, caller: Caller, dataset: UUID) -> DatasetRow:
    """The dataset, into which the caller may upload. Raises NotFound, Forbidden, Conflict."""
    async with resources.database.caller_transaction(caller) as connection:
        row = await get_visible_dataset(connection, dataset)
    require_owner(row.owner, caller)
    require_upload_area(row, resources.objects.bucket)
    return row


def announced_size(request: Request, limit: int) -> int:
    """Of the body in bytes; the limit, if the request does not say. Raises ContentTooLarge."""
    if "content-length" not in request.headers:
        return limit
    size = content_length(request.headers)
    if size > limit:
        raise too_long_error(limit)
    return size


@dataclass(slots=True)
class Reservation:
    """Room for uploads; `stored` bytes of it were kept."""

    stored: int = 0


@asynccontextmanager
async def reserve(resources: Resources, row: DatasetRow, size: int) -> AsyncIterator[Reservation]:
    """Room in the owner's quota while the block runs; then what was stored counts. Raises QuotaExceeded."""
    quota = resources.storage.quota_of(row.owner or "")
    async with resources.database.service_transaction() as connection:
        number = await usage.reserve_upload(connection, row, size, quota)
    reservation = Reservation()
    try:
        yield reservation
    finally:
        async with resources.database.service_transaction() as connection:
            await usage.end_reservation(connection, number, row.id, reservation.stored)


def _check_name(name: str, request: Request) -> None:
    """Raises InvalidRequest for a name that cannot be stored as it was sent: servers replace what is not UTF-8."""
    try:
        unquote_to_bytes(request.scope.get("raw_path", b"")).decode()
        safe_path(name)
    except UnicodeDecodeError as error:
        detail = "this name cannot be stored: it is not in UTF-8"
        raise InvalidRequest(detail, errors=(FieldProblem(detail, "unsafe_name", parameter="name"),)) from error
    except ValueError as error:
        detail = f"this name cannot be stored: {error}"
        raise InvalidRequest(detail, errors=(FieldProblem(detail, "unsafe_name", parameter="name"),)) from error


def require_upload_area(row: DatasetRow, own_bucket: str) -> None:
    """Raises Conflict unless the dataset was registered without a prefix."""
    if not is_upload_area(row, own_bucket):
        raise Conflict("this dataset reads from elsewhere: upload into one that was made without a prefix")


async def discard_if_deleted(
    database: Database, objects: ObjectStore, dataset: UUID, refs: Iterable[ObjectRef]
) -> None:
    """Delete the objects again if their dataset was deleted while they arrived. Raises NotFound."""
    async with database.service_transaction() as connection:
        row = await datasets.get(connection, dataset)
    if row is None:
        for ref in refs:
            await objects.delete(ref)
        raise NotFound("the dataset was deleted during the upload: nothing is kept")


def too_long_error(limit: int) -> ContentTooLarge:
    return ContentTooLarge(f"this upload may have at most {limit} bytes")


async def read_bounded(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body. Raises ContentTooLarge if it has more than `limit` bytes, and ClientDisconnect."""
    read = 0
    async for chunk in request.stream():
        read += len(chunk)
        if read > limit:
            raise too_long_error(limit)
        yield chunk


@dataclass(frozen=True, slots=True)
class Upload:
    """Stores a file of at most `limit` bytes, or exactly `limit` bytes, once it has arrived completely."""

    objects: ObjectStore
    ref: ObjectRef
    limit: int
    exact: bool = False

    async def receive(self, request: Request) -> ObjectInfo:
        """The body is the file. Raises ContentTooLarge, ObjectStoreError, and BadRequest if the client disconnects or
        sends too few bytes."""
        return await self.store(self._read_bounded(request))

    async def store(self, chunks: AsyncIterator[bytes]) -> ObjectInfo:
        """Raises ObjectStoreError, and what `chunks` raises."""
        head = bytearray()
        async for chunk in chunks:
            head += chunk
            if len(head) > MAX_IN_MEMORY_BYTES:
                return await self._store_via_temp_file(head, chunks)
        return await self.objects.put(self.ref, bytes(head), guess_media_type(self.ref.key))

    async def _read_bounded(self, request: Request) -> AsyncIterator[bytes]:
        read = 0
        try:
            async for chunk in read_bounded(request, self.limit):
                read += len(chunk)
                yield chunk
        except ClientDisconnect as error:
            raise BadRequest("the upload broke off: nothing was stored") from error
        if self.exact and read != self.limit:
            raise BadRequest(f"the body has {read} bytes instead of {self.limit}: nothing was stored")

    async def _store_via_temp_file(self, head: bytearray, rest: AsyncIterator[bytes]) -> ObjectInfo:
        with tempfile.NamedTemporaryFile(prefix="reelmill-upload-") as file:
            await asyncio.to_thread(file.write, head)
            async for chunk in rest:
                await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(file.flush)
            return await self.objects.put_file(self.ref, Path(file.name), guess_media_type(self.ref.key))


@router.get(
    "/{dataset_id}/objects",
    summary="List what is stored",
    response_model=list[StoredObjectDetails],
    dependencies=[Depends(require_scope("catalog:read"))],
)
async def list_objects(
    dataset_id: UUID,
    caller: CallerDep,
    resources: ResourcesDep,
    details: Annotated[bool, Query(description="also `etag` and `modified`")] = False,
) -> StreamingResponse:
    """Streams every object under the dataset's prefix. An upload can skip the files that are there unchanged."""
    async with resources.database.caller_transaction(caller) as connection:
        row = await get_visible_dataset(connection, dataset_id)
    check_source(row, resources.sources)
    pages = resources.objects.list(row.bucket, row.prefix)
    first: list[ObjectInfo] = await anext(pages, [])
    describe = partial(_stored_object, prefix_length=len(row.prefix), details=details)
    check = partial(require_visible_dataset, resources.database, caller, dataset_id)
    parts = stream_while_visible(_stream_json_array(first, pages, describe), check)
    return StreamingResponse(parts, media_type="application/json")


async def _stream_json_array(
    page: list[ObjectInfo], rest: AsyncIterator[list[ObjectInfo]], describe: Callable[[ObjectInfo], dict[str, Any]]
) -> AsyncIterator[str]:
    comma = ""
    yield "["
    while page:
        yield comma + ",".join(json.dumps(describe(info)) for info in page)
        page, comma = await anext(rest, []), ","
    yield "]"


def _stored_object(info: ObjectInfo, prefix_length: int, *, details: bool) -> dict[str, Any]:
    """The members of a StoredObject."""
    members: dict[str, Any] = {"name": info.key[prefix_length:], "size": info.size}
    return members | ({"etag": info.etag, "modified": info.modified.isoformat()} if details else {})
