"""RGB to NV12 in Triton: each program reads the source under a tile of output rows once and writes both planes."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.area import tiling
from kernels.area.gpu import (
    from_sample,
    pixel_mean_weight,
    round_to_uint8,
    source_columns,
    sum_2x2,
    sum_columns,
    sum_rows,
)
from kernels.colour import Colour
from kernels.geometry import Geometry
from kernels.nv12 import Nv12
from kernels.temporal import Bins


@triton.jit
def apply_coefficients(channels, scale, COLOUR: tl.constexpr, ROW: tl.constexpr):
    """Levels of Y' (ROW 0), Cb (1) or Cr (2) from sums; `scale` is the factor from a sum to a mean."""
    of_red: tl.constexpr = COLOUR[4 * ROW + 1]
    of_green: tl.constexpr = COLOUR[4 * ROW + 2]
    of_blue: tl.constexpr = COLOUR[4 * ROW + 3]
    return COLOUR[4 * ROW] + (
        (of_red * scale) * channels[0] + (of_green * scale) * channels[1] + (of_blue * scale) * channels[2]
    )


@triton.jit
def store_nv12(planes, channels, scale, place, steps, COLOUR: tl.constexpr, ROWS: tl.constexpr):
    """Convert a tile of sums and write it to both planes.

    `place` is (first row, columns, mask of columns inside, plane height); `steps` is (frame, row) of luma, then of
    chroma. The columns of a tile are the same bytes of a row in both planes.
    """
    luma, chroma = planes
    first, columns, inside, height = place
    rows = first + tl.arange(0, ROWS)
    luma += tl.program_id(2).to(tl.int64) * steps[0]
    mask = (rows < height)[:, None] & inside[None, :]
    levels = apply_coefficients(channels, scale, COLOUR, 0)
    tl.store(luma + (rows * steps[1])[:, None] + columns[None, :], round_to_uint8(levels), mask=mask)
    sums = (sum_2x2(channels[0]), sum_2x2(channels[1]), sum_2x2(channels[2]))
    blue = tl.minimum(apply_coefficients(sums, scale * 0.25, COLOUR, 1), 255.0)
    red = tl.minimum(apply_coefficients(sums, scale * 0.25, COLOUR, 2), 255.0)
    rows = first // 2 + tl.arange(0, ROWS // 2)
    chroma += tl.program_id(2).to(tl.int64) * steps[2]
    mask = (rows < height // 2)[:, None] & inside[None, :]
    pairs = tl.interleave(round_to_uint8(blue), round_to_uint8(red))
    tl.store(chroma + (rows * steps[3])[:, None] + columns[None, :], pairs, mask=mask)


@triton.jit
def kernel(
    frames,
    luma,
    chroma,
    frame_steps,
    read_steps,
    source,
    size,
    plane,
    steps,
    bins,
    taps,
    COLOUR: tl.constexpr,
    REDUCE: tl.constexpr,
    FAST: tl.constexpr,
    TILE: tl.constexpr,
):
    """Grid: (columns, rows, output pictures).

    Pointers: the first sample that is read (`frames`) or written (`luma`, `chroma`). In elements: `frame_steps` (frame,
    channel), `read_steps` (row, column), `steps` as in `store_nv12`. `source`, `size` and `plane` are (height, width)
    of the input, of the output, and of the output with its replicated edges; `bins` is (all frames, frames per bin),
    `taps` the most source (rows, columns) under an output sample. FAST is the (row, column) factor, or 0 if weights
    are needed; TILE is (rows, source columns, outputs, alignment).
    """
    ROWS: tl.constexpr = TILE[0]
    picture = tl.program_id(2)
    first_row = tl.program_id(1) * ROWS
    start = tl.program_id(0) * TILE[2]
    begin, columns, inside = source_columns(start, (source[1], size[1]), 1, FAST[1], TILE[1], TILE[2], TILE[3])
    across = (columns * read_steps[1], inside)
    rows = first_row + tl.arange(0, ROWS)
    columns = start + tl.arange(0, TILE[2])
    outs = columns
    if FAST[0] == 0:
        rows = tl.minimum(rows, size[0] - 1)
    if FAST[1] == 0:
        outs = tl.minimum(columns, size[1] - 1)
    count = tl.minimum(bins[1], bins[0] - picture * bins[1])
    bin = (count, frame_steps[0])
    vertical = (source[0], size[0], taps[0], read_steps[0])
    horizontal = (source[1], size[1], taps[1])
    frames += picture.to(tl.int64) * bins[1] * frame_steps[0]
    red = sum_rows(frames, rows, across, vertical, bin, 1, FAST[0], REDUCE)
    green = sum_rows(frames + frame_steps[1], rows, across, vertical, bin, 1, FAST[0], REDUCE)
    blue = sum_rows(frames + 2 * frame_steps[1], rows, across, vertical, bin, 1, FAST[0], REDUCE)
    red = sum_columns(red, begin, outs, horizontal, 1, FAST[1])
    green = sum_columns(green, begin, outs, horizontal, 1, FAST[1])
    blue = sum_columns(blue, begin, outs, horizontal, 1, FAST[1])
    scale = pixel_mean_weight(source, FAST[0], FAST[1])
    if REDUCE == "mean":
        scale = scale / count.to(tl.float32)
    place = (first_row, columns, columns < plane[1], plane[0])
    store_nv12((luma, chroma), (red, green, blue), scale, place, steps, COLOUR, ROWS)


def run(frames: Tensor, out: Nv12, geometry: Geometry, colour: Colour, bins: Bins) -> None:
    """Launch on the current stream of the device of the frames; `rgb_to_nv12` has checked the arguments."""
    grid, arguments = launch(frames, out, geometry, colour, bins)
    with torch.cuda.device_of(frames):
        kernel[grid](**arguments)


def launch(
    frames: Tensor, out: Nv12, geometry: Geometry, colour: Colour, bins: Bins
) -> tuple[tuple[int, int, int], dict[str, Any]]:
    """(grid, keyword arguments) of the kernel."""
    height, width = int(frames.shape[2]), int(frames.shape[3])
    reading = geometry.strided_view((height, width), (frames.stride(2), frames.stride(3)))
    size = geometry.output_size(height, width)
    cut = tiling(reading, size, samples_per_thread=32 if bins.frames == 1 else 16)
    arguments = {
        "frames": from_sample(frames, reading.start),
        "luma": out.luma,
        "chroma": out.chroma,
        "frame_steps": (frames.stride(0), frames.stride(1)),
        "read_steps": (reading.stride_y, reading.stride_x),
        "source": (reading.height, reading.width),
        "size": size,
        "plane": out.size,
        "steps": (out.luma.stride(0), out.luma.stride(1), out.chroma.stride(0), out.chroma.stride(1)),
        "bins": (frames.shape[0], bins.frames),
        "taps": (cut.taps_y, cut.taps_x),
        "COLOUR": sum(colour.coefficients(), ()),
        "REDUCE": bins.reduction,
        "FAST": (cut.fast_y, cut.fast_x),
        "TILE": (cut.rows, cut.columns, cut.outputs, cut.alignment),
        "num_warps": cut.warps,
    }
    return cut.grid(out.size, out.luma.shape[0]), arguments
