"""`reelmill ingest`: the folder upload with a progress bar."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.config import Settings
from service.http_client import open_client
from service.ingest import ingest

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
