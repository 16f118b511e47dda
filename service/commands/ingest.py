"""`reelmill ingest`: upload the missing files of a local folder into a dataset through the API, then scan it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.commands.api_client import ApiError, json_or_raise, open_client
from service.config import Settings

CONCURRENT_UPLOADS, MAX_ATTEMPTS = 8, 7
INITIAL_RETRY_DELAY_S, MAX_RETRY_DELAY_S = 0.25, 10.0
POLL_INTERVAL_S = 0.3
CHUNK_BYTES = 1024 * 1024

# Called with the phase (`upload` or `scan`), the files done and the files in all, if known.
ProgressCallback = Callable[[str, int, int | None], None]


console = Console(soft_wrap=True, highlight=False)


class FolderError(Exception):
    """The local folder cannot be ingested; the text says why."""


@dataclass(frozen=True, slots=True)
class IngestTarget:
    """The dataset to ingest into, created if missing. `kind` is `frames` or `video`."""

    experiment: str
    dataset: str
    kind: str


@dataclass(frozen=True, slots=True)
class IngestResult:
    """The dataset as the API returns it after the scan, the number of files sent, and of those already there."""

    dataset: dict[str, Any]
    uploaded: int
    present: int


async def ingest(
    client: httpx.AsyncClient, folder: Path, target: IngestTarget, on_progress: ProgressCallback
) -> IngestResult:
    """Upload the non-hidden files of `folder` into a dataset and scan it.

    Skips files that the dataset has with the same name and size, so an interrupted run can be repeated. Raises
    FolderError, ApiError (also for a failed scan), and httpx.TransportError if the service stays unreachable.
    """
    files = await asyncio.to_thread(local_files, folder)
    experiment = await _get_or_create_experiment(client, target.experiment)
    dataset = (await _get_or_create_dataset(client, experiment, target))["id"]
    stored = json_or_raise(await _get_with_retries(client, f"/api/datasets/{dataset}/objects"))
    stored_sizes = {entry["name"]: entry["size"] for entry in stored}
    missing = [name for name, size in files.items() if stored_sizes.get(name) != size]
    total, present = len(files), len(files) - len(missing)
    on_progress("upload", present, total)
    uploader = _Uploader(client, folder, dataset, lambda sent: on_progress("upload", present + sent, total))
    await uploader.upload_all(missing)
    return IngestResult(await _scan_and_wait(client, dataset, total, on_progress), len(missing), present)


def local_files(folder: Path) -> dict[str, int]:
    """Relative name -> bytes of the non-hidden files in the folder and below. Raises FolderError."""
    if not folder.is_dir():
        raise FolderError(f"{folder} is not a folder")
    found = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }
    if not found:
        raise FolderError(f"{folder} has no files")
    return found


async def _get_or_create_experiment(client: httpx.AsyncClient, name: str) -> str:
    """The id of the caller's experiment with this name, created if missing."""
    found = await _find_own_experiment(client, name)
    if found is not None:
        return found
    response = await _send_with_retries(lambda: client.post("/api/experiments", json={"name": name}))
    if response.status_code == 409:  # an earlier response was lost, or another client was faster
        found = await _find_own_experiment(client, name)
    return found or str(json_or_raise(response)["id"])


async def _find_own_experiment(client: httpx.AsyncClient, name: str) -> str | None:
    query = httpx.URL("/api/experiments", params={"q": name, "mine": "true", "limit": 500})
    found = await _find_by_name(client, query, name)
    return None if found is None else str(found["id"])


async def _get_or_create_dataset(client: httpx.AsyncClient, experiment: str, target: IngestTarget) -> dict[str, Any]:
    """The dataset with this name, created if missing. Raises ApiError if it has another kind."""
    path = f"/api/experiments/{experiment}/datasets"
    query = httpx.URL(path, params={"q": target.dataset, "limit": 500})
    row = await _find_by_name(client, query, target.dataset)
    if row is None:
        body = {"name": target.dataset, "kind": target.kind}
        response = await _send_with_retries(lambda: client.post(path, json=body))
        if response.status_code == 409:
            row = await _find_by_name(client, query, target.dataset)
        row = row or json_or_raise(response)["dataset"]
    if row["kind"] != target.kind:
        reason = f"the dataset {row['name']} holds {row['kind']}, not {target.kind}: choose another name"
        raise ApiError(409, reason)
    return row


