"""The files of finished renders: each is checked before it is sent, and one that is gone or damaged is made again."""

from collections.abc import AsyncIterator

import structlog
from sqlalchemy import RowMapping

from service.errors import Conflict, NotFound, ReelmillError, ServiceUnavailable
from service.ids import RenderId
from service.plan.render_plan import ObjectRef
from service.routers.http.dependencies import Resources
from service.routers.http.object_streams import read_ahead
from service.store.objects.digests import ObjectLost, WrittenObject, check_object, read_checked, stream_checked
from service.store.objects.keys import render_object_key
from service.store.objects.object_store import ObjectNotFound, ObjectStoreError, ObjectVersion
from service.store.renders import lifecycle, queries
from service.store.renders.lifecycle import REMAKE_PAUSE_S
from service.store.renders.queries import VIDEO_FILE
from service.telemetry.metrics import FILES_LOST

log = structlog.get_logger("service.files")


class FileLost(Conflict):
    """A file of a finished render was gone, or had other bytes than were written. It is made again: follow the status
    of the render (`status_url`), then ask again."""

    slug, title = "file-lost", "The file was lost and is being made again"


async def require_video(resources: Resources, row: RowMapping) -> ObjectVersion:
    """The object of the render's video, if it has the size and the ETag of the file that was published.

    With another ETag all bytes are compared, once: the object may have been copied. Raises what `lost_file` returns,
    and Conflict if the render has no video.
    """
    if row["video_key"] is None:
        raise Conflict(f"the video is not there: the render is {row['status']}")
    ref = ObjectRef(resources.objects.bucket, row["video_key"])
    try:
        info = await resources.objects.head(ref)
        if info.size != row["video_bytes"]:
            raise ObjectLost(f"it has {info.size} bytes, not {row['video_bytes']}")
        if info.etag != row["video_etag"]:
            await resources.video_checks.run(row["id"], lambda: _compare_video(resources, row, info.etag))
    except ObjectNotFound as loss:
        raise await lost_file(resources, row, VIDEO_FILE, str(loss)) from loss
    return ObjectVersion(ref, info.etag, info.size)


async def _compare_video(resources: Resources, row: RowMapping, etag: str) -> None:
    await check_object(resources.objects, WrittenObject(row["video_key"], row["video_sha256"]))
    async with resources.database.service_transaction() as connection:
        await queries.update_video_etag(connection, row["id"], row["video_sha256"], etag)


async def remake_if_lost(resources: Resources, row: RowMapping) -> RowMapping:
    """The row of a finished render; if its video is lost, the row of the render that makes it again.

    Raises ServiceUnavailable, NotFound.
    """
    try:
        await require_video(resources, row)
    except FileLost:
        async with resources.database.service_transaction() as connection:
            return await queries.get_render(connection, row["id"]) or row
    return row


async def stream_whole_video(resources: Resources, row: RowMapping) -> AsyncIterator[bytes]:
    """All of the video, compared with its digest on the way: if it is damaged, the last bytes are not sent.

    Raises what `lost_file` returns, before the response starts if the video is short.
    """
    written = WrittenObject(row["video_key"], row["video_sha256"])
    return await read_ahead(_report_loss(resources, row, VIDEO_FILE, written))


async def read_file(resources: Resources, row: RowMapping, name: str) -> bytes:
    """A small file of the render by name. Raises what `lost_file` returns."""
    try:
        return await read_checked(resources.objects, _written(row, name))
    except ObjectNotFound as loss:
        raise await lost_file(resources, row, name, str(loss)) from loss


async def stream_file(resources: Resources, row: RowMapping, name: str) -> AsyncIterator[bytes]:
    """A file of the render by name, of any length: it is read twice, and checked before the response starts."""
    written = _written(row, name)
    try:
        if written.sha256 is not None:
            await check_object(resources.objects, written)
    except ObjectNotFound as loss:
        raise await lost_file(resources, row, name, str(loss)) from loss
    return await read_ahead(_report_loss(resources, row, name, written))


def _written(row: RowMapping, name: str) -> WrittenObject:
    return WrittenObject(render_object_key(row["id"], name), row["digests"].get(name))


async def _report_loss(
    resources: Resources, row: RowMapping, file: str, written: WrittenObject
) -> AsyncIterator[bytes]:
    try:
        async for chunk in stream_checked(resources.objects, written):
            yield chunk
    except ObjectNotFound as loss:
        if isinstance(loss, ObjectLost) and await _is_stored_right(resources, written):
            raise ObjectStoreError(f"{written.key} was damaged on its way from the object store") from loss
        raise await lost_file(resources, row, file, str(loss)) from loss


async def _is_stored_right(resources: Resources, written: WrittenObject) -> bool:
    try:
        await check_object(resources.objects, written)
    except ObjectNotFound:
        return False
    return True


async def lost_file(resources: Resources, row: RowMapping, file: str, reason: str) -> ReelmillError:
    """Have the files of the render made again, because this one is lost. The error to raise: FileLost, or one that
    says why it is not made again."""
    render = RenderId(row["id"])
    async with resources.database.service_transaction() as connection:
        started = await lifecycle.remake_render(connection, render, file, reason)
        is_written = await queries.has_running_task(connection, render)  # if not any more, the row says so
        now = await queries.get_render(connection, render)
    if now is None:
        return NotFound("there is no such render")
    if started:
        FILES_LOST.labels(file).inc()
        log.warning("a file of a render is made again", render=str(render), file=file, reason=reason)
    made_anew = any(now[name] != row[name] for name in ("digests", "video_etag"))
    if started or made_anew or is_written or now["status"] in ("queued", "running"):
        detail = f"{file} was lost and is being made again: follow {_status_url(row)}, then ask again"
        return FileLost(detail, headers={"Retry-After": "2"}, extensions={"status_url": _status_url(row)})
    if now["status"] != "succeeded":
        return Conflict(f"{file} was lost and could not be made again, the render is {now['status']}: retry it")
    detail = (
        f"{file} was made again and is lost again ({now['error']['reason']})"
        if now["error"]
        else (f"the object store has lost {file} again: have it checked")
    )
    return ServiceUnavailable(detail, headers={"Retry-After": str(REMAKE_PAUSE_S)})


def _status_url(row: RowMapping) -> str:
    return f"/api/videos/{row['id']}"
