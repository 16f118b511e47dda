"""Device functions of the area average: sums over rows (and the frames of a bin), then over columns.

A tile is float32 [rows, columns]. Samples are summed with integer weights and divided once at the end. Index arithmetic
is 32-bit: `kernels.geometry.MAX_SIDE` keeps a product of two sides below 2**31.
`UNIT` is the number of luma columns and rows that a sample covers: 2 for NV12 chroma, else 1.
"""

import triton
import triton.language as tl
from torch import Tensor


def from_sample(tensor: Tensor, start: int) -> Tensor:
    """A view that starts `start` elements after the tensor."""
    return tensor.as_strided((1,), (1,), int(tensor.storage_offset()) + start)


@triton.jit
def overlap(source, out, size, out_size, UNIT: tl.constexpr):
    """The part of source sample `source` under output sample `out`, in 1/out_size luma samples; int32 >= 0."""
    begin = tl.maximum(source * UNIT * out_size, out * UNIT * size)
    end = tl.minimum((source + 1) * UNIT * out_size, tl.minimum((out + 1) * UNIT, out_size) * size)
    return tl.maximum(end - begin, 0)


@triton.jit
def total_weight(out, size, out_size, UNIT: tl.constexpr):
    """The length of output sample `out` in the same unit: the sum of its overlaps."""
    return (tl.minimum((out + 1) * UNIT, out_size) - out * UNIT) * size


@triton.jit
def source_columns(
    start,
    widths,
    UNIT: tl.constexpr,
    FAST: tl.constexpr,
    COLUMNS: tl.constexpr,
    OUTS: tl.constexpr,
    ALIGNMENT: tl.constexpr,
):
    """(first, columns, mask): the source columns of a tile whose first output is `start`, and which of them exist.

    `widths` is (source, output) in luma columns. The first column is rounded down and the end rounded up to a multiple
    of ALIGNMENT, so that loads can be wide.
    """
    width, out_width = widths
    if FAST > 0:
        first = start * FAST
        columns = first + tl.arange(0, COLUMNS)
        return first, columns, columns * UNIT < width
    last = (out_width - 1) // UNIT
    first = tl.minimum(start, last) * width // out_width // ALIGNMENT * ALIGNMENT
    end = tl.minimum(start + OUTS, last + 1) * width // out_width // ALIGNMENT * ALIGNMENT + ALIGNMENT
    columns = first + tl.arange(0, COLUMNS)
    return first, columns, (columns * UNIT < width) & (columns < end)


@triton.jit
def load_samples(samples, offsets, mask, bin, REDUCE: tl.constexpr):
    """float32 samples of one frame (REDUCE "one"), or their sum or maximum over `bin` = (count, frame step)."""
    if REDUCE == "one":
        return tl.load(samples + offsets, mask=mask, other=0).to(tl.float32)
    value = tl.zeros(offsets.shape, tl.float32)
    for frame in tl.range(0, bin[0], loop_unroll_factor=2):
        step = tl.cast(frame, tl.int64) * bin[1]
        sample = tl.load(samples + step + offsets, mask=mask, other=0).to(tl.float32)
        value = tl.maximum(value, sample) if REDUCE == "max" else value + sample
    return value


@triton.jit
def sum_rows(samples, rows, across, vertical, bin, UNIT: tl.constexpr, FAST: tl.constexpr, REDUCE: tl.constexpr):
    """Weighted sum of the source rows under each of `rows`: float32 [rows, columns].

    `across` is (column offsets in elements, mask of columns inside the frame); `vertical` is (source height, output
    height, most source rows under an output row, row step in elements).
    """
    column_offsets, columns_inside = across
    height, out_height, taps, step_y = vertical
    total = tl.zeros([rows.shape[0], column_offsets.shape[0]], tl.float32)
    if FAST > 0:
        for tap in tl.static_range(FAST):
            row = rows * FAST + tap
            inside = (row * UNIT < height)[:, None] & columns_inside[None, :]
            total += load_samples(samples, (row * step_y)[:, None] + column_offsets[None, :], inside, bin, REDUCE)
    else:
        first = rows * height // out_height
        for tap in tl.range(0, taps, loop_unroll_factor=2):
            row = first + tap
            weight = overlap(row, rows, height, out_height, UNIT)
            inside = (weight > 0)[:, None] & columns_inside[None, :]
            sample = load_samples(samples, (row * step_y)[:, None] + column_offsets[None, :], inside, bin, REDUCE)
            total += weight.to(tl.float32)[:, None] * sample
    return total


