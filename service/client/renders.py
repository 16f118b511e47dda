"""Renders: submit, follow, look at, download."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from service.client.entity import Entity
from service.client.errors import BrokenOff, Conflict, DownloadDiffers, Refused, RenderFailed, refusal
from service.client.events import read_events
from service.client.fields import DeletedFields, EstimateFields, RenderFields
from service.client.receipts import Receipt
from service.client.requests import Request, list_of, require_object

if TYPE_CHECKING:
    from service.client.transport import Transport

PAGE = 100
ENDED = ("succeeded", "failed", "cancelled")
DOWNLOAD_ATTEMPTS, OK = 3, 200


async def submit(transport: Transport, body: Mapping[str, Any]) -> AsyncRender:
    """Submit a render request: once, however often the connection breaks. Raises Refused, Unreachable."""
    _require_render(body)
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    accepted = require_object(await transport.call("generate", body=body, headers=headers))
    render = AsyncRender(transport, accepted)
    estimate = accepted.get("estimate")
    await render.refresh()
    render.estimate = EstimateFields.of(estimate) if estimate else None
    return render


def _require_render(body: Mapping[str, Any]) -> None:
    """Raises ValueError for a request that makes no render: there would be nothing to return."""
    if body.get("dry_run"):
        raise ValueError("dry_run makes no render: ask for an estimate of the dataset")


class AsyncRenders:
    """The renders that the caller may see."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(self, **filters: Any) -> AsyncIterator[AsyncRender]:
        """Newest first. `filters` are those of the API: `status`, `experiment_id`, `dataset_id`, `mine`, …"""
        async for row in self._transport.rows("/api/videos", {"limit": PAGE} | filters):
            yield AsyncRender(self._transport, row)

    async def get(self, job_id: UUID | str) -> AsyncRender:
        """Raises NotFound."""
        return AsyncRender(self._transport, require_object(await self._transport.call("get_video", job_id=job_id)))

    async def latest(self, **filters: Any) -> AsyncRender:
        """The newest that has succeeded, of `experiment_id`, `dataset_id` and `preset`. Raises NotFound."""
        return AsyncRender(self._transport, require_object(await self._transport.call("latest_status", **filters)))

    async def submit_many(self, requests: Sequence[Mapping[str, Any]]) -> Sequence[AsyncRender | Refused]:
        """Submit up to 1,000 requests at once: for each, in order, its render or why it was refused.

        Once, however often the connection breaks. Raises Refused for what concerns all of them, Unreachable.
        """
        for each in requests:
            _require_render(each)
        renders = [{"idempotency_key": str(uuid.uuid4())} | dict(each) for each in requests]
        request = Request("POST", "/api/videos/batch", body={"renders": renders}, is_harmless=True)
        return [self._outcome_of(row) for row in list_of(await self._transport.send(request))]

    def _outcome_of(self, row: Mapping[str, Any]) -> AsyncRender | Refused:
        if row["job"] is not None:
            return AsyncRender(self._transport, row["job"])
        return refusal(row["status"], row["problem"])

    async def submit(self, **request: Any) -> AsyncRender:
        """Submit a request with the fields of the API: `experiment_id`, `decimation_factor`, `fps`, …"""
        return await submit(self._transport, request)


