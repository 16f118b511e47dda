"""The picture of a frame: its own bytes, or a preview that a worker makes. Nothing is decoded in this process."""

import asyncio
from dataclasses import dataclass, replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import RowMapping

from service.errors import FieldProblem, NotFound, ReelmillError, Unavailable
from service.plan.preview import Preview
from service.plan.render_plan import FrameRef, ObjectRef
from service.plan.tone import Levels, resolve_tone
from service.routers.catalog import seen_dataset
from service.routers.deps import CallerDep, LimitsDep, ResourcesDep, require
from service.routers.object_body import begun
from service.routers.preconditions import TAGGED, IfNoneMatch, unchanged
from service.routers.problems import described
from service.store import frames, previews
from service.store.database import Caller, Database
from service.store.objects import ObjectMissing, ObjectStore

router = APIRouter(prefix="/api/datasets", tags=["datasets"])
LARGEST = 2**63 - 1
WIDEST = 1920
POLL_S = 0.05
TYPES = {"jpeg": "image/jpeg", "png": "image/png", "tiff": "image/tiff", "webp": "image/webp"}
UNKNOWN = "application/octet-stream"
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture",
        "headers": TAGGED,
        "content": {
            name: {"schema": {"type": "string", "format": "binary"}, "example": "(bytes of a picture)"}
            for name in (*TYPES.values(), UNKNOWN)
        },
    },
    304: {"description": "The caller has it already"},
    **described(429),
}


class DamagedFrame(ReelmillError):
    status, slug, title = 422, "damaged-frame", "The frame cannot be shown"


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame of a dataset as the caller may see it: `row` is its row, None for a picture of a source video."""

    dataset: RowMapping
    frame: FrameRef
    row: RowMapping | None

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef(self.dataset["bucket"], self.frame.key or "")


@router.get(
    "/{dataset_id}/frames/{index}/image",
    summary="Look at a frame",
    response_class=Response,
    responses=PICTURE,
    dependencies=[Depends(require("catalog:read"))],
)
async def frame_image(
    dataset_id: UUID,
    index: Annotated[int, Path(ge=0, le=LARGEST, description="its place in the sequence")],
    who: CallerDep,
    at: ResourcesDep,
    limits: LimitsDep,
    width: Annotated[
        int | None, Query(ge=16, le=WIDEST, description="a JPEG of this width, or of the frame's own if that is less")
    ] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The stored bytes; with `width`, and always for pictures of source videos, a JPEG that a worker makes and that is
    kept for the next who asks. 422 says why a damaged frame cannot be shown; 503 with `Retry-After` that it takes
    longer than 5 s: ask again."""
    shown = await _seen(at.database, who, dataset_id, index)
    if width is None and shown.row is not None:
        return await _original(at.objects, shown, if_none_match)
    if shown.row is not None and shown.row["problem"]:
        raise _damaged(index, shown.row["problem"])
    wanted = await _preview(at.objects, shown, width or WIDEST, limits.max_pixels)
    tag = f'"{wanted.digest}"'
    if (same := unchanged(if_none_match, tag)) is not None:
        return same
    data = await _made(at.database, at.objects, wanted, at.http.preview_wait_s)
    return Response(data, media_type="image/jpeg", headers=_headers(tag))


async def _seen(database: Database, who: Caller, dataset_id: UUID, index: int) -> Shown:
    async with database.caller(who) as connection:
        dataset = await seen_dataset(connection, dataset_id)
        if dataset["kind"] == "video":
            frame, row = await frames.picture_at(connection, dataset_id, index), None
        else:
            row = await frames.at(connection, dataset_id, index)
            frame = _frame_of(row) if row else None
    if frame is None:
        raise NotFound("there is no such frame in this dataset")
    return Shown(dataset, frame, row)


def _frame_of(row: RowMapping) -> FrameRef:
    return FrameRef(
        row["index"], row["key"], row["etag"], row["size"], page=row["page"], page_offset=row["page_offset"]
    )


async def _original(objects: ObjectStore, shown: Shown, if_none_match: str | None) -> Response:
    assert shown.row is not None
    info = await objects.head(shown.ref)
    tag = f'"{info.etag}"'
    headers = _headers(tag) | {"Content-Length": str(info.size)}
    kind = TYPES.get(shown.row["format"] or "", UNKNOWN)
    if same := unchanged(if_none_match, tag):
        return same
    return StreamingResponse(await begun(objects, shown.ref, 0, info.size), 200, headers, kind)


def _headers(tag: str) -> dict[str, str]:
    """Stored files are a user's: no browser may take them for anything but a picture."""
    return {
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


async def _preview(objects: ObjectStore, shown: Shown, width: int, max_pixels: int) -> Preview:
    """Of the object as it is now, which may differ from what the scan saw. Raises ObjectMissing."""
    info, frame = await objects.head(shown.ref), shown.frame
    now = replace(frame, etag=info.etag, size=info.size)
    dataset = shown.dataset
    tone = resolve_tone(None, Levels.from_json(dataset["levels"]) if dataset["levels"] else None)
    return Preview(dataset["id"], dataset["kind"], dataset["bucket"], now, width, max_pixels, tone)


async def _made(database: Database, objects: ObjectStore, wanted: Preview, patience_s: float) -> bytes:
    """From the store, or when a worker has put it there. Raises DamagedFrame, Unavailable, NotFound."""
    ref = ObjectRef(objects.bucket, wanted.key)
    try:
        return await objects.get(ref)
    except ObjectMissing:
        await _wait(database, wanted, patience_s)
    return await objects.get(ref)


async def _wait(database: Database, wanted: Preview, patience_s: float) -> None:
    async with database.service() as connection:
        task = await previews.ask(connection, wanted)
    clock = asyncio.get_running_loop().time
    until = clock() + patience_s
    while True:
        async with database.service() as connection:
            found = await previews.state(connection, task)
        if found is None:
            raise NotFound("the dataset was deleted")
        if found["state"] == "succeeded":
            return
        if found["state"] == "failed":
            raise _failure(wanted, found["error"])
        if clock() > until:
            detail = "the preview is not ready yet: a worker will make it, ask again"
            raise Unavailable(detail, headers={"Retry-After": "2"})
        await asyncio.sleep(POLL_S)


def _failure(wanted: Preview, error: dict[str, Any]) -> ReelmillError:
    if error["code"] == "missing":
        return NotFound(f"frame {wanted.frame.index} is gone: {error['reason']}")
    return _damaged(wanted.frame.index, error["reason"])


def _damaged(index: int, reason: str) -> DamagedFrame:
    detail = f"frame {index} cannot be shown: {reason}"
    return DamagedFrame(detail, errors=(FieldProblem(detail, "damaged_frame", parameter="index"),))
