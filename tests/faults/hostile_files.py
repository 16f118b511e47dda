"""`python -m tests.faults.hostile_files FOLDER`: writes the hostile files there, and says how long each delays a slot."""

import io
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import TIFF_MAGICS, DecodeOptions
from service.pipeline.probe import probe_image, probe_video
from service.pipeline.videos.source import VideoSource
from service.worker.scan.images import read_pages
from tests.support.hostile.jpegs import HARMLESS_JPEGS, JPEGS, WEBPS
from tests.support.hostile.pngs import HARMLESS_PNGS, PNGS
from tests.support.hostile.tiffs import HARMLESS_TIFFS, LOOPING_TIFFS, TIFFS
from tests.support.hostile.videos import VIDEOS
from tests.support.processes.peak_memory import in_new_process, memory_left

Maker = Callable[[], bytes]
# Suffix -> files that show no picture.
HOSTILE = {".png": PNGS, ".jpg": JPEGS, ".webp": WEBPS, ".tif": TIFFS}
# Suffix -> files that show one, whatever else they carry.
HARMLESS = {".png": HARMLESS_PNGS, ".jpg": HARMLESS_JPEGS, ".tif": HARMLESS_TIFFS}
# A slot's memory in this command, beside what its libraries take.
MEMORY = 1 << 30
MAX_PIXELS = 10**8


def image_files() -> Iterator[tuple[str, Maker]]:
    """(name, what makes it) of each picture."""
    for kinds in (HOSTILE, HARMLESS, {".tif": LOOPING_TIFFS}):
        for suffix, makers in kinds.items():
            for name, make in makers.items():
                yield f"{name}{suffix}", make


def read_image(data: bytes) -> str:
    """What a scan and a render make of it."""
    try:
        if data.startswith(TIFF_MAGICS):
            read_pages(io.BytesIO(data), len(data)).require_pages()
        else:
            probe_image(data, len(data))
        frame = ImageDecoder(DecodeOptions(MAX_PIXELS)).decode(data).frame
    except MediaUnreadable as error:
        return error.reason
    return f"shown, {frame.width}x{frame.height}"


def read_video(data: bytes) -> str:
    """What a scan and a render make of it."""
    try:
        facts = probe_video(io.BytesIO(data))
    except MediaUnreadable as error:
        return error.reason
    shown = 0
    with VideoSource(io.BytesIO(data)) as source:
        for index, pts in enumerate(facts.pts[:100]):
            try:
                source.picture(pts, facts.packets[index] if facts.packets else None)
                shown += 1
            except MediaUnreadable:
                continue
    return f"{shown} of {len(facts.pts)} pictures are shown"


def _read_in_little_memory(job: tuple[Callable[[bytes], str], bytes]) -> tuple[float, str]:
    read, data = job
    started = time.perf_counter()
    with memory_left(MEMORY):
        try:
            found = read(data)
        except MemoryError:
            found = "out of memory"
    return time.perf_counter() - started, found


def write_and_measure(folder: Path) -> Iterator[str]:
    """A line for each file: seconds, bytes, name, and what became of it."""
    jobs = [(name, make, read_image) for name, make in image_files()]
    jobs += [(name, make, read_video) for name, make in VIDEOS.items()]
    folder.mkdir(parents=True, exist_ok=True)
    for name, make, read in jobs:
        data = make()
        (folder / name).write_bytes(data)
        try:
            seconds, found = in_new_process(_read_in_little_memory, (read, data))
        except BrokenProcessPool:
            seconds, found = 0.0, "THE PROCESS DIED"
        yield f"{seconds:7.2f} s {len(data):9} bytes  {name}: {found}"


if __name__ == "__main__":
    for line in write_and_measure(Path(sys.argv[1])):
        print(line, flush=True)
