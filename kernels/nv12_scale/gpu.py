"""NV12 to NV12 in Triton: each program computes a tile of luma and its chroma."""

from typing import Any

import torch
import triton
import triton.language as tl

from kernels.area import tiling
from kernels.area.gpu import (
    from_sample,
    mean_weight,
    pixel_mean_weight,
    round_to_uint8,
    source_columns,
    sum_columns,
    sum_rows,
)
from kernels.colour import LIMITED_RANGE_CHROMA, LIMITED_RANGE_LUMA
from kernels.geometry import Geometry
from kernels.nv12 import Nv12
from kernels.temporal import Bins
from kernels.temporal.gpu import sum_rows_of_brightest_chroma

_UNCHANGED_LEVELS = (0.0, 1.0, 0.0, 1.0)
# The most samples of a thread with which no variant spills registers.
_SAMPLES_PER_THREAD = {"one": 32, "mean": 16, "max": 8}


@triton.jit
def write_luma(
    luma,
    out,
    place,
    shape,
    steps,
    bin,
    LEVELS: tl.constexpr,
    REDUCE: tl.constexpr,
    FAST: tl.constexpr,
    TILE: tl.constexpr,
):
    """`place` is (first row, first column); `shape` is (source, size, plane, taps) as in `kernel`."""
    source, size, plane, taps = shape
    begin, columns, inside = source_columns(place[1], (source[1], size[1]), 1, FAST[1], TILE[1], TILE[2], TILE[3])
    across = (columns * steps[1], inside)
    rows = place[0] + tl.arange(0, TILE[0])
    columns = place[1] + tl.arange(0, TILE[2])
    row_outs = rows
    outs = columns
    if FAST[0] == 0:
        row_outs = tl.minimum(rows, size[0] - 1)
    if FAST[1] == 0:
        outs = tl.minimum(columns, size[1] - 1)
    vertical = (source[0], size[0], taps[0], steps[0])
    tile = sum_rows(luma, row_outs, across, vertical, bin, 1, FAST[0], REDUCE)
    tile = sum_columns(tile, begin, outs, (source[1], size[1], taps[1]), 1, FAST[1])
    scale = pixel_mean_weight(source, FAST[0], FAST[1]) * LEVELS[1]
    if REDUCE == "mean":
        scale = scale / bin[0].to(tl.float32)
    mask = (rows < plane[0])[:, None] & (columns < plane[1])[None, :]
    tl.store(out + (rows * steps[2])[:, None] + columns[None, :], round_to_uint8(LEVELS[0] + scale * tile), mask=mask)


