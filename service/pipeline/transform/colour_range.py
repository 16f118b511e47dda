"""Converts 8-bit YCbCr and gray between full and limited range, rounded to the nearest level."""

import functools
import threading
from fractions import Fraction
from typing import NamedTuple

from av import VideoFormat, VideoFrame
from av.filter import Graph
from av.filter.context import FilterContext

from service.pipeline import planes
from service.pipeline.colour import FULL_RANGE, LIMITED_RANGE

_TO_LIMITED_LUMA = "floor((val*219+127)/255)+16"
_TO_LIMITED_CHROMA = "floor(((val-128)*224+127)/255)+128"
_TO_FULL_LUMA = "clip(floor(((val-16)*255+109)/219),0,255)"
_TO_FULL_CHROMA = "clip(floor(((val-128)*255+112)/224)+128,0,255)"
_ANY_TIME_BASE = Fraction(1, 1)
# Target range -> expressions for luma and chroma, rounded to the nearest (Rec. ITU-T H.273, 8.3).
_LUT_EXPRESSIONS = {LIMITED_RANGE: (_TO_LIMITED_LUMA, _TO_LIMITED_CHROMA), FULL_RANGE: (_TO_FULL_LUMA, _TO_FULL_CHROMA)}
# Filter graphs are shared: a thread must not pull another thread's frame.
_GRAPH_LOCK = threading.Lock()


class FilterGraph(NamedTuple):
    """`graph` is kept because its ends do not keep it alive."""

    graph: Graph
    source: FilterContext
    sink: FilterContext


def convert_range(target_range: int, frame: VideoFrame, pixel_format: str) -> VideoFrame:
    """A copy of `frame`, which has the other range, in `target_range` and under the name `pixel_format`.

    `pixel_format` is yuv420p, yuv422p or yuv444p and has the frame's own layout (which may be called yuvj420p), or it
    is gray, which is only converted to full range.

    swscale's own range conversion gives chroma that is 0.44 levels too high, or 3 levels of RGB. FFmpeg's colorspace
    filter rounds as defined, but only for even sizes; odd ones use lookup tables.
    """
    if pixel_format == "gray":
        return planes.to_full_range_gray(frame)
    pts, frame.pts = frame.pts, 0
    try:
        with _GRAPH_LOCK:
            graph = _filter_graph(frame.width, frame.height, pixel_format, target_range)
            graph.source.push(frame)
            converted = graph.sink.pull()
    except BaseException:
        _filter_graph.cache_clear()  # else this frame would come out in place of the next one
        raise
    finally:
        frame.pts = pts
    assert isinstance(converted, VideoFrame)
    converted.color_range = target_range
    converted.colorspace, converted.color_primaries = frame.colorspace, frame.color_primaries
    converted.color_trc = frame.color_trc
    return converted


@functools.lru_cache(maxsize=4)
def _filter_graph(width: int, height: int, pixel_format: str, target_range: int) -> FilterGraph:
    """The source is declared with the target's pixel format: samples pass unchanged, only the name differs.

    Cached because the colorspace filter allocates 12 MB at 1080p that it does not touch here: allocated once that costs
    nothing, allocated again from memory that frames have used it does.
    """
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(width=width, height=height, format=VideoFormat(pixel_format), time_base=_ANY_TIME_BASE)
    if width % 2 or height % 2:
        luma, chroma = _LUT_EXPRESSIONS[target_range]
        convert = graph.add("lutyuv", f"y='{luma}':u='{chroma}':v='{chroma}'")
    else:
        # The same samples in half the time (0.4 ms at 1080p). Any colour space will do if it is the same on both sides.
        source_name, target_name = ("pc", "tv") if target_range == LIMITED_RANGE else ("tv", "pc")
        arguments = f"iall=bt601-6-625:all=bt601-6-625:irange={source_name}:range={target_name}"
        convert = graph.add("colorspace", arguments)
    # FFV1 would write a JPEG's density as the pixel aspect ratio.
    square_pixels, sink = graph.add("setsar", "0"), graph.add("buffersink")
    source.link_to(convert)
    convert.link_to(square_pixels)
    square_pixels.link_to(sink)
    graph.configure()
    return FilterGraph(graph, source, sink)
