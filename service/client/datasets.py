"""A dataset: its frames, uploads into it, and renders of it."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Unpack

from service.client.entity import Entity
from service.client.errors import Conflict, Invalid
from service.client.fields import DatasetFields, DeletedFields, EstimateFields, RenderOptions
from service.client.files.growing import GrowingFolder
from service.client.files.local_files import FolderSurvey, survey_folder
from service.client.files.uploads import ProgressCallback, UploadResult, upload_survey
from service.client.frames import AsyncFrame, AsyncFrames
from service.client.renders import AsyncRender, submit
from service.client.requests import require_object

POLL_S = 0.3


class AsyncDataset(Entity, DatasetFields):
    """The frames of a camera, or source videos, in order."""

    def __len__(self) -> int:
        return self.frame_count

    async def refresh(self) -> None:
        self.fields = require_object(await self._transport.call("get_dataset", dataset_id=self.id))

    async def frame(self, index: int) -> AsyncFrame:
        """The frame at this place; -1 is the last. Raises IndexError, NotFound."""
        return await self.frames().frame(index)

    def frames(self, start: int | None = None, stop: int | None = None, step: int | None = None) -> AsyncFrames:
        """Those from `start` on, before `stop`, as in a slice: `frames(-100)` are the last hundred."""
        return self.part(slice(start, stop, step))

    def part(self, places: slice) -> AsyncFrames:
        return AsyncFrames(self._transport, self.id, range(self.frame_count)[places])

    async def upload(
        self, folder: Path | str, on_progress: ProgressCallback | None = None, *, checksum: bool = False
    ) -> UploadResult:
        """Upload the new and changed files of a folder, and scan them. It can be repeated after an interruption.

        `checksum`: compare contents, not times. Raises FolderError if there is nothing to upload, Refused if the scan
        fails, Unreachable.
        """
        survey = await asyncio.to_thread(survey_folder, Path(folder), self.kind)
        return await self.upload_survey(survey, on_progress, checksum=checksum)

    async def upload_survey(
        self, survey: FolderSurvey, on_progress: ProgressCallback | None = None, *, checksum: bool = False
    ) -> UploadResult:
        """As `upload`, of a folder that was looked at before."""
        show = on_progress or _ignore
        result = await upload_survey(self._transport, self.id, survey, show, checksum=checksum)
        await self.scan(lambda scanned: show("scan", scanned, result.total))
        show("scan", result.total, result.total)
        return result

    async def start_following(self) -> None:
        """Have the service follow it: new objects below its prefix become frames without a scan being asked for."""
        self.fields = require_object(await self._transport.call("follow_dataset", dataset_id=self.id))

    async def stop_following(self) -> None:
        """End that; the frames stay."""
        self.fields = require_object(await self._transport.call("unfollow_dataset", dataset_id=self.id))

    def growing_folder(self, folder: Path | str) -> GrowingFolder:
        """A folder that is still written, whose files are uploaded when they have stopped growing."""
        return GrowingFolder(self._transport, self.id, self.kind, Path(folder))

    async def scan(self, on_progress: Callable[[int], None] | None = None) -> None:
        """Look at the stored objects anew, and wait until that is done. Raises Invalid with the reason if it fails."""
        await self._wait_while_scanning(None)  # an earlier scan would miss the last files
        await self._transport.call("scan_dataset", dataset_id=self.id)
        await self.wait_until_scanned(on_progress)

    async def wait_until_scanned(self, on_progress: Callable[[int], None] | None = None) -> None:
        """Wait until no scan is under way. Raises Invalid with the reason if the last one failed."""
        await self._wait_while_scanning(on_progress)
        if self.state == "failed":
            raise Invalid(422, {"detail": f"the scan failed: {self.error}"})

    async def _wait_while_scanning(self, on_progress: Callable[[int], None] | None) -> None:
        while True:
            await self.refresh()
            if self.state != "scanning":
                return
            if on_progress is not None:
                on_progress(self.scanned)
            await asyncio.sleep(POLL_S)

    async def render(self, *, decimation: int | None = None, **options: Unpack[RenderOptions]) -> AsyncRender:
        """Submit a render of this dataset: of every frame at 30 frames a second, or as options and a preset say.
        `tone="percentile"` is short for `{"mode": "percentile"}`.

        A render of the same options is joined. Raises Invalid, with the field.
        """
        return await submit(self._transport, self.render_request(decimation=decimation, **options))

    async def estimate(self, *, decimation: int | None = None, **options: Unpack[RenderOptions]) -> EstimateFields:
        """What such a render would take, without submitting it."""
        body = self.render_request(decimation=decimation, **options) | {"dry_run": True}
        answer = require_object(await self._transport.call("generate", body=body))
        return EstimateFields.of(require_object(answer.get("estimate")))

    def render_request(self, *, decimation: int | None = None, **options: Unpack[RenderOptions]) -> dict[str, Any]:
        """What `render` sends, for a schedule and for `submit_many`."""
        given: dict[str, Any] = dict(options)
        if isinstance(given.get("tone"), str):
            given["tone"] = {"mode": given["tone"]}
        if decimation is not None:
            given["decimation_factor"] = decimation
        place = {"experiment_id": self.experiment_id, "dataset_id": self.id}
        return place | with_defaults(given)

    async def change(self, **fields: Any) -> None:
        """Change the `name`."""
        self.fields = require_object(await self._transport.call("change_dataset", dataset_id=self.id, body=fields))

    async def delete(self, *, force: bool = False, frames: bool = False) -> DeletedFields:
        """With its renders, running ones only with `force`; uploaded files only with `frames`."""
        answer = await self._transport.call(
            "delete_dataset", dataset_id=self.id, force=force or None, frames=frames or None
        )
        return DeletedFields.of(require_object(answer))

    def require_kind(self, kind: str) -> None:
        """Raises Conflict."""
        if self.kind != kind:
            reason = f"the dataset {self.name} holds {self.kind}, not {kind}: choose another name"
            raise Conflict(409, {"detail": reason})


DEFAULT_FPS = 30


def with_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a render, with every frame at 30 frames a second where neither they nor a preset say otherwise."""
    if options.get("preset"):
        return dict(options)
    rate = {} if options.keys() & {"fps", "duration_seconds", "speed", "timing"} else {"fps": DEFAULT_FPS}
    return {"decimation_factor": 1} | rate | dict(options)


def _ignore(phase: str, done: int, total: int | None) -> None:
    """For nobody who watches."""
