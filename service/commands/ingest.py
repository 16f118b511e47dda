"""`reelmill ingest`: upload the new and changed files of a folder into a dataset through the API, then scan it."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NoReturn

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.commands.api_client import ApiError, get_with_retries, json_or_raise, open_client, send_with_retries
from service.commands.local_files import FolderError as FolderError
from service.commands.local_files import FolderSurvey, LeftOut, StoredFiles, nothing_to_upload, printable, survey_folder
from service.commands.uploads import Uploader
from service.config import Settings
from service.errors import first_line
from service.plan.names.media_names import describe_exclusions
from service.plan.render_plan import SourceKind

POLL_INTERVAL_S = 0.3
# Clocks that differ by less than this are taken as equal: HTTP's dates have whole seconds.
CLOCK_TOLERANCE_S = 2.0
MAX_NAMES, MAX_LEFT_OUT = 3, 20

# Called with the phase (`upload` or `scan`), the files done and the files in all, if known.
ProgressCallback = Callable[[str, int, int | None], None]


console = Console(soft_wrap=True, highlight=False)


@dataclass(frozen=True, slots=True)
class IngestTarget:
    """The dataset to ingest into, created if missing. `kind` is `frames` or `video`."""

    experiment: str
    dataset: str
    kind: SourceKind


@dataclass(frozen=True, slots=True)
class IngestResult:
    """The dataset as the API returns it after the scan, the number of files sent, and of those already there.

    `left_out`: what could not be uploaded. `gone`: names of stored files that are not in the folder any more.
    """

    dataset: dict[str, Any]
    uploaded: int
    present: int
    left_out: Sequence[LeftOut] = ()
    gone: Sequence[str] = ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing was left out that, by its name, is a frame or source video."""
        return not any(left.is_media for left in self.left_out)


async def ingest(
    client: httpx.AsyncClient, folder: Path, target: IngestTarget, on_progress: ProgressCallback, checksum: bool = False
) -> IngestResult:
    """Upload the files of `folder` into a dataset and scan it: `survey_folder`, then `ingest_survey`."""
    survey = await asyncio.to_thread(survey_folder, folder, target.kind)
    return await ingest_survey(client, survey, target, on_progress, checksum)


async def ingest_survey(
    client: httpx.AsyncClient,
    survey: FolderSurvey,
    target: IngestTarget,
    on_progress: ProgressCallback,
    checksum: bool = False,
) -> IngestResult:
    """Upload the files of a survey into a dataset and scan it.

    Skips files that the dataset has unchanged (`StoredFiles.has_same`), so an interrupted run can be repeated. Files
    that cannot be read, or that the service refuses, are left out, and the others go on. Raises ApiError (also for a
    failed scan), FolderError if there is nothing to upload, and httpx.TransportError if the service stays unreachable.
    """
    if not survey.files:
        await _require_kind_if_exists(client, target)
        raise FolderError(nothing_to_upload(survey))
    experiment = await _get_or_create_experiment(client, target.experiment)
    dataset = (await _get_or_create_dataset(client, experiment, target))["id"]
    stored = await _list_stored(client, dataset, checksum)
    missing = await asyncio.to_thread(_select_changed, survey, stored)
    total, present = len(survey.files), len(survey.files) - len(missing)
    on_progress("upload", present, total)
    uploader = Uploader(client, survey, dataset, lambda sent: on_progress("upload", present + sent, total))
    await uploader.upload_all(missing)
    row = await _scan_and_wait(client, dataset, total, on_progress)
    known = survey.files.keys() | {left.name for left in survey.left_out}
    gone = sorted(name for name in stored.by_name.keys() - known if not (survey.folder / name).exists())
    return IngestResult(row, uploader.sent, present, tuple(survey.left_out), gone)


def _select_changed(survey: FolderSurvey, stored: StoredFiles) -> list[str]:
    return [name for name, status in survey.files.items() if not stored.has_same(survey.folder, name, status)]


async def _list_stored(client: httpx.AsyncClient, dataset: str, checksum: bool) -> StoredFiles:
    """What the dataset has stored. The Date of the answer is compared with our clock before the request was sent.

    A busy service sends an old Date, so that its clock only seems to be behind: that is ignored, else a file that was
    changed would seem older than what is stored.
    """
    asked_at = time.time()
    response = await get_with_retries(client, f"/api/datasets/{dataset}/objects?details=true")
    by_name = {entry["name"]: entry for entry in json_or_raise(response, list)}
    try:
        ahead_s = parsedate_to_datetime(response.headers["Date"]).timestamp() - asked_at
    except (KeyError, ValueError):
        ahead_s = 0.0
    return StoredFiles(by_name, ahead_s if ahead_s > CLOCK_TOLERANCE_S else 0.0, checksum)


async def _get_or_create_experiment(client: httpx.AsyncClient, name: str) -> str:
    """The id of the caller's experiment with this name, created if missing."""
    found = await _find_own_experiment(client, name)
    if found is not None:
        return found
    response = await send_with_retries(lambda: client.post("/api/experiments", json={"name": name}))
    if response.status_code == 409:  # an earlier response was lost, or another client was faster
        found = await _find_own_experiment(client, name)
    return found or str(json_or_raise(response)["id"])


