"""`reelmill ingest`: upload a local folder into a dataset through the API. Only missing files are sent, then the
dataset is scanned.
"""

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

# Hears the phase (`upload`, `scan`), how much of it is done, and of how much when that is known.
ProgressCallback = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class IngestResult:
    """The dataset as the API tells it once it is ready; `uploaded` files were sent, `present` were there before."""

    dataset: dict[str, Any]
    uploaded: int
    present: int


async def ingest(
    client: httpx.AsyncClient, folder: Path, names: tuple[str, str, str], on_progress: ProgressCallback
) -> IngestResult:
    """Send the files of `folder` (hidden ones not) into a dataset; `names` are (experiment, dataset, kind).

    Run it again after an interruption: files whose name and size are there already are not sent. Raises Refused (a
    problem's detail, an unusable folder, a failed scan) and httpx.TransportError when the service stays away.
    """
    files = await asyncio.to_thread(local_files, folder)
    dataset = await _get_or_create_dataset(
        client, await _get_or_create_experiment(client, names[0]), names[1], names[2]
    )
    there = await _list_uploaded_files(client, dataset["id"])
    missing = [name for name, size in files.items() if there.get(name) != size]
    total, before = len(files), len(files) - len(missing)
    on_progress("upload", before, total)
    upload = _Uploader(client, folder, dataset["id"], lambda sent: on_progress("upload", before + sent, total))
    await upload.upload_all(missing)
    return IngestResult(await _scan_and_wait(client, dataset["id"], total, on_progress), len(missing), before)


def local_files(folder: Path) -> dict[str, int]:
    """Relative names and sizes of what is in the folder and below. Raises Refused."""
    if not folder.is_dir():
        raise ApiError(0, f"{folder} is no folder")
    found = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }
    if not found:
        raise ApiError(0, f"{folder} has no files in it")
    return found


async def _get_or_create_experiment(client: httpx.AsyncClient, name: str) -> str:
    """The id of the caller's experiment of that name, made when missing."""
    found = await _find_own_experiment(client, name)
    if found is not None:
        return found
    made = await _send_with_retries(lambda: client.post("/api/experiments", json={"name": name}))
    if made.status_code == 409:  # a lost answer, or somebody else was faster
        found = await _find_own_experiment(client, name)
    return found or str(json_or_raise(made)["id"])


async def _find_own_experiment(client: httpx.AsyncClient, name: str) -> str | None:
    query = httpx.URL("/api/experiments", params={"q": name, "mine": "true", "limit": 500})
    found = await _find_by_name(client, query, name)
    return None if found is None else str(found["id"])


async def _get_or_create_dataset(client: httpx.AsyncClient, experiment: str, name: str, kind: str) -> dict[str, Any]:
    """The dataset of that name, made when missing. Raises Refused for one of another kind."""
    path = f"/api/experiments/{experiment}/datasets"
    query = httpx.URL(path, params={"q": name, "limit": 500})
    found = await _find_by_name(client, query, name)
    if found is None:
        made = await _send_with_retries(lambda: client.post(path, json={"name": name, "kind": kind}))
        found = await _find_by_name(client, query, name) if made.status_code == 409 else None
        return _require_kind(found or json_or_raise(made)["dataset"], kind)
    return _require_kind(found, kind)


async def _find_by_name(client: httpx.AsyncClient, query: httpx.URL, name: str) -> dict[str, Any] | None:
    """The row of exactly this name on any page of the list."""
    page: str | None = str(query)
    while page is not None:
        found = await _get_with_retries(client, page)
        rows: list[dict[str, Any]] = json_or_raise(found)
        for row in rows:
            if row["name"] == name:
                return row
        page = found.links.get("next", {}).get("url")
    return None


def _require_kind(row: dict[str, Any], kind: str) -> dict[str, Any]:
    if row["kind"] != kind:
        raise ApiError(409, f"the dataset {row['name']} holds {row['kind']}, not {kind}: name another one")
    return row


async def _list_uploaded_files(client: httpx.AsyncClient, dataset: str) -> dict[str, int]:
    answer = await _get_with_retries(client, f"/api/datasets/{dataset}/objects")
    return {stored["name"]: stored["size"] for stored in json_or_raise(answer)}


async def _scan_and_wait(
    client: httpx.AsyncClient, dataset: str, file_count: int, on_progress: ProgressCallback
) -> dict[str, Any]:
    """Scan once everything is there, and wait. Raises Refused when the scan ends as failed."""
    await _wait_until_scanned(client, dataset, lambda _: None)  # a scan that began before the last file would miss it
    json_or_raise(await _send_with_retries(lambda: client.post(f"/api/datasets/{dataset}/scan")))
    row = await _wait_until_scanned(client, dataset, lambda scanned: on_progress("scan", scanned, file_count))
    if row["state"] != "ready":
        raise ApiError(422, f"the scan failed: {row['error']}")
    on_progress("scan", file_count, file_count)
    return row


async def _wait_until_scanned(
    client: httpx.AsyncClient, dataset: str, on_scanned: Callable[[int], None]
) -> dict[str, Any]:
    """The dataset once no scan is under way."""
    while True:
        row: dict[str, Any] = json_or_raise(await _get_with_retries(client, f"/api/datasets/{dataset}"))
        if row["state"] != "scanning":
            return row
        on_scanned(row["scanned"])
        await asyncio.sleep(POLL_INTERVAL_S)


class _Uploader:
    """Files on their way, eight at a time."""

    def __init__(self, client: httpx.AsyncClient, folder: Path, dataset: str, on_sent: Callable[[int], None]) -> None:
        self._client, self._folder, self._dataset, self._on_sent = client, folder, dataset, on_sent
        self._sent = 0

    async def upload_all(self, names: Iterable[str]) -> None:
        """Raises the first failure, and lets the others go."""
        waiting = iter(names)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CONCURRENT_UPLOADS):
                    group.create_task(self._upload_from(waiting))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

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
    """The answer to a request that may be repeated; a service that is away or busy is asked again, ever later."""
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
    raise AssertionError("the last try returns or raises")


def _retry_after_s(response: httpx.Response) -> float:
    value = response.headers.get("Retry-After", "")
    return min(float(value), MAX_RETRY_DELAY_S) if value.isdigit() else 0.0


console = Console(soft_wrap=True, highlight=False)


async def ingest_with_progress(settings: Settings, folder: Path, names: tuple[str, str], kind: str) -> None:
    """`names` are (experiment, dataset). Raises Refused, httpx.TransportError."""
    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with open_client(settings) as client:
        with Progress(*columns, console=console) as bar:
            line = bar.add_task("upload", total=None)

            def moved(phase: str, done: int, total: int | None) -> None:
                bar.update(line, description=phase, completed=done, total=total)

            result = await ingest(client, folder, (*names, kind), moved)
    dataset = result.dataset
    console.print(f"dataset {dataset['id']}: {dataset['frame_count']} frames, {dataset['bytes']} bytes", markup=False)
    if dataset["gap_frames"]:
        console.print(f"        {dataset['gap_frames']} numbers are missing", markup=False)
    if dataset["unreadable_frames"]:
        console.print(f"        {dataset['unreadable_frames']} frames cannot be read", markup=False)
