"""The Triton kernels on poisoned memory, against levels from NumPy and against their references.

Interpreted on the CPU, or compiled if there is a CUDA device: see tests/kernels/interpreter.py.
"""

from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kernels.colour import Colour
from kernels.geometry import Geometry
from kernels.nv12 import Nv12
from kernels.nv12_scale import nv12_scale
from kernels.rgb_to_nv12 import rgb_to_nv12
from kernels.temporal import Bins
from kernels.tone import Curve, ToneResult, tone
from tests.kernels import golden
from tests.kernels.golden import Array
from tests.kernels.interpreter import DEVICE, nv12_scale_gpu, rgb_to_nv12_gpu, tone_gpu
from tests.kernels.memory import GuardedPlanes, surround_with_poison
from tests.kernels.shapes import Shape, bins, shapes

BOUNDED = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
COLOURS = st.builds(Colour, st.sampled_from(["bt601", "bt709"]), st.booleans())
# Rounding changes a level by at most 0.5; float32 adds a little at exact halves.
NOT_LESS_THAN_HALF_A_LEVEL = 0.501


def run(gpu: Any, launched: tuple[Any, dict[str, Any]]) -> None:
    grid, arguments = launched
    gpu.kernel[grid](**arguments)


def max_error(planes: Nv12, levels: tuple[Array, Array], judged: Any = (True, True)) -> float:
    """The largest distance of a `judged` sample from its exact level."""
    actual = (planes.luma.cpu().numpy(), planes.chroma.cpu().numpy())
    assert [plane.shape for plane in actual] == [level.shape for level in levels]
    errors = (np.abs(plane - level) for plane, level in zip(actual, levels, strict=True))
    return max(float(np.max(each, where=mask, initial=0)) for each, mask in zip(errors, judged, strict=True))


def clone(planes: Nv12) -> Nv12:
    return Nv12(planes.luma.clone(), planes.chroma.clone())


@BOUNDED
@given(shapes(most=3), COLOURS, bins())
@example(Shape(2, (8, 1100), Geometry((4, 550)), "planes", 1), Colour(), Bins())
@example(Shape(1, (6, 1200), Geometry((5, 701)), "planes", 2), Colour(), Bins())
@example(Shape(2, (16, 48), Geometry((4, 12)), "planes", 3), Colour("bt709", True), Bins())
@example(Shape(1, (3, 700), Geometry((1, 2)), "wide rows", 4), Colour(), Bins())
@example(Shape(3, (5, 33), Geometry(), "interleaved", 5), Colour(), Bins(2, "max"))
@example(Shape(2, (66, 38), Geometry((19, 66), rotation=90), "planes", 6), Colour(), Bins(2, "mean"))
def test_rgb_to_nv12(shape: Shape, colour: Colour, bins: Bins) -> None:
    values = shape.samples(3, *shape.frame)
    geometry = shape.geometry
    frames = surround_with_poison(values, torch.uint8, shape.layout, DEVICE)
    size = geometry.output_size(*shape.frame)
    result = GuardedPlanes.allocate(bins.count(shape.count), size, DEVICE)
    run(rgb_to_nv12_gpu, rgb_to_nv12_gpu.launch(frames, result.planes, geometry, colour, bins))
    output = clone(result.planes)
    upright = golden.crop_and_rotate(
        golden.reduce_bins(values, bins.frames, bins.mode), geometry.crop, geometry.rotation
    )
    levels = golden.rgb_to_nv12_levels(golden.average_area(upright, size), colour.matrix, colour.full_range)
    assert max_error(output, (levels[0], np.minimum(levels[1], 255))) < NOT_LESS_THAN_HALF_A_LEVEL
    assert result.guards_intact()
    reference = rgb_to_nv12(frames.cpu(), geometry, colour=colour, bins=bins)
    assert all(torch.le((a.cpu().int() - b).abs(), 1).all() for a, b in zip(output, reference, strict=True))


