"""Tone in Triton: samples are windowed as they are read, clipped samples are counted once, and means get the curve."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.area import tiling
from kernels.area.gpu import from_sample, overlap, pixel_mean_weight, source_columns, sum_columns
from kernels.geometry import Geometry
from kernels.rgb_to_nv12.gpu import store_nv12
from kernels.temporal import Bins
from kernels.tone.curve import Curve, ToneResult

# A column's clipped samples of each kind are counted in 10 bits of one integer.
_MAX_PACKED_COUNT = 1023


@triton.jit
def load_bin(samples, offsets, mask, bin, REDUCE: tl.constexpr):
    """float32 samples of one frame (REDUCE "one"), or their mean or maximum over `bin` = (count, frame step); NaN if
    one of them is NaN."""
    value = tl.load(samples + offsets, mask=mask, other=0).to(tl.float32)
    if REDUCE == "one":
        return value
    for frame in tl.range(1, bin[0], loop_unroll_factor=2):
        step = tl.cast(frame, tl.int64) * bin[1]
        sample = tl.load(samples + step + offsets, mask=mask, other=0).to(tl.float32)
        if REDUCE == "max":
            value = tl.maximum(value, sample, propagate_nan=tl.PropagateNan.ALL)
        else:
            value += sample
    if REDUCE == "mean":
        value = tl.div_rn(value, tl.zeros(mask.shape, tl.float32) + bin[0].to(tl.float32))
    return value


@triton.jit
def apply_window(sample, curve):
    """float32 0..1; `curve` is (low, high, slope, gamma). NaN fails the comparison and becomes 0."""
    value = (sample - curve[0]) * curve[2]
    return tl.where(value > 0.0, tl.minimum(value, 1.0), 0.0)


@triton.jit
def apply_gamma(value, curve, GAMMA: tl.constexpr):
    """Gamma of the means of windowed samples, clamped to 0..1: rounding may leave them just above 1."""
    value = tl.minimum(value, 1.0)
    if GAMMA:
        value = tl.where(value > 0.0, tl.exp2(curve[3] * tl.log2(tl.maximum(value, 1e-30))), 0.0)
    return value


@triton.jit
def look_up_colours(value, table, ENTRIES: tl.constexpr):
    """Three channels of 0..255: from the table of ENTRIES rows, or gray when that is 0."""
    if ENTRIES == 0:
        gray = 255.0 * value
        return gray, gray, gray
    entry = table + 3 * (value * (ENTRIES - 1) + 0.5).to(tl.int32)
    return tl.load(entry).to(tl.float32), tl.load(entry + 1).to(tl.float32), tl.load(entry + 2).to(tl.float32)


@triton.jit
def sum_toned_rows(
    samples,
    rows,
    across,
    vertical,
    curve,
    bin,
    TALL: tl.constexpr,
    FAST: tl.constexpr,
    REDUCE: tl.constexpr,
):
    """(weighted sums of the windowed samples over the source rows under each of `rows`, counts of clipped samples).

    `across` is (column offsets, mask inside the frame, mask of this tile); `vertical` is (source height, output height,
    most source rows under an output row, row step, mask of rows that are no replicated edge). With TALL the counts are
    three numbers; otherwise the first is a tile that packs all three into 10 bits each.
    """
    offsets, inside, mine = across
    height, out_height, taps, step_y, real = vertical
    total = tl.zeros([rows.shape[0], offsets.shape[0]], tl.float32)
    below = tl.zeros([rows.shape[0], offsets.shape[0]], tl.int32)
    above = 0
    neither = 0
    if TALL:
        below = 0
    first = rows * FAST if FAST > 0 else rows * height // out_height
    for tap in range(0, FAST if FAST > 0 else taps):
        row = first + tap
        weight = overlap(row, rows, height, out_height, 1)
        mask = (weight > 0)[:, None] & inside[None, :]
        sample = load_bin(samples, (row * step_y)[:, None] + offsets[None, :], mask, bin, REDUCE)
        share = weight.to(tl.float32)[:, None] if FAST == 0 else 1.0
        total += share * apply_window(sample, curve)
        counted = mask & mine[None, :] & (real & (row * out_height >= rows * height))[:, None]
        low = (counted & (sample < curve[0])).to(tl.int32)
        high = (counted & (sample > curve[1])).to(tl.int32)
        broken = (counted & (sample != sample)).to(tl.int32)  # noqa: PLR0124
        if TALL:
            below += tl.sum(low)
            above += tl.sum(high)
            neither += tl.sum(broken)
        else:
            below += low + (high << 10) + (broken << 20)
    return total, (below, above, neither)


@triton.jit
def add_clipped_counts(counters, clipped, TALL: tl.constexpr):
    """Add the clipped samples of this program to the three counters of its picture; most programs have none."""
    below, above, neither = clipped
    if not TALL:
        above = tl.sum((below >> 10) & 1023)
        neither = tl.sum(below >> 20)
        below = tl.sum(below & 1023)
    tl.atomic_add(counters, below, mask=below > 0, sem="relaxed")
    tl.atomic_add(counters + 1, above, mask=above > 0, sem="relaxed")
    tl.atomic_add(counters + 2, neither, mask=neither > 0, sem="relaxed")


@triton.jit
def kernel(
    frames,
    table,
    luma,
    chroma,
    counters,
    frame_steps,
    read_steps,
    source,
    size,
    plane,
    steps,
    bins,
    taps,
    curve,
    COLOUR: tl.constexpr,
    KIND: tl.constexpr,
    RGB: tl.constexpr,
    REDUCE: tl.constexpr,
    FAST: tl.constexpr,
    TILE: tl.constexpr,
):
    """Grid: (columns, rows, pictures). As `kernels.rgb_to_nv12.gpu.kernel`, and:

    `table` is the colormap or any pointer; `counters` is int32 (pictures, 3), zeroed; `curve` as in `apply_window`;
    KIND is (table entries, gamma is not 1, TALL of `sum_toned_rows`); RGB: frames have three channels.
    """
    ROWS: tl.constexpr = TILE[0]
    picture = tl.program_id(2)
    start = tl.program_id(0) * TILE[2]
    begin, columns, inside = source_columns(start, (source[1], size[1]), 1, FAST[1], TILE[1], TILE[2], TILE[3])
    mine = (columns * size[1] >= start * source[1]) & (columns * size[1] < (start + TILE[2]) * source[1])
    across = (columns * read_steps[1], inside, mine)
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    real = rows < size[0]
    columns = start + tl.arange(0, TILE[2])
    outs = columns
    if FAST[0] == 0:
        rows = tl.minimum(rows, size[0] - 1)
    if FAST[1] == 0:
        outs = tl.minimum(columns, size[1] - 1)
    vertical = (source[0], size[0], taps[0], read_steps[0], real)
    horizontal = (source[1], size[1], taps[1])
    scale = pixel_mean_weight(source, FAST[0], FAST[1])
    bin = (tl.minimum(bins[1], bins[0] - picture * bins[1]), frame_steps[0])
    frames += picture.to(tl.int64) * bins[1] * frame_steps[0]
    counters += 3 * picture
    total, clipped = sum_toned_rows(frames, rows, across, vertical, curve, bin, KIND[2], FAST[0], REDUCE)
    add_clipped_counts(counters, clipped, KIND[2])
    value = apply_gamma(sum_columns(total, begin, outs, horizontal, 1, FAST[1]) * scale, curve, KIND[1])
    if RGB:
        red = 255.0 * value
        frames += frame_steps[1]
        total, clipped = sum_toned_rows(frames, rows, across, vertical, curve, bin, KIND[2], FAST[0], REDUCE)
        add_clipped_counts(counters, clipped, KIND[2])
        green = 255.0 * apply_gamma(sum_columns(total, begin, outs, horizontal, 1, FAST[1]) * scale, curve, KIND[1])
        frames += frame_steps[1]
        total, clipped = sum_toned_rows(frames, rows, across, vertical, curve, bin, KIND[2], FAST[0], REDUCE)
        add_clipped_counts(counters, clipped, KIND[2])
        blue = 255.0 * apply_gamma(sum_columns(total, begin, outs, horizontal, 1, FAST[1]) * scale, curve, KIND[1])
    else:
        red, green, blue = look_up_colours(value, table, KIND[0])
    place = (tl.program_id(1) * ROWS, columns, columns < plane[1], plane[0])
    store_nv12((luma, chroma), (red, green, blue), 1.0, place, steps, COLOUR, ROWS)


def run(frames: Tensor, out: ToneResult, geometry: Geometry, curve: Curve, bins: Bins) -> None:
    """Launch on the current stream of the device of the frames; `tone` has checked the arguments."""
    with torch.cuda.device_of(frames):
        out.clipped.zero_()
        grid, arguments = launch(frames, out, geometry, curve, bins)
        kernel[grid](**arguments)


def launch(
    frames: Tensor, out: ToneResult, geometry: Geometry, curve: Curve, bins: Bins
) -> tuple[tuple[int, int, int], dict[str, Any]]:
    """(grid, keyword arguments) of the kernel."""
    rgb = frames.ndim == 4
    height, width = int(frames.shape[-2]), int(frames.shape[-1])
    reading = geometry.strided_view((height, width), (frames.stride(-2), frames.stride(-1)))
    size = geometry.output_size(height, width)
    cut = tiling(reading, size, samples_per_thread=16)
    luma, chroma = out.picture
    arguments = {
        "frames": from_sample(frames, reading.start),
        "table": out.clipped if curve.lut is None else curve.lut,
        "luma": luma,
        "chroma": chroma,
        "counters": out.clipped,
        "frame_steps": (frames.stride(0), frames.stride(1) if rgb else 0),
        "read_steps": (reading.stride_y, reading.stride_x),
        "source": (reading.height, reading.width),
        "size": size,
        "plane": out.picture.size,
        "steps": (luma.stride(0), luma.stride(1), chroma.stride(0), chroma.stride(1)),
        "bins": (frames.shape[0], bins.frames),
        "taps": (cut.taps_y, cut.taps_x),
        "curve": (curve.low, curve.high, curve.slope, curve.gamma),
        "COLOUR": sum(curve.colour.coefficients(), ()),
        "KIND": (0 if curve.lut is None else len(curve.lut), curve.gamma != 1, cut.taps_y > _MAX_PACKED_COUNT),
        "RGB": rgb,
        "REDUCE": bins.reduction,
        "FAST": (cut.fast_y, cut.fast_x),
        "TILE": (cut.rows, cut.columns, cut.outputs, cut.alignment),
        "num_warps": cut.warps,
    }
    return cut.grid(out.picture.size, out.clipped.shape[0]), arguments
