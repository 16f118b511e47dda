"""TIFFs in a scan: a file with one picture is a frame, in a file with several each page is one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from service.pipeline.frames import MediaUnreadable
from service.pipeline.probe import probe_tiff_page
from service.pipeline.tiff_directory import TiffDirectory, read_directories
from service.store.frame_scan import ScannedFrame
from service.store.objects import ObjectInfo
from service.worker.scan_rows import frame_row, unreadable_row

DIRECTORY_READ_BYTES = 64 * 1024
"""Bytes read at once where directories lie scattered."""


@dataclass(frozen=True, slots=True)
class TiffPages:
    """The pages of a file up to its end, or up to `problem`; `first` is where the first directory begins."""

    pages: tuple[TiffDirectory, ...]
    first_offset: int
    problem: str | None

    def require_pages(self) -> "TiffPages":
        """Raises Unreadable when there is no page at all."""
        if not self.pages:
            raise MediaUnreadable(self.problem or "the TIFF has no picture in it")
        return self

    @property
    def is_single_frame(self) -> bool:
        """Whether the file is one frame, its first page, as it is for any viewer."""
        return len(self.pages) == 1 and self.problem is None and self.pages[0].offset == self.first_offset


def read_pages(file: BinaryIO) -> TiffPages:
    """Thumbnails, pyramid levels and masks are left out, unless there is nothing else."""
    found: list[TiffDirectory] = []
    problem = None
    try:
        found.extend(read_directories(file))
    except MediaUnreadable as error:
        problem = error.reason
    except (ValueError, OverflowError) as error:  # an offset that no file can have
        problem = f"its directories make no sense ({type(error).__name__})"
    pictures = tuple(page for page in found if page.is_picture) or tuple(found[:1])
    return TiffPages(pictures, found[0].offset if found else 0, problem)


def tiff_rows(info: ObjectInfo, tiff: TiffPages) -> Iterator[ScannedFrame]:
    """Rows of a chain that has pages. Pages have no number of their own; the page that is damaged is a row too."""
    if tiff.is_single_frame:
        yield frame_row(info, probe_tiff_page(tiff.pages[0]))
        return
    for place, page in enumerate(tiff.pages):
        yield replace(frame_row(info, probe_tiff_page(page)), number=None, page=place, page_offset=page.offset)
    if tiff.problem:
        reason = f"{tiff.problem}: this page and those after it are lost"
        yield replace(unreadable_row(info, reason), number=None, page=len(tiff.pages))
