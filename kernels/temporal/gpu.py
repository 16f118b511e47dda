"""Device functions for the maximum of NV12 bins."""

import triton
import triton.language as tl

from kernels.area.gpu import overlap


@triton.jit
def load_brightest_chroma(planes, offsets, mask, luma_steps, bin):
    """float32 (Cb, Cr) from the frame of the bin whose 2 x 2 luma sum is largest.

    `planes` is (luma, chroma) at the bin's first frame, `offsets` the same for a tile of chroma samples, in elements;
    `luma_steps` is (row, column), `bin` (count, luma frame step, chroma frame step). The same program has just read the
    luma of the bin, so it comes from the cache.
    """
    best = tl.full(mask.shape, -1.0, tl.float32)
    blue = tl.zeros(mask.shape, tl.float32)
    red = tl.zeros(mask.shape, tl.float32)
    for frame in range(0, bin[0]):
        light = planes[0] + tl.cast(frame, tl.int64) * bin[1] + offsets[0]
        pair = planes[1] + tl.cast(frame, tl.int64) * bin[2] + offsets[1]
        bright = tl.zeros(mask.shape, tl.float32)
        for corner in tl.static_range(4):
            step = (corner // 2) * luma_steps[0] + (corner % 2) * luma_steps[1]
            bright += tl.load(light + step, mask=mask, other=0).to(tl.float32)
        better = bright > best
        best = tl.where(better, bright, best)
        blue = tl.where(better, tl.load(pair, mask=mask, other=0).to(tl.float32), blue)
        red = tl.where(better, tl.load(pair + 1, mask=mask, other=0).to(tl.float32), red)
    return blue, red


@triton.jit
def sum_rows_of_brightest_chroma(
    planes, rows, columns, inside, vertical, luma_steps, chroma_steps, bin, FAST: tl.constexpr
):
    """`kernels.area.gpu.sum_rows` of the chroma of the brightest frame: sums of (Cb, Cr)."""
    height, out_height, taps = vertical
    blue = tl.zeros([rows.shape[0], columns.shape[0]], tl.float32)
    red = tl.zeros([rows.shape[0], columns.shape[0]], tl.float32)
    first = rows * FAST if FAST > 0 else rows * height // out_height
    for tap in range(0, FAST if FAST > 0 else taps):
        row = first + tap
        weight = overlap(row, rows, height, out_height, 2)
        mask = (weight > 0)[:, None] & inside[None, :]
        luma_offsets = (2 * row * luma_steps[0])[:, None] + (2 * columns * luma_steps[1])[None, :]
        chroma_offsets = (row * chroma_steps[0])[:, None] + (columns * chroma_steps[1])[None, :]
        cb, cr = load_brightest_chroma(planes, (luma_offsets, chroma_offsets), mask, luma_steps, bin)
        share = weight.to(tl.float32) if FAST == 0 else tl.full([rows.shape[0]], 1.0, tl.float32)
        blue += share[:, None] * cb
        red += share[:, None] * cr
    return blue, red
