"""`reelmill ingest`: upload the new and changed files of a folder into a dataset, then scan it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from service.client.datasets import AsyncDataset
from service.client.errors import FolderError, NotFound, Refused, Unreachable
from service.client.files.growing import GrowingFolder
from service.client.files.local_files import nothing_to_upload, printable, survey_folder
from service.client.files.uploads import UploadResult
from service.client.mill import AsyncReelmill
from service.commands.remote.connection import LONG_PATIENCE_S, open_mill
from service.commands.remote.progress import upload_bar
from service.config import Settings
from service.plan.formats import SourceKind
from service.plan.names.media_names import describe_exclusions

MAX_NAMES, MAX_LEFT_OUT = 3, 20
# A file counts when it is the same in two looks that are so far apart. While the service is away, looks wait longer.
FOLLOW_INTERVAL_S, MAX_OUTAGE_PAUSE_S = 2.0, 30.0
# What is answered so may be answered otherwise later.
TOO_MANY_REQUESTS, SERVER_ERROR = 429, 500


async def ingest(
    settings: Settings, folder: Path, place: tuple[str, str], kind: SourceKind, *, checksum: bool = False
) -> bool:
    """Upload a folder into the dataset of `place`, (experiment, dataset), which is made if it is missing; show progress
    and a summary. Returns whether nothing was left out that is a frame or source video. Raises ReelmillError."""
    console = Console(soft_wrap=True, highlight=False)
    survey = await asyncio.to_thread(survey_folder, folder, kind)
    if survey.files and survey.excluded.total:
        console.print(f"left out by name: {survey.excluded}", markup=False)
    async with open_mill(settings, LONG_PATIENCE_S) as mill:
        if not survey.files:
            await _require_kind_if_there(mill, place, kind)
            raise FolderError(nothing_to_upload(survey))
        experiment = await mill.experiments.get_or_create(place[0])
        dataset = await experiment.datasets.get_or_create(place[1], kind)
        with upload_bar() as show:
            result = await dataset.upload_survey(survey, show, checksum=checksum)
    for text in _summary_lines(dataset, result):
        console.print(text, markup=False)
    return result.is_complete


async def _require_kind_if_there(mill: AsyncReelmill, place: tuple[str, str], kind: SourceKind) -> None:
    """Raises Conflict if the dataset is there and has another kind: then the folder may be right."""
    try:
        if (experiment := await mill.experiments.find_own(place[0])) is not None:
            (await experiment.datasets.get(place[1])).require_kind(kind)
    except NotFound:
        pass


async def follow_folder(growing: GrowingFolder, *, checksum: bool = False) -> NoReturn:
    """Upload until cancelled, also while the service is away. Raises Refused for what it refuses for good."""
    pause_s = FOLLOW_INTERVAL_S
    while True:
        try:
            if sent := await growing.upload_settled(checksum=checksum):
                print(f"{sent} files sent, {growing.sent} since the start", flush=True)
            for left in growing.left_out:
                print(f"not uploaded: {left}", flush=True)
            pause_s = FOLLOW_INTERVAL_S
        except (Unreachable, Refused) as error:
            if isinstance(error, Refused) and error.status != TOO_MANY_REQUESTS and error.status < SERVER_ERROR:
                raise
            pause_s = min(2 * pause_s, MAX_OUTAGE_PAUSE_S)
            print(f"the service is away ({error}): next attempt in {pause_s:g} s", flush=True)
        await asyncio.sleep(pause_s)


async def ingest_while_growing(
    settings: Settings, folder: Path, place: tuple[str, str], kind: SourceKind, *, checksum: bool = False
) -> None:
    """Upload what appears in the folder and has stopped growing, until interrupted; the service registers it by itself.

    Raises Refused for what the service refuses for good.
    """
    print(f"following {printable(str(folder))}: end it with Ctrl-C", flush=True)
    async with open_mill(settings, LONG_PATIENCE_S) as mill:
        experiment = await mill.experiments.get_or_create(place[0])
        dataset = await experiment.datasets.get_or_create(place[1], kind)
        await dataset.start_following()
        print(f"dataset {dataset.id}: it is followed, so that files become frames by themselves", flush=True)
        growing = dataset.growing_folder(folder)
        await follow_folder(growing, checksum=checksum)


def _summary_lines(found: AsyncDataset, result: UploadResult) -> Iterator[str]:
    dataset = found.fields
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
