"""High-bit-depth frames: the right level for every sample, the same in every frame; clipped samples are counted."""

from typing import Any

import matplotlib
import numpy as np
import pytest

from service.plan.render_plan import MismatchPolicy
from service.plan.tone import COLORMAPS, Colormap, Tone
from tests.pipeline.rendering import decode_pictures, options, render
from tests.support.data import media

Array = np.ndarray[Any, Any]
VALUES = (1000, 2000, 3000, 5000, 8000, 9000)


def patch_image(values: tuple[float, ...] = VALUES, dtype: str = "u2", side: int = 32) -> Array:
    """Flat squares side by side."""
    return np.repeat(np.repeat(np.array([values]), side, axis=0), side, axis=1).astype(dtype)


def read_patches(data: bytes, number: int = 6) -> Array:
    """(number, 3) RGB in the middle of each square of the first frame."""
    picture = decode_pictures(data)[0].astype(int)
    side = picture.shape[1] // number
    return picture[picture.shape[0] // 2, side // 2 :: side]


def render_patches(frame: Array, tone: Tone, **changes: Any) -> Array:
    height, width = frame.shape[:2]
    size = {"width": width, "height": height} | changes
    result = render([media.tiff(frame)], tone=tone, quality=95, corrupt="fail", **size)
    return read_patches(result.data)


@pytest.mark.parametrize("dtype", ["u2", "i2", "u4", "i4", "f4", "f8"])
@pytest.mark.parametrize("half", [False, True])
def test_samples_of_every_type_get_the_level_of_their_place(dtype: str, half: bool) -> None:
    levels = [0, 0, 36, 109, 219, 255]
    size = {"width": 96, "height": 16} if half else {}
    got = render_patches(patch_image(dtype=dtype), Tone(2000, 9000), **size)
    assert np.abs(got - np.array(levels)[:, None]).max() <= 2


@pytest.mark.parametrize("gamma", [0.5, 2])
def test_gamma(gamma: float) -> None:
    levels = 255 * ((np.array(VALUES) - 1000) / 8000) ** gamma
    assert np.abs(render_patches(patch_image(), Tone(1000, 9000, gamma)) - levels[:, None]).max() <= 2.5


def test_inverse() -> None:
    levels = 255 - 255 * (np.array(VALUES) - 1000) / 8000
    assert np.abs(render_patches(patch_image(), Tone(1000, 9000, inverse=True)) - levels[:, None]).max() <= 2.5


@pytest.mark.parametrize("name", [name for name in COLORMAPS if name in matplotlib.colormaps and name != "gray"])
@pytest.mark.parametrize("half", [False, True])
def test_colormaps_show_matplotlibs_colours(name: Colormap, half: bool) -> None:
    share = (np.array(VALUES) - 1000) / 8000
    expected = matplotlib.colormaps[name](np.rint(share * 255).astype(int), bytes=True)[:, :3].astype(int)
    size = {"width": 96, "height": 16} if half else {}
    assert np.abs(render_patches(patch_image(), Tone(1000, 9000, colormap=name), **size) - expected).max() <= 3


def test_the_window_holds_for_the_whole_sequence() -> None:
    """A sample's level does not depend on the rest of the frame, so nothing flickers."""
    frames: list[bytes | None] = [media.tiff(patch_image((5000, other) * 3)) for other in (1000, 60_000, 5000)]
    result = render(frames, tone=Tone(1000, 9000), width=192, height=32, quality=95)
    levels = [int(picture[16, 16, 0]) for picture in decode_pictures(result.data)]
    assert max(levels) - min(levels) <= 1


def test_what_is_cut_off_is_counted_for_every_frame() -> None:
    dark = np.full((96, 128), 10, np.uint16)
    dark[0, :5] = 5000
    lost = np.full((96, 128), np.nan, np.float32)
    lost[:, 3:] = 2000
    frames = [media.tiff(dark), media.tiff(lost), b"no picture", media.jpeg(media.numbered_picture(1))]
    reports = render(frames, tone=Tone(1000, 3000), corrupt="hold").reports
    clipped = 96 * 128 - 5, 5, 0
    assert [report.clipped for report in reports] == [clipped, (0, 0, 96 * 3), None, None]


def test_pixels_are_averaged_before_gamma() -> None:
    """Alternating black and white average to one half: level 180 with gamma 0.5, not 128, the mean of the levels."""
    board = np.indices((96, 128)).sum(0) % 2 * 65535
    result = render([media.tiff(board.astype(np.uint16))], tone=Tone(0, 65535, 0.5), width=64, height=48, quality=95)
    assert abs(int(decode_pictures(result.data)[0][24, 32, 0]) - 180) <= 2


def test_a_hot_pixel_counts_no_more_than_the_brightest_the_window_shows() -> None:
    frame = np.zeros((96, 128), np.uint16)
    frame[::2, ::2] = 65535
    result = render([media.tiff(frame)], tone=Tone(0, 1000), width=64, height=48, quality=95)
    assert abs(int(decode_pictures(result.data)[0][24, 32, 0]) - 64) <= 2


def test_deep_rgb_keeps_its_hue() -> None:
    frame = np.zeros((32, 192, 3), np.uint16)
    frame[:] = (4000, 2000, 1000)
    got = render_patches(frame, Tone(0, 4000))
    assert np.abs(got - np.array([255, 128, 64])).max() <= 3
    as_png = render([media.png(np.full((32, 64, 3), (250, 9, 9), np.uint8))], tone=Tone(0, 4000), width=64, height=32)
    assert np.abs(decode_pictures(as_png.data)[0][16, 32].astype(int) - (250, 9, 9)).max() <= 4, (
        "8-bit colour is left alone"
    )


@pytest.mark.parametrize(("shallow", "level"), [(True, 255), (False, 100)])
def test_8_bit_gray_is_toned_when_it_is_meant(shallow: bool, level: int) -> None:
    frame = np.full((96, 128), 100, np.uint8)
    for data in (media.tiff(frame), media.png(frame), media._encode_picture(frame, "JPEG", quality=95)):
        result = render([data], tone=Tone(0, 100, shallow=shallow), quality=95)
        assert abs(int(decode_pictures(result.data)[0][48, 64, 0]) - level) <= 2
        assert (result.reports[0].clipped == (0, 0, 0)) is shallow


@pytest.mark.parametrize("mismatch", ["pad", "scale"])
@pytest.mark.parametrize("colormap", ["gray", "inferno"])
def test_odd_sizes_turns_and_other_shapes(mismatch: MismatchPolicy, colormap: Colormap) -> None:
    for shape in ((95, 127), (96, 127), (33, 21), (192, 256), (200, 300)):
        frame = media.tiff(np.full(shape, 3000, np.uint16), extratags=[(274, 3, 1, 6, True)])
        result = render([frame], tone=Tone(0, 3000, colormap=colormap), mismatch=mismatch, corrupt="fail")
        assert decode_pictures(result.data)[0][48, 64, 0] > 240


def test_the_same_input_gives_the_same_bytes() -> None:
    frames: list[bytes | None] = [
        media.tiff(np.random.default_rng(n).integers(0, 65536, (96, 128), np.uint16)) for n in range(5)
    ]
    for size in ({}, {"width": 64, "height": 48}):
        rendered = {render(frames, tone=Tone(9, 50_000, 0.8, "turbo"), **size).data for _ in range(2)}
        assert len(rendered) == 1


def test_a_12_bit_camera_in_16_bit_files_is_not_dark() -> None:
    got = render_patches(patch_image((0, 800, 1600, 2400, 3200, 4095)), Tone(0, 4095))
    assert np.abs(got[:, 0] - np.array([0, 50, 100, 149, 199, 255])).max() <= 2


def test_without_a_tone_16_bits_are_shown_over_their_full_range() -> None:
    result = render([media.tiff(np.full((96, 128), 32768, np.uint16))], quality=95)
    assert abs(int(decode_pictures(result.data)[0][48, 64, 0]) - 128) <= 2


def test_the_tone_is_part_of_the_content_key() -> None:
    from dataclasses import replace

    from service.plan.render_plan import SegmentPlan

    base = SegmentPlan(0, 0, "b", options(tone=Tone(0, 10)), ())
    others = [Tone(0, 11), Tone(0, 10, 2), Tone(0, 10, colormap="hot"), Tone(0, 10, inverse=True), None]
    keys = {replace(base, options=options(tone=tone)).content_key() for tone in others} | {base.content_key()}
    assert len(keys) == 6
