"""Writes the shape of the pixels into FFV1 frames and Matroska headers: PyAV cannot set it in FFmpeg."""

import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from av import VideoFrame
from av.filter import Graph

# Element IDs (RFC 9559).
_SEGMENT, _TRACKS, _TRACK_ENTRY, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
_DISPLAY_WIDTH, _DISPLAY_UNIT, _VOID, _CRC32 = 0x54B0, 0x54B2, 0xEC, 0xBF
_HEAD_BYTES = 64 * 1024


class PixelAspectWriter:
    """FFV1 writes the pixel aspect of each frame, which is that of the source unless a filter changes it. No sample is
    copied."""

    def __init__(self, pixel_aspect: Fraction) -> None:
        self._pixel_aspect = pixel_aspect
        self._graph: Graph | None = None

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """The same samples; all frames have one size and pixel format."""
        graph = self._graph or self._open_graph(frame)
        graph.vpush(frame)
        shown = graph.vpull()
        assert isinstance(shown, VideoFrame)
        return shown

    def _open_graph(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        graph.threads = 1
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        aspect, sink = graph.add("setsar", str(self._pixel_aspect)), graph.add("buffersink")
        source.link_to(aspect)
        aspect.link_to(sink)
        graph.configure()
        self._graph = graph
        return graph


class _Element(NamedTuple):
    """Offsets in bytes: of the element, its contents and its end; an unknown length ends with the data."""

    id: int
    start: int
    contents: int
    stop: int


def write_display_width(path: Path, width: int) -> None:
    """Let players show the video `width` pixels wide, in a file that FFmpeg has written; its length is kept.

    FFmpeg leaves a gap (Void) after the settings of the picture. DisplayWidth takes one byte of it, and the place of
    DisplayUnit, which FFmpeg sets to unknown. The height is the stored one.
    """
    with path.open("r+b") as file:
        head = bytearray(file.read(_HEAD_BYTES))
        tracks = _find(head, _find(head, None, _SEGMENT), _TRACKS)
        entry = _find(head, tracks, _TRACK_ENTRY)
        video, void = _find(head, entry, _VIDEO), _find(head, entry, _VOID)
        unit = _find(head, video, _DISPLAY_UNIT)
        display_width = _element(_DISPLAY_WIDTH, width.to_bytes(2))
        settings = head[video.contents : unit.start] + display_width + head[unit.stop : video.stop]
        gap = _element(_VOID, bytes(void.stop - void.contents - 1), length_bytes=8)
        between = head[video.stop : void.start]
        head[video.start : void.stop] = _element(_VIDEO, bytes(settings)) + bytes(between) + gap
        checksum = _find(head, tracks, _CRC32)
        head[checksum.contents : checksum.stop] = zlib.crc32(head[checksum.stop : tracks.stop]).to_bytes(4, "little")
        file.seek(0)
        file.write(head)


def _element(id_: int, contents: bytes, length_bytes: int = 1) -> bytes:
    marked = len(contents) | 1 << 7 * length_bytes
    return id_.to_bytes((id_.bit_length() + 7) // 8) + marked.to_bytes(length_bytes) + contents


def _find(data: bytearray, parent: _Element | None, id_: int) -> _Element:
    """The first child with this ID. Raises LookupError if FFmpeg has changed the layout of its files."""
    start, stop = (parent.contents, parent.stop) if parent else (0, len(data))
    for element in _elements(data, start, stop):
        if element.id == id_:
            return element
    raise LookupError(f"the header of the Matroska file has no element {id_:x} where FFmpeg writes it")


def _elements(data: bytearray, start: int, stop: int) -> Iterator[_Element]:
    while start < min(stop, len(data)):
        id_bytes = 9 - data[start].bit_length()
        length_at = start + id_bytes
        length_bytes = 9 - data[length_at].bit_length()
        contents = length_at + length_bytes
        length = int.from_bytes(data[length_at:contents]) & ~(1 << 7 * length_bytes)
        unknown = length == (1 << 7 * length_bytes) - 1
        end = stop if unknown else contents + length
        yield _Element(int.from_bytes(data[start:length_at]), start, contents, end)
        start = end
