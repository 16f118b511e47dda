"""Hypothesis strategies: small frames of any size, with integer and fractional factors, crops and rotations."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from kernels.geometry import CropBox, Geometry
from kernels.temporal import Bins
from tests.kernels.golden import Array
from tests.kernels.memory import LAYOUTS


@dataclass(frozen=True)
class Shape:
    """A batch of `count` frames of (height, width) and the geometry of its output."""

    count: int
    frame: tuple[int, int]
    geometry: Geometry
    layout: str
    seed: int

    def samples(self, *shape: int, below: int = 256) -> Array:
        return np.random.default_rng(self.seed).integers(0, below, (self.count, *shape))


@st.composite
def shapes(draw: st.DrawFn, unit: int = 1, most: int = 2) -> Shape:
    """Sides of frames and crops are multiples of `unit`; a batch has at most `most` frames."""
    sides = [draw(_side(longest // unit)) * unit for longest in (14, draw(st.sampled_from([40, 40, 40, 1100])))]
    if sides[1] > 40:
        sides[0] = min(sides[0], 4)
    crop = draw(st.none() | _crop(sides[0], sides[1], unit))
    turn = draw(st.sampled_from([0, 0, 0, 90, 180, 270])) if sides[1] <= 40 else 0
    upright = Geometry(crop=crop, rotation=turn).rotated_size(*sides)
    size = draw(st.none() | st.tuples(_output_side(upright[0]), _output_side(upright[1])))
    geometry = Geometry(size, crop, turn)
    return Shape(
        draw(st.integers(1, most)),
        (sides[0], sides[1]),
        geometry,
        draw(st.sampled_from(LAYOUTS)),
        draw(st.integers(0, 99)),
    )


def bins() -> st.SearchStrategy[Bins]:
    return st.builds(Bins, st.integers(1, 4), st.sampled_from(["mean", "max"]))


def _side(longest: int) -> st.SearchStrategy[int]:
    return st.integers(1, longest)


@st.composite
def _crop(draw: st.DrawFn, height: int, width: int, unit: int) -> CropBox:
    rows, columns = (draw(st.integers(1, side // unit)) * unit for side in (height, width))
    top, left = draw(st.integers(0, (height - rows) // unit)), draw(st.integers(0, (width - columns) // unit))
    return CropBox(top * unit, left * unit, rows, columns)


def _output_side(side: int) -> st.SearchStrategy[int]:
    whole = [side // factor for factor in (1, 2, 3, 4) if side % factor == 0]
    return st.sampled_from(whole) | st.integers(1, side)
