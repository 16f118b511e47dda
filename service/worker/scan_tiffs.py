"""TIFFs in a scan: a file with one picture is a frame, in a file with several each page is one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from service.pipeline.frames import Unreadable
from service.pipeline.probe import page_facts
from service.pipeline.tiff_directory import Directory, directories
from service.store.frame_scan import ScannedFrame
from service.store.objects import ObjectInfo
from service.worker.scan_rows import readable, unreadable

DIRECTORY_BLOCK = 64 * 1024
"""Bytes read at once where directories lie scattered."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The pages of a file up to its end, or up to `problem`; `first` is where the first directory begins."""

    pages: tuple[Directory, ...]
    first: int
    problem: str | None

    def checked(self) -> "Chain":
        """Raises Unreadable when there is no page at all."""
        if not self.pages:
            raise Unreadable(self.problem or "the TIFF has no picture in it")
        return self

    @property
    def is_plain(self) -> bool:
        """Whether the file is one frame, its first page, as it is for any viewer."""
        return len(self.pages) == 1 and self.problem is None and self.pages[0].offset == self.first


def read_chain(file: BinaryIO) -> Chain:
    """Thumbnails, pyramid levels and masks are left out, unless there is nothing else."""
    found: list[Directory] = []
    problem = None
    try:
        found.extend(directories(file))
    except Unreadable as error:
        problem = error.reason
    except (ValueError, OverflowError) as error:  # an offset that no file can have
        problem = f"its directories make no sense ({type(error).__name__})"
    pictures = tuple(page for page in found if page.is_picture) or tuple(found[:1])
    return Chain(pictures, found[0].offset if found else 0, problem)


def frames_of(info: ObjectInfo, chain: Chain) -> Iterator[ScannedFrame]:
    """Rows of a chain that has pages. Pages have no number of their own; the page that is damaged is a row too."""
    if chain.is_plain:
        yield readable(info, page_facts(chain.pages[0]))
        return
    for place, page in enumerate(chain.pages):
        yield replace(readable(info, page_facts(page)), number=None, page=place, page_offset=page.offset)
    if chain.problem:
        reason = f"{chain.problem}: this page and those after it are lost"
        yield replace(unreadable(info, reason), number=None, page=len(chain.pages))
