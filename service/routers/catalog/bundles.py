"""Upload many files into a dataset in one request: a tar archive, whose files are stored while it arrives."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Request
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from service.errors import FieldProblem, InvalidRequest, ReelmillError
from service.plan.names.safe_paths import safe_path
from service.plan.render_plan import ObjectRef
from service.routers.catalog.access import CatalogDep
from service.routers.catalog.dataset_models import BundledFile
from service.routers.catalog.tar_stream import MalformedTar, TarMember, TarStream, printable
from service.routers.catalog.uploads import (
    Reservation,
    Upload,
    announced_size,
    discard_if_deleted,
    find_upload_area,
    read_bounded,
    reserve,
    too_long_error,
)
from service.routers.http.dependencies import CallerDep, Resources, ResourcesDep, require_scope
from service.routers.http.exception_mapping import BadRequest, ContentTooLarge
from service.routers.http.object_streams import binary_content, guess_media_type
from service.routers.http.problems import error_responses, to_item_problem
from service.store.catalog.datasets import DatasetRow
from service.store.objects.object_store import ObjectInfo, ObjectStoreError
from service.store.usage import QuotaExceeded

log = structlog.get_logger("service.files")
router = APIRouter(prefix="/api/datasets", tags=["datasets"])
MAX_FILES = 1000
# Of an archive: what stands between the contents, some 4 KiB for each file.
MAX_HEADER_BYTES = 4 * 1024 * MAX_FILES
# So many files are written at once, while the next one arrives; longer ones alone, as single uploads are.
MAX_WRITES, MAX_BUFFERED_BYTES = 8, 1024 * 1024
# The store has failed as often: it is not to be asked for each of a thousand files.
MAX_STORE_FAILURES = 3
BUNDLE_REQUEST_BODY = {"required": True, "content": binary_content("application/x-tar", "a tar archive")}


@router.post(
    "/{dataset_id}/objects",
    summary="Upload many frames at once",
    response_model=list[BundledFile],
    response_model_exclude_none=True,
    responses=error_responses(409),
    dependencies=[Depends(require_scope("catalog:write"))],
    openapi_extra={"requestBody": BUNDLE_REQUEST_BODY},
)
async def upload_bundle(
    dataset_id: UUID, request: Request, caller: CallerDep, resources: ResourcesDep, settings: CatalogDep
) -> list[BundledFile]:
    """The body is a tar archive that is not compressed, of at most 1,000 files, as `tar -cf - *.jpg` writes it. Each
    file is stored as by `PUT …/objects/{name}` as soon as it has arrived, and answered in its order: with its size and
    ETag, or with the problem why it was not stored. Folders are passed over. If the body breaks off, or is no archive
    from some place on, the answer is 400, and the files before that place stay: `stored_files` says how many. Scan the
    dataset after the uploads."""
    row = await find_upload_area(resources, caller, dataset_id)
    limit = settings.max_upload_bytes
    size = announced_size(request, limit + MAX_HEADER_BYTES)
    async with AsyncExitStack() as stack:
        room = None
        with suppress(QuotaExceeded):  # then there may be room for some of the files
            room = await stack.enter_async_context(reserve(resources, row, size))
        bundle = _Bundle(resources, row, request.scope, limit, room)
        try:
            await bundle.receive(TarStream(read_bounded(request, limit + MAX_HEADER_BYTES)))
        finally:
            await discard_if_deleted(resources.database, resources.objects, dataset_id, bundle.stored.values())
    return [found for found in bundle.files if found is not None]


class _Bundle:
    """Stores the files of one archive."""

    def __init__(
        self, resources: Resources, row: DatasetRow, scope: Scope, limit: int, room: Reservation | None
    ) -> None:
        """A file may have `limit` bytes. Without `room` for the whole archive, each file needs its own."""
        self._resources, self._row, self._scope, self._limit, self._room = resources, row, scope, limit, room
        # In their order; None until it is known what becomes of the file.
        self.files: list[BundledFile | None] = []
        self.stored: dict[int, ObjectRef] = {}
        self._writes: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(MAX_WRITES), resources.archive_writes
        self._store_failures: list[ObjectStoreError] = []

    async def receive(self, archive: TarStream) -> None:
        """Raises BadRequest and ContentTooLarge, which say how many files were stored, and ObjectStoreError."""
        try:
            await self._receive(archive)
        except ClientDisconnect as error:
            raise self._broken_off(BadRequest, "the upload breaks off") from error
        except MalformedTar as error:
            raise self._broken_off(BadRequest, str(error)) from error
        except ContentTooLarge as error:
            raise self._broken_off(ContentTooLarge, error.detail) from error

    async def _receive(self, archive: TarStream) -> None:
        members = 0
        try:
            async for member in archive.members():
                members += 1
                if members > MAX_FILES:
                    raise ContentTooLarge(f"one archive may have at most {MAX_FILES} members")
                if member.kind != "a folder":  # `tar -cf - .` begins all names with a dot
                    await self._take(replace(member, name=member.name.removeprefix("./")), archive)
        finally:
            outcomes = await asyncio.gather(*self._writes.values(), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        reasons = [found.problem.detail for found in self.files if found is not None and found.problem is not None]
        if reasons:
            facts = {"dataset": str(self._row.id), "stored": len(self.stored), "refused": len(reasons)}
            log.info("files of an archive were refused", **facts, reason=reasons[0])

    def _broken_off(self, kind: type[ReelmillError], detail: str) -> ReelmillError:
        count = len(self.stored)
        return kind(f"{detail}: {count} files before that are stored", extensions={"stored_files": count})

    async def _take(self, member: TarMember, archive: TarStream) -> None:
        """Store the file or begin to, and note it in its place."""
        place = len(self.files)
        self.files.append(None)
        if (problem := self._refusal(member)) is not None:
            self._refuse(place, member, problem)
            return
        if len(self._store_failures) >= MAX_STORE_FAILURES:
            raise self._store_failures[-1]
        if (earlier := self._writes.pop(member.name, None)) is not None:
            await earlier  # of two files of one name the last one stays
        ref = ObjectRef(self._row.bucket, self._row.prefix + member.name)
        if member.size > MAX_BUFFERED_BYTES or self._room is None:  # what comes first has the rest of the quota
            upload = Upload(self._resources.objects, ref, member.size)
            await self._store(place, member, partial(upload.store, archive.content()))
            return
        data = await archive.read()
        for writes in self._slots:
            await writes.acquire()
        put = partial(self._resources.objects.put, ref, data, guess_media_type(member.name))
        self._writes[member.name] = task = asyncio.create_task(self._store(place, member, put))
        task.add_done_callback(self._free_slots)

    def _free_slots(self, _: "asyncio.Task[None]") -> None:
        for writes in self._slots:
            writes.release()

    def _refusal(self, member: TarMember) -> ReelmillError | None:
        if member.kind is not None:
            detail = f"{member.kind} is not stored: send plain files"
            return InvalidRequest(detail, errors=(FieldProblem(detail, "not_a_file"),))
        if member.size > self._limit:
            return too_long_error(self._limit)
        try:
            safe_path(member.name)
        except ValueError as error:
            detail = f"this name cannot be stored: {error}"
            return InvalidRequest(detail, errors=(FieldProblem(detail, "unsafe_name"),))
        return None

    async def _store(self, place: int, member: TarMember, write: Callable[[], Awaitable[ObjectInfo]]) -> None:
        """Raises what is no fault of the store or of this file."""
        try:
            async with self._find_room(member.size) as room:
                info = await write()
                room.stored += info.size
        except (ObjectStoreError, QuotaExceeded) as error:
            if isinstance(error, ObjectStoreError):
                self._store_failures.append(error)
            self._refuse(place, member, error)
            return
        self.stored[place] = ObjectRef(self._row.bucket, info.key)
        self.files[place] = BundledFile(name=member.name, size=info.size, etag=info.etag)

    @asynccontextmanager
    async def _find_room(self, size: int) -> AsyncIterator[Reservation]:
        """Raises QuotaExceeded."""
        if self._room is not None:
            yield self._room
        else:
            async with reserve(self._resources, self._row, size) as room:
                yield room

    def _refuse(self, place: int, member: TarMember, error: Exception) -> None:
        problem = to_item_problem(error, self._scope)
        self.files[place] = BundledFile(name=printable(member.name), problem=problem)