@BOUNDED
@given(shapes(unit=2, most=3), st.booleans(), bins())
@example(Shape(2, (8, 1100), Geometry((4, 550)), "planes", 1), False, Bins())
@example(Shape(1, (4, 1200), Geometry((3, 701)), "planes", 2), True, Bins())
@example(Shape(2, (16, 48), Geometry((4, 12)), "planes", 3), True, Bins())
@example(Shape(3, (8, 32), Geometry((4, 16)), "wide rows", 4), False, Bins(2, "max"))
@example(Shape(3, (8, 34), Geometry((5, 21)), "planes", 5), False, Bins(2, "max"))
@example(Shape(1, (66, 38), Geometry((19, 66), rotation=270), "planes", 6), False, Bins())
def test_nv12_scale(shape: Shape, narrow: bool, bins: Bins) -> None:
    height, width = shape.frame
    luma, chroma = shape.samples(height, width), shape.samples(height // 2, width // 2, 2)
    geometry = shape.geometry
    frames = Nv12(
        surround_with_poison(luma, torch.uint8, shape.layout, DEVICE),
        surround_with_poison(chroma, torch.uint8, "wide rows", DEVICE),
    )
    result = GuardedPlanes.allocate(bins.count(shape.count), geometry.output_size(height, width), DEVICE)
    run(nv12_scale_gpu, nv12_scale_gpu.launch(frames, result.planes, geometry, narrow, bins))
    output = clone(result.planes)
    mean = bins.mode == "mean"
    planes = (
        golden.reduce_bins(luma, bins.frames, bins.mode),
        golden.reduce_bins(chroma, bins.frames, "mean") if mean else golden.brightest_chroma(luma, chroma, bins.frames),
    )
    levels = golden.scale_nv12_levels(*planes, geometry.crop, geometry.rotation, geometry.size, narrow)
    assert max_error(output, levels) < NOT_LESS_THAN_HALF_A_LEVEL
    assert result.guards_intact()
    reference = nv12_scale(Nv12(frames.luma.cpu(), frames.chroma.cpu()), geometry, to_limited_range=narrow, bins=bins)
    assert all(torch.le((a.cpu().int() - b).abs(), 1).all() for a, b in zip(output, reference, strict=True))


def deep_samples(shape: Shape, dtype: torch.dtype, channels: tuple[int, ...]) -> Array:
    """Samples on both sides of a window of 100..900 (8 bits: 20..200); floats include NaN and infinities."""
    values = shape.samples(*channels, *shape.frame, below=256 if dtype == torch.uint8 else 1000)
    if dtype != torch.float32:
        return values
    values = values.astype(np.float32)
    odd = np.random.default_rng(shape.seed + 1).random(values.shape)
    values[odd < 0.05], values[odd > 0.95], values[(odd > 0.5) & (odd < 0.55)] = np.nan, np.inf, -np.inf
    return values


@BOUNDED
@given(
    shapes(most=3),
    st.sampled_from([torch.uint8, torch.uint16, torch.float32]),
    st.sampled_from(["gray", "rgb", "table of 256", "table of 1024", "gamma 0.45", "gamma 2.2"]),
    COLOURS,
    bins(),
)
@example(Shape(2, (8, 1100), Geometry((4, 550)), "planes", 1), torch.uint16, "table of 256", Colour(), Bins())
@example(Shape(1, (4, 1200), Geometry((3, 701)), "planes", 2), torch.float32, "gray", Colour(), Bins())
@example(Shape(2, (6, 33), Geometry((5, 33)), "planes", 3), torch.float32, "rgb", Colour(), Bins(2, "max"))
@example(Shape(1, (1100, 6), Geometry((1, 3)), "planes", 4), torch.float32, "gray", Colour(), Bins())
@example(Shape(1, (66, 40), Geometry(rotation=90), "planes", 5), torch.uint16, "gamma 0.45", Colour(), Bins())
@example(Shape(3, (8, 32), Geometry((4, 16)), "planes", 6), torch.float32, "table of 256", Colour(), Bins(3))
@example(Shape(3, (8, 32), Geometry(), "planes", 7), torch.uint16, "gray", Colour(), Bins(2))
def test_tone(shape: Shape, dtype: torch.dtype, kind: str, colour: Colour, bins: Bins) -> None:
    low, high = (20, 200) if dtype == torch.uint8 else (100.25, 900.0)
    gamma = float(kind.split()[1]) if "gamma" in kind else 1.0
    table = shape_table(shape.seed, int(kind.split()[2])) if "table" in kind else None
    values = deep_samples(shape, dtype, (3,) if kind == "rgb" else ())
    frames = surround_with_poison(values, dtype, shape.layout, DEVICE)
    lut = None if table is None else torch.from_numpy(table).to(DEVICE)
    size = shape.geometry.output_size(*shape.frame)
    pictures = bins.count(shape.count)
    result = GuardedPlanes.allocate(pictures, size, DEVICE)
    out = ToneResult(result.planes, torch.zeros((pictures, 3), dtype=torch.int32, device=DEVICE))
    curve = Curve(low, high, gamma, lut, colour)
    run(tone_gpu, tone_gpu.launch(frames, out, shape.geometry, curve, bins))
    output = clone(result.planes)
    with np.errstate(invalid="ignore"):
        measured = golden.reduce_bins(values, bins.frames, bins.mode)
    upright = golden.crop_and_rotate(measured, shape.geometry.crop, shape.geometry.rotation)
    level = golden.average_area(golden.apply_window(upright, low, high), size) ** gamma
    levels = golden.rgb_to_nv12_levels(golden.apply_lut(level, table), colour.matrix, colour.full_range)
    clear = golden.unambiguous_samples(level, table)
    expected = (levels[0], np.minimum(levels[1], 255))
    assert max_error(output, expected, clear) < NOT_LESS_THAN_HALF_A_LEVEL
    assert result.guards_intact()
    flat = upright.reshape(pictures, -1)
    counts = np.stack([(flat < low).sum(1), (flat > high).sum(1), np.isnan(flat).sum(1)], 1)
    assert out.clipped.cpu().numpy().tolist() == counts.tolist()
    cpu_curve = Curve(low, high, gamma, None if lut is None else lut.cpu(), colour)
    reference = tone(frames.cpu(), shape.geometry, cpu_curve, bins=bins)
    assert reference.clipped.tolist() == counts.tolist()
    assert max_error(clone(reference.picture), expected, clear) < NOT_LESS_THAN_HALF_A_LEVEL


def shape_table(seed: int, entries: int) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (entries, 3), dtype=np.uint8)