@triton.jit
def sum_columns(tile, begin, outs, horizontal, UNIT: tl.constexpr, FAST: tl.constexpr):
    """Weighted sum of the source columns under each of the adjacent output columns `outs`: float32 [rows, outs].

    `begin` is the first source column of the tile; `horizontal` is (source width, output width, most source
    columns under an output column). Integer factors add neighbours; other factors gather by weight.
    """
    width, out_width, taps = horizontal
    ROWS: tl.constexpr = tile.shape[0]
    COLUMNS: tl.constexpr = tile.shape[1]
    OUTS: tl.constexpr = outs.shape[0]
    if FAST == 1:
        return tile
    if FAST > 1:
        return tl.sum(tl.reshape(tile, [ROWS, OUTS, FAST]), 2)
    flat = tl.reshape(tile, [ROWS * COLUMNS])
    total = tl.zeros([ROWS, OUTS], tl.float32)
    for tap in range(0, taps):
        column = outs * width // out_width + tap
        weight = overlap(column, outs, width, out_width, UNIT).to(tl.float32)
        index = tl.minimum(tl.maximum(column - begin, 0), COLUMNS - 1)
        # In one dimension: Triton 3.6 to 3.8 may not compile a gather of two (triton-lang/triton issues 5836, 11600).
        index = tl.reshape((tl.arange(0, ROWS) * COLUMNS)[:, None] + index[None, :], [ROWS * OUTS])
        total += tl.reshape(tl.gather(flat, index, 0), [ROWS, OUTS]) * weight[None, :]
    return total


@triton.jit
def mean_weight(outs, size, out_size, UNIT: tl.constexpr, FAST: tl.constexpr):
    """float32 [outs]: the factor from a weighted sum to a mean."""
    if FAST > 0:
        return tl.full([outs.shape[0]], 1.0 / FAST, tl.float32)
    return 1.0 / total_weight(outs, size, out_size, UNIT).to(tl.float32)


@triton.jit
def pixel_mean_weight(source, FAST_Y: tl.constexpr, FAST_X: tl.constexpr):
    """The factor from the weighted sum under an output pixel to a mean; the same for all pixels.

    Triton makes a side of 1 a compile-time constant, which has no `.to`; a product works for both.
    """
    scale = 1.0 / FAST_Y if FAST_Y > 0 else 1.0 / (source[0] * 1.0)
    return scale * (1.0 / FAST_X) if FAST_X > 0 else scale / (source[1] * 1.0)


@triton.jit
def round_to_uint8(levels):
    """0 <= levels < 255.5 to the nearest uint8, halves to even.

    Adding 2**23 leaves the rounded number in the low bits of the float. This takes two instructions; rounding and
    conversion would each take four times as long as an addition.
    """
    return (levels + 8388608.0).to(tl.int32, bitcast=True).to(tl.uint8)


@triton.jit
def sum_2x2(tile):
    """[rows, columns] -> [rows/2, columns/2]: the sum under each chroma sample."""
    ROWS: tl.constexpr = tile.shape[0] // 2
    COLUMNS: tl.constexpr = tile.shape[1] // 2
    return tl.sum(tl.sum(tl.reshape(tile, [ROWS, 2, COLUMNS, 2]), 3), 1)
