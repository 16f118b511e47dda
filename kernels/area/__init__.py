"""Area average: the source samples under each output sample, and how the work is tiled into programs.

Output sample j of `out` over `size` source samples is the mean over [j*size/out, (j+1)*size/out); samples at the ends
count by the part inside. A chroma sample of NV12 covers two luma columns and rows (one at the end of an odd side).
"""

import math
from dataclasses import dataclass

from kernels.geometry import StridedView

_UNWEIGHTED_FACTORS = (1, 2, 4)
_MAX_COLUMNS = 1024
_ROTATED_TILE = (32, 64)
_ALIGNMENT = 16
_WARP_SIZE = 32
_MAX_WARPS = 32


@dataclass(frozen=True, slots=True)
class Tiling:
    """One program computes `rows` x `outputs` luma samples from `columns` source columns; all three are powers of two.

    `fast_y` and `fast_x` are the integer factors that need no weights, or 0. `taps_y` and `taps_x` are the most source
    samples under an output sample. A tile starts at a multiple of `alignment` columns.
    """

    fast_y: int
    fast_x: int
    taps_y: int
    taps_x: int
    rows: int
    columns: int
    outputs: int
    alignment: int
    warps: int

    def grid(self, size: tuple[int, int], count: int) -> tuple[int, int, int]:
        """Programs along x, along y, and over `count` pictures of this even (height, width)."""
        return _ceil_div(size[1], self.outputs), _ceil_div(size[0], self.rows), count


def tiling(view: StridedView, size: tuple[int, int], samples_per_thread: int = 32) -> Tiling:
    """The tiling for an output of this (height, width) from a strided view.

    Upright, a tile is two long rows: a thread of the fast path holds 16 columns of both and needs no other thread. On
    its side, rows of memory run down the tile, so the tile is tall. `samples_per_thread` is an upper limit, lower for
    kernels that need more registers per sample.
    """
    fast_y, fast_x = _unweighted_factor(view.height, size[0]), _unweighted_factor(view.width, size[1])
    taps_y, taps_x = taps(view.height, size[0]), taps(view.width, size[1])
    on_side = abs(view.stride_x) > abs(view.stride_y)
    alignment = 1 if on_side else _ALIGNMENT
    margin = 0 if fast_x else 2 * (alignment + 1)
    widest = _ROTATED_TILE[1] if on_side else _MAX_COLUMNS
    columns = max(min(widest, _next_power_of_two(view.width + margin)), _next_power_of_two(2 * taps_x + margin), 32)
    rows = max(2, _ROTATED_TILE[0] * _ROTATED_TILE[1] // max(columns, _ROTATED_TILE[1])) if on_side else 2
    outputs = columns // fast_x if fast_x else _outputs_per_tile(columns - margin, view.width, size[1])
    straight = fast_x and view.stride_x == 1
    per_warp = _WARP_SIZE * min(samples_per_thread, 32 if straight else 16)
    warps = min(_MAX_WARPS, max(1, rows * columns // per_warp))
    return Tiling(fast_y, fast_x, taps_y, taps_x, rows, columns, outputs, alignment, warps)


def taps(size: int, out: int) -> int:
    """The most source samples under one output sample.

    With size/out = p/q in lowest terms, an interval starts at a multiple of 1/q and is p/q long.
    """
    common = math.gcd(size, out)
    return (size // common - 2) // (out // common) + 2


def _unweighted_factor(size: int, out: int) -> int:
    """1, 2 or 4, or 0 for any other factor and for odd sides: only the weighted path handles their replicated edge."""
    whole = size // out
    return whole if whole * out == size and out % 2 == 0 and whole in _UNWEIGHTED_FACTORS else 0


def _outputs_per_tile(columns: int, size: int, out: int) -> int:
    """The largest power of two of outputs, at least 2, that this many source columns are enough for."""
    outputs = min(columns * out // size, _next_power_of_two(out + out % 2))
    return 1 << max(1, outputs.bit_length() - 1)


def _next_power_of_two(value: int) -> int:
    """`value` itself if it is one."""
    return 1 << (value - 1).bit_length()


def _ceil_div(whole: int, part: int) -> int:
    return -(-whole // part)