async def _find_own_experiment(client: httpx.AsyncClient, name: str) -> str | None:
    query = httpx.URL("/api/experiments", params={"q": name, "mine": "true", "limit": 500})
    found = await _find_by_name(client, query, name)
    return None if found is None else str(found["id"])


async def _get_or_create_dataset(client: httpx.AsyncClient, experiment: str, target: IngestTarget) -> dict[str, Any]:
    """The dataset with this name, created if missing. Raises ApiError if it has another kind."""
    path, query = _dataset_urls(experiment, target)
    row = await _find_by_name(client, query, target.dataset)
    if row is None:
        body = {"name": target.dataset, "kind": target.kind}
        response = await send_with_retries(lambda: client.post(path, json=body))
        if response.status_code == 409:
            row = await _find_by_name(client, query, target.dataset)
        row = row or json_or_raise(response)["dataset"]
    _require_kind(row, target)
    return row


def _dataset_urls(experiment: str, target: IngestTarget) -> tuple[str, httpx.URL]:
    """Of the experiment's datasets, and of those with a similar name."""
    path = f"/api/experiments/{experiment}/datasets"
    return path, httpx.URL(path, params={"q": target.dataset, "limit": 500})


def _require_kind(row: dict[str, Any], target: IngestTarget) -> None:
    if row["kind"] != target.kind:
        reason = f"the dataset {row['name']} holds {row['kind']}, not {target.kind}: choose another name"
        raise ApiError(409, reason)


async def _require_kind_if_exists(client: httpx.AsyncClient, target: IngestTarget) -> None:
    """Raises ApiError if the dataset exists and has another kind: then the folder may be right."""
    experiment = await _find_own_experiment(client, target.experiment)
    if experiment is not None:
        row = await _find_by_name(client, _dataset_urls(experiment, target)[1], target.dataset)
        if row is not None:
            _require_kind(row, target)


async def _find_by_name(client: httpx.AsyncClient, query: httpx.URL, name: str) -> dict[str, Any] | None:
    """The row with exactly this name, from any page of the list."""
    page: str | None = str(query)
    while page is not None:
        found = await get_with_retries(client, page)
        rows: list[dict[str, Any]] = json_or_raise(found, list)
        for row in rows:
            if row["name"] == name:
                return row
        page = found.links.get("next", {}).get("url")
    return None


async def _scan_and_wait(
    client: httpx.AsyncClient, dataset: str, file_count: int, on_progress: ProgressCallback
) -> dict[str, Any]:
    """Scan the uploaded files and wait for the end. Raises ApiError if the scan fails."""
    await _wait_until_scanned(client, dataset, lambda _: None)  # an earlier scan would miss the last files
    json_or_raise(await send_with_retries(lambda: client.post(f"/api/datasets/{dataset}/scan")))
    row = await _wait_until_scanned(client, dataset, lambda scanned: on_progress("scan", scanned, file_count))
    if row["state"] != "ready":
        raise ApiError(422, f"the scan failed: {row['error']}")
    on_progress("scan", file_count, file_count)
    return row


async def _wait_until_scanned(
    client: httpx.AsyncClient, dataset: str, on_scanned: Callable[[int], None]
) -> dict[str, Any]:
    """The dataset once no scan is running."""
    while True:
        row: dict[str, Any] = json_or_raise(await get_with_retries(client, f"/api/datasets/{dataset}"))
        if row["state"] != "scanning":
            return row
        on_scanned(row["scanned"])
        await asyncio.sleep(POLL_INTERVAL_S)


async def ingest_with_progress(settings: Settings, folder: Path, target: IngestTarget, checksum: bool = False) -> bool:
    """`ingest` with a progress bar and a summary; returns whether it is complete. Raises as it does."""
    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    survey = await asyncio.to_thread(survey_folder, folder, target.kind)
    if survey.files and survey.excluded.total:
        console.print(f"left out by name: {survey.excluded}", markup=False)
    async with open_client(settings) as client:
        with Progress(*columns, console=console) as bar:
            line = bar.add_task("upload", total=None)

            def show(phase: str, done: int, total: int | None) -> None:
                bar.update(line, description=phase, completed=done, total=total)

            result = await ingest_survey(client, survey, target, show, checksum)
    for text in _summary_lines(result):
        console.print(text, markup=False)
    return result.is_complete


# A file counts when it is the same in two looks that are so far apart. While the service is away, looks wait longer.
FOLLOW_INTERVAL_S, MAX_OUTAGE_PAUSE_S = 2.0, 30.0
# What is answered so may be answered otherwise later.
TOO_MANY_REQUESTS, SERVER_ERROR = 429, 500
# The size and the time of the last change of a file.
FileVersion = tuple[int, int]


