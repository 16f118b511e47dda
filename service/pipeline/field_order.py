"""Which field of an interlaced frame is first: read from a frame's flags, and written to them."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction

import av
from av import VideoFrame
from av.filter import Graph
from av.filter.context import FilterContext

from service.plan.render_plan import FieldOrder

# Order -> FFmpeg's name in its filters.
PARITIES = {"top": "tff", "bottom": "bff"}
# Order -> AVFieldOrder of a stream whose frames hold both fields, the top one's row first.
STREAM_ORDERS: dict[FieldOrder, int] = {"progressive": 1, "top": 4, "bottom": 5}
_ANY_TIME_BASE = Fraction(1, 1)


class FilterChain:
    """A chain of FFmpeg's filters for frames of one size and format."""

    def __init__(self, like: VideoFrame, name: str, arguments: str) -> None:
        """Raises av.FFmpegError if the filter refuses such frames."""
        self._graph = Graph()  # its ends do not keep it alive
        self._graph.threads = 1
        self._source: FilterContext = self._graph.add_buffer(
            width=like.width, height=like.height, format=like.format, time_base=_ANY_TIME_BASE
        )
        filter_, self._sink = self._graph.add(name, arguments), self._graph.add("buffersink")
        self._source.link_to(filter_)
        filter_.link_to(self._sink)
        self._graph.configure()

    def feed(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """What comes out after this frame; None is the end."""
        self._source.push(frame)
        with suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:
                found = self._sink.pull()
                assert isinstance(found, VideoFrame)
                yield found


def order_of(frame: VideoFrame) -> FieldOrder:
    """What the flags of the frame say: `progressive`, `top` or `bottom`."""
    if not frame.interlaced_frame:
        return "progressive"
    return "top" if any(FilterChain(frame, "select", "eq(interlace_type,TOPFIRST)").feed(frame)) else "bottom"


def tag_fields(frame: VideoFrame, order: FieldOrder) -> VideoFrame:
    """The frame with flags that say which of its fields is first; the samples are shared. `mixed` keeps the flags."""
    if order not in PARITIES:
        return frame
    return next(FilterChain(frame, "setfield", PARITIES[order]).feed(frame))
