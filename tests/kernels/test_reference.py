"""The plain torch references and the tiling, against NumPy and published values."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.area import taps, tiling
from kernels.colour import Colour
from kernels.geometry import Geometry, StridedView
from kernels.nv12 import Nv12
from kernels.nv12_scale import nv12_scale
from kernels.rgb_to_nv12 import rgb_to_nv12
from kernels.temporal import Bins
from kernels.tone import Curve, tone
from tests.kernels import golden
from tests.kernels.shapes import Shape, bins, shapes

# 100 % colour bars: R'G'B', then Y'CbCr of BT.601 and of BT.709 in 8-bit limited range, as test patterns have them.
BARS = {
    "white": ((255, 255, 255), (235, 128, 128), (235, 128, 128)),
    "yellow": ((255, 255, 0), (210, 16, 146), (219, 16, 138)),
    "cyan": ((0, 255, 255), (170, 166, 16), (188, 154, 16)),
    "green": ((0, 255, 0), (145, 54, 34), (173, 42, 26)),
    "magenta": ((255, 0, 255), (106, 202, 222), (78, 214, 230)),
    "red": ((255, 0, 0), (81, 90, 240), (63, 102, 240)),
    "blue": ((0, 0, 255), (41, 240, 110), (32, 240, 118)),
    "black": ((0, 0, 0), (16, 128, 128), (16, 128, 128)),
}


@pytest.mark.parametrize("bar", BARS)
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_colour_bars(bar: str, matrix: str) -> None:
    rgb, *expected = BARS[bar]
    frames = torch.tensor(rgb, dtype=torch.uint8).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)
    result = rgb_to_nv12(frames, Geometry((2, 2)), colour=Colour(matrix))
    assert result.luma.unique().tolist() == [expected[matrix == "bt709"][0]]
    assert result.chroma.reshape(-1, 2).unique(dim=0).tolist() == [list(expected[matrix == "bt709"][1:])]


@settings(max_examples=60, deadline=None)
@given(shapes(most=4), st.sampled_from(["bt601", "bt709"]), st.booleans(), bins())
def test_rgb_to_nv12(shape: Shape, matrix: str, full: bool, bins: Bins) -> None:
    values = shape.samples(3, *shape.frame)
    result = rgb_to_nv12(
        torch.from_numpy(values).to(torch.uint8), shape.geometry, colour=Colour(matrix, full), bins=bins
    )
    upright = golden.crop_and_rotate(
        golden.reduce_bins(values, bins.frames, bins.mode), shape.geometry.crop, shape.geometry.rotation
    )
    luma, chroma = golden.rgb_to_nv12_levels(
        golden.average_area(upright, shape.geometry.output_size(*shape.frame)), matrix, full
    )
    assert np.abs(result.luma.numpy() - luma).max() < 0.500001
    assert np.abs(result.chroma.numpy() - np.minimum(chroma, 255)).max() < 0.500001


@settings(max_examples=60, deadline=None)
@given(shapes(unit=2, most=4), st.booleans(), bins())
def test_nv12_scale(shape: Shape, narrow: bool, bins: Bins) -> None:
    height, width = shape.frame
    luma, chroma = shape.samples(height, width), shape.samples(height // 2, width // 2, 2)
    frames = Nv12(torch.from_numpy(luma).to(torch.uint8), torch.from_numpy(chroma).to(torch.uint8))
    result = nv12_scale(frames, shape.geometry, to_limited_range=narrow, bins=bins)
    of_chroma = (
        golden.reduce_bins(chroma, bins.frames, "mean")
        if bins.mode == "mean"
        else golden.brightest_chroma(luma, chroma, bins.frames)
    )
    planes = (golden.reduce_bins(luma, bins.frames, bins.mode), of_chroma)
    geometry = shape.geometry
    levels = golden.scale_nv12_levels(*planes, geometry.crop, geometry.rotation, geometry.size, narrow)
    assert np.abs(result.luma.numpy() - levels[0]).max() < 0.500001
    assert np.abs(result.chroma.numpy() - levels[1]).max() < 0.500001


def test_tone_maps_a_ramp_by_hand() -> None:
    """A window of 100..300 of 16 bits, each sample in its own 2 x 2 pixels."""
    samples = torch.tensor([0, 100, 150, 200, 300, 65535], dtype=torch.int32).to(torch.uint16)
    frames = samples.repeat_interleave(2).expand(1, 2, 12)
    result = tone(frames, Geometry(), Curve(100, 300, colour=Colour(full_range=True)))
    assert result.picture.luma[0, 0, ::2].tolist() == [0, 0, 64, 128, 255, 255]
    assert result.picture.chroma.unique().tolist() == [128]
    assert result.clipped.tolist() == [[4, 4, 0]]


def test_tone_names_what_is_no_number() -> None:
    frames = torch.tensor([[[torch.nan, torch.inf], [-torch.inf, 0.5]]])
    result = tone(frames, Geometry(), Curve(0, 1, colour=Colour(full_range=True)))
    assert result.picture.luma.tolist() == [[[0, 255], [0, 128]]]
    assert result.clipped.tolist() == [[1, 1, 1]]


def test_gamma_is_the_exponent() -> None:
    frames = torch.full((1, 2, 2), 0.25)
    result = tone(frames, Geometry(), Curve(0, 1, gamma=0.5, colour=Colour(full_range=True)))
    assert result.picture.luma.unique().tolist() == [128]


def test_samples_are_averaged_before_the_curve_over_area_and_frames() -> None:
    """Alternating black and white has a mean of one half: 180 of 255 with gamma 0.5, not the mean of the levels."""
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 1000.0
    curve = Curve(0, 1000, gamma=0.5, colour=Colour(full_range=True))
    halved = tone(board[None], Geometry((4, 4)), curve)
    blinking = tone(torch.stack([board, 1000 - board]), Geometry(), curve, bins=Bins(2))
    assert halved.picture.luma.unique().tolist() == blinking.picture.luma.unique().tolist() == [180]
    assert tone(torch.stack([board, 1000 - board]), Geometry(), curve, bins=Bins(2, "max")).picture.luma.min() == 255


def test_the_mean_of_a_bin_is_taken_before_the_window() -> None:
    """Noise at the ends of the window is not folded inwards; the mean of the samples is what is counted."""
    frames = torch.tensor([0.0, 200.0, 100.0])[:, None, None].expand(3, 2, 2)
    result = tone(frames, Geometry(), Curve(100, 300, colour=Colour(full_range=True)), bins=Bins(2))
    assert result.picture.luma.unique().tolist() == [0]
    assert result.clipped.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_table_colours_gray() -> None:
    table = torch.arange(256, dtype=torch.uint8)[:, None] * torch.tensor([1, 0, 0], dtype=torch.uint8)
    result = tone(torch.full((1, 2, 2), 255, dtype=torch.uint8), Geometry(), Curve(0, 255, lut=table))
    assert (result.picture.luma[0, 0, 0].item(), result.picture.chroma.flatten().tolist()) == (81, [90, 240])


@given(st.integers(1, 400), st.integers(1, 400))
def test_taps_are_the_most_that_any_output_touches(size: int, out: int) -> None:
    out = min(size, out)
    touched = [-(-(j + 1) * size // out) - j * size // out for j in range(out)]
    assert taps(size, out) == max(touched)


@given(st.tuples(st.integers(1, 32767), st.integers(1, 32767)), st.data(), st.booleans(), st.sampled_from([8, 16, 32]))
def test_a_tile_holds_the_source_of_its_outputs(
    source: tuple[int, int], data: st.DataObject, turned: bool, samples: int
) -> None:
    size = (data.draw(st.integers(1, source[0])), data.draw(st.integers(1, source[1])))
    reading = StridedView(*source, 0, *((1, source[0]) if turned else (source[1], 1)))
    cut = tiling(reading, size, samples)
    block = data.draw(st.integers(0, cut.grid((size[0], size[1] + size[1] % 2), 1)[0] - 1))
    for unit in (1, 2):
        start = min(block * cut.outputs // unit, (size[1] - 1) // unit)
        last = min((block + 1) * cut.outputs // unit, (size[1] + unit - 1) // unit) - 1
        begin = start * cut.fast_x or start * source[1] // size[1] // cut.alignment * cut.alignment
        end = -(-min((last + 1) * unit, size[1]) * source[1] // (size[1] * unit))
        assert end - begin <= cut.columns // unit
    assert 1 <= cut.warps <= 32
    assert cut.rows % 2 == cut.outputs % 2 == 0