class FolderFollower:
    """Uploads what appears or changes in a folder into a dataset, which the service follows.

    `tell` is called with a line for people."""

    def __init__(
        self, client: httpx.AsyncClient, folder: Path, target: IngestTarget, tell: Callable[[str], None]
    ) -> None:
        self._client, self._folder, self._target, self._tell = client, folder, target, tell
        self._before: dict[str, FileVersion] = {}
        self._done: dict[str, FileVersion] = {}
        self._dataset = ""
        self.sent = 0

    async def step(self, checksum: bool = False) -> int:
        """Upload the files that have not changed since the last step; returns how many were sent.

        Raises as `ingest_survey`, but for a folder that has nothing yet. What was sent before is not sent again.
        """
        survey = await asyncio.to_thread(_survey_or_nothing, self._folder, self._target.kind)
        now = {name: (status.st_size, status.st_mtime_ns) for name, status in survey.files.items()}
        ready = [name for name in now if now[name] == self._before.get(name) and now[name] != self._done.get(name)]
        self._before = now
        if not ready:
            return 0
        await self._open()
        stored = await _list_stored(self._client, self._dataset, checksum)
        missing = [name for name in ready if not stored.has_same(self._folder, name, survey.files[name])]
        uploader = Uploader(self._client, survey, self._dataset, lambda _: None)
        try:
            await uploader.upload_all(missing)
        finally:
            self.sent += uploader.sent
        self._done |= {name: now[name] for name in ready}
        for left in survey.left_out:
            if left.name in now:
                self._tell(f"not uploaded: {left}")
        return uploader.sent

    async def _open(self) -> None:
        """Create the dataset if it is missing, and have the service follow it: it scans by itself."""
        if self._dataset:
            return
        experiment = await _get_or_create_experiment(self._client, self._target.experiment)
        dataset = (await _get_or_create_dataset(self._client, experiment, self._target))["id"]
        path = f"/api/datasets/{dataset}/follow"
        json_or_raise(await send_with_retries(lambda: self._client.put(path)))
        self._dataset = dataset
        self._tell(f"dataset {dataset}: it is followed, so that files become frames by themselves")


def _survey_or_nothing(folder: Path, kind: SourceKind) -> FolderSurvey:
    try:
        return survey_folder(folder, kind)
    except FolderError:
        return FolderSurvey(folder, kind)


async def follow_folder(follower: FolderFollower, tell: Callable[[str], None], checksum: bool = False) -> NoReturn:
    """Step until cancelled, also while the service is away. Raises ApiError for what it refuses."""
    pause_s = FOLLOW_INTERVAL_S
    while True:
        try:
            if sent := await follower.step(checksum):
                tell(f"{sent} files sent, {follower.sent} since the start")
            pause_s = FOLLOW_INTERVAL_S
        except (httpx.TransportError, ApiError) as error:
            if isinstance(error, ApiError) and error.status != TOO_MANY_REQUESTS and error.status < SERVER_ERROR:
                raise
            pause_s = min(2 * pause_s, MAX_OUTAGE_PAUSE_S)
            tell(f"the service is away ({first_line(error)}): next attempt in {pause_s:g} s")
        await asyncio.sleep(pause_s)


async def ingest_while_growing(settings: Settings, folder: Path, target: IngestTarget, checksum: bool = False) -> None:
    """Follow the folder until interrupted: see `follow_folder`."""

    def tell(line: str) -> None:
        console.print(line, markup=False)

    async with open_client(settings) as client:
        tell(f"following {printable(str(folder))}: end it with Ctrl-C")
        await follow_folder(FolderFollower(client, folder, target, tell), tell, checksum)


def _summary_lines(result: IngestResult) -> Iterator[str]:
    dataset = result.dataset
    yield f"dataset {dataset['id']}: {dataset['frame_count']} frames, {dataset['bytes']} bytes"
    if dataset["gap_frames"]:
        yield f"        {dataset['gap_frames']} frame numbers are missing"
    if (cadence := dataset["cadence"]) and cadence["from_names"]:
        missing = f"{cadence['missing']} are missing" if cadence["missing"] else "none are missing"
        yield f"        one every {cadence['interval_seconds']:g} s by their names, {missing}"
    orders = dataset["field_orders"]
    if interlaced := sum(count for order, count in orders.items() if order in ("top", "bottom", "mixed")):
        yield f"        {interlaced} pictures are interlaced: renders deinterlace them unless deinterlace is off"
    if dataset["unreadable_frames"]:
        reasons = "; ".join(f"{row['count']} {row['reason']} ({row['example']})" for row in dataset["unreadable"][:5])
        yield f"        {dataset['unreadable_frames']} frames cannot be read: {printable(reasons)}"
    if dataset["excluded"]:
        yield f"        left out by the scan: {printable(describe_exclusions(dataset['excluded']))}"
    if result.gone:
        names = ", ".join(printable(name) for name in result.gone[:MAX_NAMES])
        more = ", …" if len(result.gone) > MAX_NAMES else ""
        yield f"        {len(result.gone)} stored files are not in the folder any more and stay: {names}{more}"
    for left in result.left_out[:MAX_LEFT_OUT]:
        yield f"        not uploaded: {left}"
    if len(result.left_out) > MAX_LEFT_OUT:
        yield f"        and {len(result.left_out) - MAX_LEFT_OUT} more were not uploaded"
