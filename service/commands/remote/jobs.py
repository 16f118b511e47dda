"""`reelmill watch`, `cancel`, `retry` and `get`: what is done with renders and what they made."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from service.client.errors import Refused, RenderFailed
from service.client.renders import AsyncRender
from service.commands.remote.connection import find_render, open_mill
from service.commands.remote.output import print_json
from service.commands.remote.progress import follow_render
from service.commands.remote.render import summary_lines
from service.config import Settings

RefusalCallback = Callable[[str, Refused], None]
PIPE = Path("-")
SUFFIXES = {"receipt": ".receipt.ndjson", "poster": ".jpg"}


async def watch(settings: Settings, job: str, *, as_json: bool) -> None:
    """Follow a render to its end. Raises RenderFailed if it does not succeed."""
    async with open_mill(settings) as mill:
        render = await find_render(mill, job)
        status = await follow_render(render)
    if as_json:
        print_json(status)
    if status["status"] != "succeeded":
        raise RenderFailed(status)
    if not as_json:
        print(f"video   {mill.url}{status['video_url']}", *summary_lines(status), sep="\n")


async def cancel(settings: Settings, jobs: Sequence[str], report_refusal: RefusalCallback) -> None:
    """Each that can be; `report_refusal` is called for each other."""
    await _each(settings, jobs, AsyncRender.cancel, report_refusal)


async def retry(settings: Settings, jobs: Sequence[str], report_refusal: RefusalCallback) -> None:
    """Each that can be; `report_refusal` is called for each other."""
    await _each(settings, jobs, AsyncRender.retry, report_refusal)


async def _each(
    settings: Settings,
    jobs: Sequence[str],
    action: Callable[[AsyncRender], Awaitable[None]],
    report_refusal: RefusalCallback,
) -> None:
    async with open_mill(settings) as mill:
        for job in jobs:
            try:
                render = await find_render(mill, job)
                await action(render)
            except Refused as error:
                report_refusal(job, error)
            else:
                print(f"{render.id} is {render.status}", flush=True)


async def get(settings: Settings, job: str, what: str, output: Path | None) -> None:
    """Download the `video`, `receipt` or `poster` of a render, or one of its frames by number; `-` is stdout."""
    async with open_mill(settings) as mill:
        render = await find_render(mill, job)
        if what == "video" and output != PIPE:
            print((await render.save(output)).absolute())
            return
        await _write(_content(render, what), output or Path(f"{render.id}{SUFFIXES.get(what, f'.{what}.png')}"))


async def _content(render: AsyncRender, what: str) -> AsyncIterator[bytes]:
    match what:
        case "video":
            async for chunk in render.video():
                yield chunk
        case "receipt":
            yield await render.receipt_bytes()
        case "poster":
            yield await render.poster()
        case _:
            yield (await render.frame(int(what))).png


async def _write(content: AsyncIterator[bytes], output: Path) -> None:
    if output == PIPE:
        async for chunk in content:
            sys.stdout.buffer.write(chunk)
        return
    partial = output.with_name(f".{output.name}.part")
    try:
        with partial.open("wb") as file:
            async for chunk in content:
                file.write(chunk)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    print(output.absolute())  # noqa: ASYNC240 (nothing else runs)
