"""Deliver a preview: from the store, or from a worker that is asked to make it. This process decodes no images."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog
from fastapi import Response
from sqlalchemy import RowMapping

from service.errors import FieldProblem, NotFound, NotReadyYet, ReelmillError, ServiceUnavailable
from service.ids import Subject
from service.plan.preview import Preview
from service.routers.http.conditional_requests import ASK_FIRST
from service.routers.http.dependencies import Resources
from service.routers.http.object_streams import read_ahead
from service.store.cache import previews
from service.store.database import Caller, Database
from service.store.objects.digests import ObjectLost, read_checked, stream_checked
from service.store.objects.object_store import ObjectNotFound, ObjectStore
from service.telemetry.metrics import FILES_LOST

log = structlog.get_logger("service.files")
POLL_INTERVAL_S = 0.05
MEDIA_TYPES = {"jpg": "image/jpeg", "json": "application/json", "npy": "application/x-npy", "png": "image/png"}


class DamagedFrame(ReelmillError):
    status, slug, title = 422, "damaged-frame", "The frame cannot be shown"


@dataclass(frozen=True, slots=True)
class PictureName:
    """What a picture is called in errors, such as "frame 5", and the parameter that names it."""

    words: str
    parameter: str


@dataclass(frozen=True, slots=True)
class _Found:
    data: bytes
    transient: bool


async def respond_with(resources: Resources, preview: Preview, caller: Caller, name: PictureName) -> Response:
    """The picture from the store; if it is not there as it was written, wait for a worker to make it.

    Raises DamagedFrame, NotFound, TooManyRequests, or NotReadyYet after `preview_wait_s`.
    """
    database, objects = resources.database, resources.objects
    if (found := await _read_preview(database, objects, preview)) is None:
        await _wait_for_preview(resources, preview, caller.subject, name)
        found = await _read_preview(database, objects, preview)
    if found is None:
        raise _lost_error()
    headers = image_headers(f'"{preview.digest}"')
    if found.transient:
        headers = headers | {"Cache-Control": "no-store"}
        del headers["ETag"]
    return Response(found.data, media_type=MEDIA_TYPES[preview.suffix], headers=headers)


async def open_made(
    resources: Resources, preview: Preview, caller: Caller, name: PictureName
) -> tuple[int, AsyncIterator[bytes]]:
    """The size in bytes and the bytes of a preview that is too large for the memory; if it is not there, wait as
    `respond_with` does. Raises the same.

    The bytes end with ObjectLost before the last of them if they are damaged; the next request has it made again.
    """
    if (opened := await _open_preview(resources, preview)) is None:
        await _wait_for_preview(resources, preview, caller.subject, name)
        opened = await _open_preview(resources, preview)
    if opened is None:
        raise _lost_error()
    return opened


def _lost_error() -> ServiceUnavailable:
    detail = "the object store has lost the preview that was just rendered: have it checked"
    return ServiceUnavailable(detail, headers={"Retry-After": "60"})


def image_headers(tag: str) -> dict[str, str]:
    """Users upload these files: keep browsers from treating them as anything but an image."""
    return {
        "ETag": tag,
        **ASK_FIRST,
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


def cannot_show(name: PictureName, reason: str, code: str = "damaged_frame") -> DamagedFrame:
    detail = f"{name.words} cannot be shown: {reason}"
    return DamagedFrame(detail, errors=(FieldProblem(detail, code, parameter=name.parameter),))


async def _read_preview(database: Database, objects: ObjectStore, preview: Preview) -> _Found | None:
    """None if it was not rendered yet, was evicted, or is damaged."""
    async with database.service_transaction() as connection:
        stored = await previews.find_preview(connection, preview)
    if stored is None:
        return None
    try:
        return _Found(await read_checked(objects, stored.written), stored.transient)
    except ObjectNotFound as loss:
        if isinstance(loss, ObjectLost):
            _note_loss(preview, loss)
        return None


async def _open_preview(resources: Resources, preview: Preview) -> tuple[int, AsyncIterator[bytes]] | None:
    """None if it was not made yet, was evicted, or its beginning is damaged."""
    async with resources.database.service_transaction() as connection:
        stored = await previews.find_preview(connection, preview)
    if stored is None:
        return None

    async def read() -> AsyncIterator[bytes]:
        try:
            async for chunk in stream_checked(resources.objects, stored.written):
                yield chunk
        except ObjectLost as loss:
            _note_loss(preview, loss)
            async with resources.database.service_transaction() as connection:
                await previews.forget_preview(connection, stored.written)
            raise

    try:
        return stored.size, await read_ahead(read())
    except ObjectNotFound:
        return None


def _note_loss(preview: Preview, loss: ObjectLost) -> None:
    FILES_LOST.labels("preview").inc()
    log.warning("a preview is rendered again", dataset=str(preview.dataset), reason=str(loss))


async def _wait_for_preview(resources: Resources, preview: Preview, owner: Subject, name: PictureName) -> None:
    async with resources.database.service_transaction() as connection:
        task = await previews.enqueue_preview(connection, preview, owner)
    clock = asyncio.get_running_loop().time
    deadline = clock() + resources.http.preview_wait_s
    while True:
        async with resources.database.service_transaction() as connection:
            state = await previews.get_task_state(connection, task)
        if state is None:
            raise NotFound("the dataset was deleted")
        if state["state"] == "succeeded":
            return
        if state["state"] == "failed":
            raise _to_error(state, name)
        if clock() > deadline:
            detail = "the preview is not ready yet: a worker will make it, ask again"
            raise NotReadyYet(detail, headers={"Retry-After": "2"})
        await asyncio.sleep(POLL_INTERVAL_S)


def _to_error(state: RowMapping, name: PictureName) -> ReelmillError:
    code, reason = state["error"]["code"], state["error"]["reason"]
    match code:
        case "changed":
            return NotReadyYet(f"{name.words} was just replaced: ask again", headers={"Retry-After": "1"})
        case "missing":
            return NotFound(f"{name.words} is gone: {reason}")
        case "skipped":
            return cannot_show(name, f"the render leaves it out ({reason})", "skipped")
        case "frame_policy":
            return cannot_show(name, f"the render would fail here ({reason})", "frame_policy")
    return cannot_show(name, reason)
