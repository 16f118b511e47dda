"""Every level of every plane, compared with the definition rounded to the nearest."""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from av import VideoFrame

from service.pipeline.colour import FULL_RANGE, LIMITED_RANGE
from service.pipeline.planes import plane_views
from service.pipeline.transform.colour_range import convert_range

LAYOUTS = ("yuv420p", "yuv422p", "yuv444p")


def to_limited(level: int, *, chroma: bool) -> int:
    """Rec. ITU-T H.273, 8.3."""
    exact = Fraction(level - 128, 255) * 224 + 128 if chroma else Fraction(level, 255) * 219 + 16
    return floor(exact + Fraction(1, 2))


def to_full(level: int, *, chroma: bool) -> int:
    exact = Fraction(level - 128, 224) * 255 + 128 if chroma else Fraction(level - 16, 219) * 255
    return min(max(floor(exact + Fraction(1, 2)), 0), 255)


def frame_of_every_level(layout: str, width: int, height: int) -> VideoFrame:
    """Each plane has the levels in another order, so that a dependence between planes would show."""
    frame, chance = VideoFrame(width, height, layout), np.random.default_rng(7)
    for plane in plane_views(frame):
        plane[:] = np.resize(chance.permutation(np.arange(256, dtype=np.uint8)), plane.shape)
    return frame


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("target", [LIMITED_RANGE, FULL_RANGE])
@pytest.mark.parametrize("size", [(66, 50), (65, 50), (66, 49), (65, 49), (34, 128), (1024, 64)])
def test_levels(layout: str, target: int, size: tuple[int, int]) -> None:
    given = frame_of_every_level(layout.replace("yuv", "yuvj") if target == LIMITED_RANGE else layout, *size)
    before = [plane.copy() for plane in plane_views(given)]
    changed = convert_range(target, given, layout)
    assert (changed.format.name, changed.color_range) == (layout, target)
    for number, (old, new, unchanged) in enumerate(zip(before, plane_views(changed), plane_views(given), strict=True)):
        table = [(to_limited if target == LIMITED_RANGE else to_full)(level, chroma=number > 0) for level in range(256)]
        assert set(np.unique(old)) == set(range(256))
        assert np.array_equal(new, np.array(table, np.uint8)[old])
        assert np.array_equal(unchanged, old), "the frame that was given is another's"


@pytest.mark.parametrize("size", [(66, 50), (65, 49)])
def test_the_colours_are_named_as_before(size: tuple[int, int]) -> None:
    given = frame_of_every_level("yuv420p", *size)
    given.colorspace, given.color_primaries, given.color_trc = 1, 9, 16
    changed = convert_range(FULL_RANGE, given, "yuv420p")
    assert (changed.colorspace, changed.color_primaries, changed.color_trc) == (1, 9, 16)


def test_gray_is_widened() -> None:
    given = frame_of_every_level("gray", 66, 50)
    changed = convert_range(FULL_RANGE, given, "gray")
    table = np.array([to_full(level, chroma=False) for level in range(256)], np.uint8)
    assert np.array_equal(plane_views(changed)[0], table[plane_views(given)[0]])


def test_it_follows_a_change_of_size() -> None:
    sizes = [(66, 50), (34, 20), (66, 50)]
    converted = [convert_range(LIMITED_RANGE, frame_of_every_level("yuvj420p", *size), "yuv420p") for size in sizes]
    assert [(frame.width, frame.height) for frame in converted] == sizes


def test_threads_do_not_get_each_other_s_pictures() -> None:
    def flat(level: int) -> set[int]:
        frame = VideoFrame(640, 360, "yuvj420p")
        for plane in plane_views(frame):
            plane[:] = level
        return {int(plane_views(convert_range(LIMITED_RANGE, frame, "yuv420p"))[0][place, place]) for place in (0, 359)}

    levels = [number % 256 for number in range(2000)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(flat, levels)) == [{to_limited(level, chroma=False)} for level in levels]
