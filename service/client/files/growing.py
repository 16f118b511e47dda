"""A folder that something is still writing: what has stopped growing is uploaded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from service.client.errors import FolderError
from service.client.files.local_files import FolderSurvey, LeftOut, survey_folder
from service.client.files.uploads import Uploader, list_stored

if TYPE_CHECKING:
    from pathlib import Path

    from service.client.transport import Transport
    from service.plan.formats import SourceKind

# The size and the time of the last change of a file.
FileVersion = tuple[int, int]


class GrowingFolder:
    """Uploads into a dataset what appears or changes in a folder. `sent` counts the files, `left_out` has those of the
    last look that could not be uploaded."""

    def __init__(self, transport: Transport, dataset: str, kind: SourceKind, folder: Path) -> None:
        self._transport, self._dataset, self._kind, self._folder = transport, dataset, kind, folder
        self._before: dict[str, FileVersion] = {}
        self._done: dict[str, FileVersion] = {}
        self.sent = 0
        self.left_out: list[LeftOut] = []

    async def upload_settled(self, *, checksum: bool = False) -> int:
        """Upload the files that are as they were at the last look, and were not uploaded so; how many were sent.

        What one that fails has sent is not sent again by the next. Raises Refused, Unreachable.
        """
        survey = await asyncio.to_thread(_survey_or_nothing, self._folder, self._kind)
        now = {name: (status.st_size, status.st_mtime_ns) for name, status in survey.files.items()}
        settled = [name for name in now if now[name] == self._before.get(name) and now[name] != self._done.get(name)]
        self._before, self.left_out = now, []
        if not settled:
            return 0
        stored = await list_stored(self._transport, self._dataset, checksum=checksum)
        missing = [name for name in settled if not stored.has_same(self._folder, name, survey.files[name])]
        uploader = Uploader(self._transport, survey, self._dataset, lambda _: None)
        try:
            await uploader.upload_all(missing)
        finally:
            self.sent += uploader.sent
        known = {name: version for name, version in self._done.items() if name in now}  # what is gone is forgotten
        self._done = known | {name: now[name] for name in settled}
        self.left_out = [left for left in survey.left_out if left.name in now]
        return uploader.sent


def _survey_or_nothing(folder: Path, kind: SourceKind) -> FolderSurvey:
    try:
        return survey_folder(folder, kind)
    except FolderError:
        return FolderSurvey(folder, kind)