async def _find_by_name(client: httpx.AsyncClient, query: httpx.URL, name: str) -> dict[str, Any] | None:
    """The row with exactly this name, from any page of the list."""
    page: str | None = str(query)
    while page is not None:
        found = await _get_with_retries(client, page)
        rows: list[dict[str, Any]] = json_or_raise(found)
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
    json_or_raise(await _send_with_retries(lambda: client.post(f"/api/datasets/{dataset}/scan")))
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
        row: dict[str, Any] = json_or_raise(await _get_with_retries(client, f"/api/datasets/{dataset}"))
        if row["state"] != "scanning":
            return row
        on_scanned(row["scanned"])
        await asyncio.sleep(POLL_INTERVAL_S)


class _Uploader:
    """Uploads files, eight at a time."""

    def __init__(self, client: httpx.AsyncClient, folder: Path, dataset: str, on_sent: Callable[[int], None]) -> None:
        self._client, self._folder, self._dataset, self._on_sent = client, folder, dataset, on_sent
        self._sent = 0

    async def upload_all(self, names: Iterable[str]) -> None:
        """Raises the first failure and cancels the other uploads."""
        waiting = iter(names)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CONCURRENT_UPLOADS):
                    group.create_task(self._upload_from(waiting))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _upload_from(self, names: Iterable[str]) -> None:
        for name in names:
            json_or_raise(await _send_with_retries(lambda name=name: self._upload_file(name)))  # type: ignore[misc]
            self._sent += 1
            self._on_sent(self._sent)

    async def _upload_file(self, name: str) -> httpx.Response:
        path = self._folder / name
        size = path.stat().st_size
        content = path.read_bytes() if size <= CHUNK_BYTES else _read_chunks(path)
        return await self._client.put(
            f"/api/datasets/{self._dataset}/objects/{quote(name)}",
            content=content,
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
        )


async def _read_chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk


async def _get_with_retries(client: httpx.AsyncClient, url: str) -> httpx.Response:
    return await _send_with_retries(lambda: client.get(url))


async def _send_with_retries(send: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The response to a repeatable request. Retries with growing delays while the service is unreachable or busy."""
    for attempt in range(MAX_ATTEMPTS):
        last = attempt == MAX_ATTEMPTS - 1
        pause = min(INITIAL_RETRY_DELAY_S * 2**attempt, MAX_RETRY_DELAY_S)
        try:
            response = await send()
        except httpx.TransportError:
            if last:
                raise
        else:
            if response.status_code not in (429, 503) or last:
                return response
            pause = max(pause, _retry_after_s(response))
        await asyncio.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _retry_after_s(response: httpx.Response) -> float:
    value = response.headers.get("Retry-After", "")
    return min(float(value), MAX_RETRY_DELAY_S) if value.isdigit() else 0.0


async def ingest_with_progress(settings: Settings, folder: Path, target: IngestTarget) -> None:
    """`ingest` with a progress bar and a summary. Raises as it does."""
    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with open_client(settings) as client:
        with Progress(*columns, console=console) as bar:
            line = bar.add_task("upload", total=None)

            def show(phase: str, done: int, total: int | None) -> None:
                bar.update(line, description=phase, completed=done, total=total)

            result = await ingest(client, folder, target, show)
    dataset = result.dataset
    console.print(f"dataset {dataset['id']}: {dataset['frame_count']} frames, {dataset['bytes']} bytes", markup=False)
    if dataset["gap_frames"]:
        console.print(f"        {dataset['gap_frames']} frame numbers are missing", markup=False)
    if (cadence := dataset["cadence"]) and cadence["from_names"]:
        missing = f"{cadence['missing']} are missing" if cadence["missing"] else "none are missing"
        text = f"        one every {cadence['interval_seconds']:g} s by their names, {missing}"
        console.print(text, markup=False)
    orders = dataset["field_orders"]
    if interlaced := sum(count for order, count in orders.items() if order in ("top", "bottom", "mixed")):
        text = f"        {interlaced} pictures are interlaced: renders deinterlace them unless deinterlace is off"
        console.print(text, markup=False)
    if dataset["unreadable_frames"]:
        console.print(f"        {dataset['unreadable_frames']} frames cannot be read", markup=False)
