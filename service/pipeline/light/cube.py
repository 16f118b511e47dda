"""A conversion of R'G'B' as a lookup table of three dimensions, applied by FFmpeg's `lut3d` filter."""

import functools
import threading
from fractions import Fraction

import numpy as np
from av import VideoFormat, VideoFrame
from av.filter import Graph

from service.pipeline.light.conversion import PEAK_NITS, converter
from service.pipeline.light.primaries import Array
from service.pipeline.light.transfers import (
    REFERENCE_WHITE_NITS,
    pq_from_light,
    pq_to_light,
    srgb_from_light,
    srgb_to_light,
)
from service.pipeline.native_libraries import without_fused_multiply_add
from service.plan.colour import SMPTE2084, Colour
from service.scratch import working_file

# Of each axis; the filter interpolates between them in tetrahedra.
POINTS = 65
RGB_FORMAT = "gbrp16le"
# Of PQ, the share of an axis that has light up to reference white, spaced like SDR: PQ itself would give it fewer
# points than its many dark levels need.
_SDR_SHARE = 0.75
_PQ_WHITE, _PQ_PEAK = (float(pq_from_light(np.array(nits / REFERENCE_WHITE_NITS))) for nits in (203.0, PEAK_NITS))

# A graph is shared: a thread must not pull another thread's frame.
_GRAPH_LOCK = threading.Lock()


def apply_cube(frame: VideoFrame, source: Colour, target: Colour, peak: int = 65_535) -> VideoFrame:
    """A copy of a gbrp16le frame of `source` colours, whose white is `peak`, in `target` colours; its white is 65,535.

    The result differs by a few levels of 8 bits where a dark channel is beside bright ones, elsewhere by less than one.
    """
    assert frame.format.name == RGB_FORMAT
    frame.pts = 0
    try:
        with _GRAPH_LOCK:
            graph = _filter_graph(frame.width, frame.height, source, target, peak)
            graph.vpush(frame)
            converted = graph.vpull()
    except BaseException:
        _filter_graph.cache_clear()  # else this frame would come out in place of the next one
        raise
    assert isinstance(converted, VideoFrame)
    return converted


@functools.lru_cache(maxsize=4)
def _filter_graph(width: int, height: int, source: Colour, target: Colour, peak: int) -> Graph:
    graph = Graph()
    graph.threads = 1
    begin = graph.add_buffer(width=width, height=height, format=VideoFormat(RGB_FORMAT), time_base=Fraction(1))
    with working_file("table.csp") as path:
        path.write_bytes(_table_text(source, target, peak))
        table, end = graph.add("lut3d", file=str(path), interp="tetrahedral"), graph.add("buffersink")
        begin.link_to(table)
        table.link_to(end)
        with without_fused_multiply_add():
            graph.configure()
    return graph


@functools.lru_cache(maxsize=2)
def _table_text(source: Colour, target: Colour, peak: int) -> bytes:
    """The table as text in the cineSpace format: for each channel, where a code lies on its axis; then the points."""
    is_pq = source.transfer == SMPTE2084
    axis = np.linspace(0, 1, POINTS)
    codes = _pq_code_at(axis) if is_pq else axis
    inputs = np.linspace(0, 1, 4096)
    places = _place_of_pq(inputs * 65_535 / peak) if is_pq else inputs * 65_535 / peak
    shaper = [str(len(inputs)), _numbers(inputs), _numbers(np.clip(places, 0, 1))]
    blue, green, red = np.meshgrid(codes, codes, codes, indexing="ij")
    points = converter(source, target)(np.stack([red, green, blue], axis=-1).reshape(-1, 3))
    rows = "%.5f %.5f %.5f\n" * len(points) % tuple(points.ravel().tolist())
    head = ["CSPLUTV100", "3D", "", "BEGIN METADATA", "END METADATA", "", *shaper * 3, "", f"{POINTS} " * 3]
    return ("\n".join(head) + "\n" + rows).encode()


def _place_of_pq(code: Array) -> Array:
    """Where on an axis of 0 to 1 a code of PQ lies."""
    light = pq_to_light(np.minimum(code, _PQ_WHITE))
    highlight = np.clip((code - _PQ_WHITE) / (_PQ_PEAK - _PQ_WHITE), 0, 1)
    return _SDR_SHARE * srgb_from_light(light) + (1 - _SDR_SHARE) * highlight


def _pq_code_at(place: Array) -> Array:
    """The inverse of `_place_of_pq`."""
    highlight = np.maximum(place - _SDR_SHARE, 0) / (1 - _SDR_SHARE)
    dark = pq_from_light(srgb_to_light(np.minimum(place / _SDR_SHARE, 1)))
    return np.where(place <= _SDR_SHARE, dark, _PQ_WHITE + highlight * (_PQ_PEAK - _PQ_WHITE))


def _numbers(values: Array) -> str:
    return " ".join(f"{value:.7f}" for value in values.tolist())