@triton.jit
def write_chroma(
    planes,
    out,
    place,
    shape,
    luma_steps,
    steps,
    bin,
    LEVELS: tl.constexpr,
    REDUCE: tl.constexpr,
    FAST: tl.constexpr,
    TILE: tl.constexpr,
):
    """As `write_luma`, for pairs of Cb and Cr: half as many rows and columns, each column twice as wide."""
    source, size, plane, taps = shape
    begin, columns, inside = source_columns(
        place[1] // 2, (source[1], size[1]), 2, FAST[1], TILE[1] // 2, TILE[2] // 2, TILE[3]
    )
    rows = place[0] // 2 + tl.arange(0, TILE[0] // 2)
    row_outs = tl.minimum(rows, (size[0] - 1) // 2)
    outs = tl.minimum(place[1] // 2 + tl.arange(0, TILE[2] // 2), (size[1] - 1) // 2)
    if REDUCE == "max":
        heights = (source[0], size[0], taps[0])
        blue, red = sum_rows_of_brightest_chroma(
            planes, row_outs, columns, inside, heights, luma_steps, steps, bin, FAST[0]
        )
    else:
        across = (columns * steps[1], inside)
        vertical = (source[0], size[0], taps[0], steps[0])
        blue = sum_rows(planes[1], row_outs, across, vertical, (bin[0], bin[2]), 2, FAST[0], REDUCE)
        red = sum_rows(planes[1] + 1, row_outs, across, vertical, (bin[0], bin[2]), 2, FAST[0], REDUCE)
    horizontal = (source[1], size[1], taps[1])
    blue = sum_columns(blue, begin, outs, horizontal, 2, FAST[1])
    red = sum_columns(red, begin, outs, horizontal, 2, FAST[1])
    row_share = mean_weight(row_outs, source[0], size[0], 2, FAST[0])
    column_share = mean_weight(outs, source[1], size[1], 2, FAST[1])
    scale = LEVELS[3] * row_share[:, None] * column_share[None, :]
    if REDUCE == "mean":
        scale = scale / bin[0].to(tl.float32)
    pairs = tl.interleave(round_to_uint8(LEVELS[2] + scale * blue), round_to_uint8(LEVELS[2] + scale * red))
    columns = place[1] + tl.arange(0, TILE[2])
    mask = (rows < plane[0] // 2)[:, None] & (columns < plane[1])[None, :]
    tl.store(out + (rows * steps[2])[:, None] + columns[None, :], pairs, mask=mask)


@triton.jit
def kernel(
    luma,
    chroma,
    luma_out,
    chroma_out,
    frame_steps,
    luma_steps,
    chroma_steps,
    source,
    size,
    plane,
    bins,
    taps,
    LEVELS: tl.constexpr,
    REDUCE: tl.constexpr,
    FAST: tl.constexpr,
    TILE: tl.constexpr,
):
    """Grid: (columns, rows, output pictures).

    Pointers: the first sample of each plane that is read or written. In elements: `frame_steps` (luma, chroma, luma
    out, chroma out), `luma_steps` and `chroma_steps` (row, column, row of the output); chroma samples are pairs.
    `source`, `size` and `plane` are (height, width) in luma samples of the input, of the output, and of the output with
    its replicated edges; `bins` is (all frames, frames per bin), `taps` the most source (rows, columns) under an output
    sample. LEVELS is (offset, scale) of luma and of chroma; FAST is the (row, column) factor, or 0 if weights are
    needed; TILE is (rows, source columns, outputs, alignment).
    """
    picture = tl.program_id(2)
    place = (tl.program_id(1) * TILE[0], tl.program_id(0) * TILE[2])
    shape = (source, size, plane, taps)
    bin = (tl.minimum(bins[1], bins[0] - picture * bins[1]), frame_steps[0], frame_steps[1])
    first = picture.to(tl.int64) * bins[1]
    luma += first * frame_steps[0]
    chroma += first * frame_steps[1]
    luma_out += picture.to(tl.int64) * frame_steps[2]
    chroma_out += picture.to(tl.int64) * frame_steps[3]
    write_luma(luma, luma_out, place, shape, luma_steps, bin, LEVELS, REDUCE, FAST, TILE)
    write_chroma((luma, chroma), chroma_out, place, shape, luma_steps, chroma_steps, bin, LEVELS, REDUCE, FAST, TILE)


def run(frames: Nv12, out: Nv12, geometry: Geometry, to_limited_range: bool, bins: Bins) -> None:
    """Launch on the current stream of the device of the frames; `nv12_scale` has checked the arguments."""
    grid, arguments = launch(frames, out, geometry, to_limited_range, bins)
    with torch.cuda.device_of(frames.luma):
        kernel[grid](**arguments)


def launch(
    frames: Nv12, out: Nv12, geometry: Geometry, to_limited_range: bool, bins: Bins
) -> tuple[tuple[int, int, int], dict[str, Any]]:
    """(grid, keyword arguments) of the kernel."""
    reading = geometry.strided_view(frames.size, (frames.luma.stride(1), frames.luma.stride(2)))
    chroma = geometry.strided_view(frames.size, (frames.chroma.stride(1), frames.chroma.stride(2)), subsampling=2)
    size = geometry.output_size(*frames.size)
    cut = tiling(reading, size, samples_per_thread=_SAMPLES_PER_THREAD[bins.reduction])
    planes = (frames.luma, frames.chroma, out.luma, out.chroma)
    arguments = {
        "luma": from_sample(frames.luma, reading.start),
        "chroma": from_sample(frames.chroma, chroma.start),
        "luma_out": out.luma,
        "chroma_out": out.chroma,
        "frame_steps": tuple(plane.stride(0) for plane in planes),
        "luma_steps": (reading.stride_y, reading.stride_x, out.luma.stride(1)),
        "chroma_steps": (chroma.stride_y, chroma.stride_x, out.chroma.stride(1)),
        "source": (reading.height, reading.width),
        "size": size,
        "plane": out.size,
        "bins": (frames.luma.shape[0], bins.frames),
        "taps": (cut.taps_y, cut.taps_x),
        "LEVELS": (*LIMITED_RANGE_LUMA, *LIMITED_RANGE_CHROMA) if to_limited_range else _UNCHANGED_LEVELS,
        "REDUCE": bins.reduction,
        "FAST": (cut.fast_y, cut.fast_x),
        "TILE": (cut.rows, cut.columns, cut.outputs, cut.alignment),
        "num_warps": cut.warps,
    }
    return cut.grid(out.size, out.luma.shape[0]), arguments