class AsyncRender(Entity, RenderFields):
    """A render: under way, or the video that it made."""

    _key = "job_id"
    estimate: EstimateFields | None = None

    @property
    def id(self) -> str:
        return self.job_id

    @property
    def is_done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.status in ENDED

    async def refresh(self) -> None:
        self.fields = require_object(await self._transport.call("get_video", job_id=self.id))

    async def statuses(self) -> AsyncIterator[dict[str, Any]]:
        """Its statuses as they change, until it ends."""
        async for event in read_events(self._transport, f"/api/videos/{self.id}/events"):
            if event.name == "status":
                status = require_object(event.data)
                self.fields |= status
                yield status
                if status.get("status") in ENDED:
                    return

    async def wait(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 (as futures and threads call it)
        on_progress: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Self:
        """Wait until it has succeeded; `on_progress` is called with each status. Raises RenderFailed, TimeoutError."""
        async with asyncio.timeout(timeout):
            async for status in self.statuses():
                if on_progress is not None:
                    on_progress(status)
        await self.refresh()
        if self.status != "succeeded":
            raise RenderFailed(self.fields)
        return self

    async def save(self, path: Path | str | None = None) -> Path:
        """Download the video to a file, which is there only when it is whole; its name without `path` is that of the
        job. Raises Conflict if it is not finished, DownloadDiffers."""
        if self.status != "succeeded":
            raise Conflict(409, {"detail": f"the render is {self.status}: wait until it has succeeded"})
        target = Path(path) if path is not None else Path(f"{self.id}.{self.options['container']}")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")  # others may write to the same
        try:
            with partial.open("wb") as file:
                async for chunk in self.video():
                    file.write(chunk)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    async def video(self) -> AsyncIterator[bytes]:
        """The bytes of the video; what breaks off goes on where it was. Raises DownloadDiffers at the end if they are
        not those of the receipt."""
        digest, done, sha256 = hashlib.sha256(), 0, self.video_sha256
        for attempt in range(DOWNLOAD_ATTEMPTS):
            headers = {"Range": f"bytes={done}-", "If-Range": f'"{sha256}"'} if done else {}
            try:
                async with self._transport.stream(f"/api/videos/{self.id}/video", headers) as response:
                    skip = done if response.status_code == OK else 0
                    async for chunk in response.aiter_bytes():
                        new, skip = chunk[skip:], max(0, skip - len(chunk))
                        digest.update(new)
                        done += len(new)
                        yield new
                break
            except BrokenOff:
                if attempt + 1 == DOWNLOAD_ATTEMPTS:
                    raise
        if digest.hexdigest() != sha256:
            raise DownloadDiffers("the downloaded video differs from the one in the receipt: try again")

    async def receipt(self) -> Receipt:
        """What became of every frame. Raises NotFound before it has succeeded."""
        return Receipt.parse(await self.receipt_bytes())

    async def receipt_bytes(self) -> bytes:
        """The receipt as it is stored (NDJSON)."""
        return await self._file("receipt")

    async def poster(self) -> bytes:
        """A JPEG of the middle of the video."""
        return await self._file("poster")

    async def frame(self, number: int) -> OutputFrame:
        """Output frame `number`, exactly, with its line of the receipt. Raises NotFound."""
        picture = await self._file(f"frames/{number}/image")
        lines = [line for line in await self.receipt() if line["output"] == number]
        return OutputFrame(number, picture, lines[0] if lines else {})

    async def _file(self, name: str) -> bytes:
        return (await self._transport.get(f"/api/videos/{self.id}/{name}")).content

    async def cancel(self) -> None:
        self.fields |= require_object(await self._transport.call("cancel_video", job_id=self.id))

    async def retry(self) -> None:
        """Queue what has failed or was cancelled again."""
        self.fields |= require_object(await self._transport.call("retry_video", job_id=self.id))

    async def change(self, *, priority: int) -> None:
        body = {"priority": priority}
        self.fields |= require_object(await self._transport.call("change_video", job_id=self.id, body=body))

    async def delete(self, *, force: bool = False) -> DeletedFields:
        """With its video and receipt; a running one only with `force`."""
        answer = await self._transport.call("delete_video", job_id=self.id, force=force or None)
        return DeletedFields.of(require_object(answer))


class OutputFrame:
    """A frame of a finished video: `png` as a player shows it, and its `line` of the receipt."""

    def __init__(self, number: int, png: bytes, line: Mapping[str, Any]) -> None:
        self.number, self.png, self.line = number, png, line

    def array(self) -> Any:
        """(height, width, 3) of 8 bits. Pillow must be installed."""
        import io

        import numpy as np
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(self.png)))

    def _repr_png_(self) -> bytes:
        return self.png
