"""Progress bars on stderr, so that stdout is free for what was asked for."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.client.renders import AsyncRender


async def follow_render(render: AsyncRender) -> Mapping[str, Any]:
    """Show a progress bar until the render ends; returns its last status."""
    columns = (
        TextColumn("{task.description:10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        line = bar.add_task("queued", total=None, rate="")
        async for status in render.statuses():
            rate = f"{status['fps']:.1f} frames/s" if status["fps"] else ""
            done, total = status["frames_done"], status["frames_total"]
            bar.update(line, description=status["phase"], total=total, completed=done, rate=rate)
    await render.refresh()
    return render.fields


@contextmanager
def upload_bar() -> Iterator[Callable[[str, int, int | None], None]]:
    """A function that shows a phase, how many files are done, and of how many."""
    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        line = bar.add_task("upload", total=None)
        yield lambda phase, done, total: bar.update(line, description=phase, completed=done, total=total)
