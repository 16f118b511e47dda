"""Crop and rotation give the requested part, upright, for every format in which a source can store it."""

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.pipeline.picture import Picture
from service.pipeline.planes import plane_view
from service.pipeline.transform.frame_transform import FrameTransform
from service.plan.geometry import Crop, CropSpec, crop_of, output_size, unscaled_size
from service.plan.render_plan import RenderOptions
from tests.pipeline.rendering import decode_pictures, options, render
from tests.support.data import media

WIDTH, HEIGHT = 160, 120
Levels = np.ndarray[Any, np.dtype[np.float64]]


def scenery(width: int = WIDTH, height: int = HEIGHT) -> media.Pixels:
    """Fine texture in luma and slopes in chroma, different in every corner: a shift by half a sample is detected."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    texture = 30 * np.sin(x * 1.1) * np.cos(y * 0.9)
    channels = (60 + 130 * x / width + texture, 60 + 130 * y / height + texture, 125 + 40 * np.sin(x / 9) + texture)
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def ycbcr(pixels: media.Pixels) -> list[Levels]:
    """Limited-range BT.601 of RGB: luma of each pixel, Cb and Cr of each 2 x 2 pixels."""
    weights = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
    y, cb, cr = np.moveaxis(pixels @ weights.T, -1, 0)
    return [y + 16, *(_average_2x2(plane) + 128 for plane in (cb, cr))]


def _average_2x2(plane: Levels) -> Levels:
    return plane.reshape(plane.shape[0] // 2, 2, plane.shape[1] // 2, 2).mean(axis=(1, 3))


def transform_frame(data: bytes, crop: Crop | None, rotate: int) -> list[Levels]:
    """The planes of the frame for the encoder."""
    shown = unscaled_size((WIDTH, HEIGHT), crop, rotate)
    width, height = output_size(shown, None, None, None)
    chosen = options(width=width, height=height, crop=crop, rotate=rotate)
    frame, reason = FrameTransform(chosen, IMAGE_COLOUR).apply(ImageDecoder(DecodeOptions(10**8)).decode(data))
    assert reason is None
    assert (frame.width, frame.height, frame.format.name) == (width, height, "yuv420p")
    return [plane_view(plane).astype(float) for plane in frame.planes]


def expected_pixels(crop: Crop | None, rotate: int) -> media.Pixels:
    left, top, right, bottom = crop.within(WIDTH, HEIGHT) if crop else (0, 0, WIDTH, HEIGHT)
    return np.rot90(scenery()[top:bottom, left:right], -rotate // 90)


def assert_close(found: list[Levels], target: media.Pixels, tolerance: float = 0.8) -> None:
    """Each plane within `tolerance` levels on average; an odd side is padded by one pixel, at either end."""
    more = [found[0].shape[axis] - target.shape[axis] for axis in (0, 1)]
    assert more == [side % 2 for side in target.shape[:2]]
    errors = [
        [float(np.abs(a - b).mean()) for a, b in zip(found, ycbcr(_pad_edges(target, more, sides)), strict=True)]
        for sides in itertools.product(*(range(n + 1) for n in more))
    ]
    assert min(max(planes) for planes in errors) <= tolerance, errors


def _pad_edges(pixels: media.Pixels, more: list[int], sides: tuple[int, ...]) -> media.Pixels:
    widths = [(side, missing - side) for missing, side in zip(more, sides, strict=True)]
    return np.pad(pixels, (*widths, (0, 0)), mode="edge")


CROPS = [
    None,
    Crop(0, 0, 64, 48, WIDTH, HEIGHT),
    Crop(32, 16, 64, 48, WIDTH, HEIGHT),
    Crop(33, 17, 64, 48, WIDTH, HEIGHT),
    Crop(33, 16, 63, 47, WIDTH, HEIGHT),
    Crop(95, 71, 65, 49, WIDTH, HEIGHT),
]


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("crop", CROPS, ids=str)
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:2:2", "4:4:4"])
def test_jpegs_of_every_subsampling(subsampling: str, crop: Crop | None, rotate: int) -> None:
    assert_close(transform_frame(media.jpeg(scenery(), 98, subsampling), crop, rotate), expected_pixels(crop, rotate))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("crop", CROPS[2:5], ids=str)
def test_the_crop_is_that_of_the_upright_picture(orientation: int, crop: Crop) -> None:
    for rotate in (0, 90):
        assert_close(
            transform_frame(media.oriented_jpeg(scenery(), orientation), crop, rotate), expected_pixels(crop, rotate)
        )


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1"])
def test_pngs_of_every_kind(mode: str) -> None:
    image = Image.fromarray(scenery())
    image = image.quantize(64, dither=Image.Dither.NONE) if mode == "P" else image.convert(mode)
    shown = np.asarray(image.convert("L" if mode in ("L", "LA", "1") else "RGB"))
    shown = np.repeat(shown[..., None], 3, axis=2) if shown.ndim == 2 else shown
    crop = Crop(33, 17, 64, 48, WIDTH, HEIGHT)
    found = transform_frame(media.png(np.asarray(image)) if mode != "P" else _encode_image(image), crop, 0)
    assert_close(found, shown[17:65, 33:97])


def _encode_image(image: Image.Image) -> bytes:
    import io

    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_an_aligned_crop_of_a_jpeg_keeps_its_samples() -> None:
    """Nothing is resampled: the levels are those of the uncropped render."""
    data = media.jpeg(scenery())
    whole = transform_frame(data, None, 0)
    part = transform_frame(data, Crop(32, 16, 64, 48, WIDTH, HEIGHT), 0)
    assert np.array_equal(part[0], whole[0][16:64, 32:96])
    assert np.array_equal(part[1], whole[1][8:32, 16:48])
    assert np.array_equal(part[2], whole[2][8:32, 16:48])


@pytest.mark.parametrize("rotate", [90, 180, 270])
def test_a_rotation_moves_samples_and_does_not_blend_them(rotate: int) -> None:
    data = media.jpeg(scenery())
    upright, turned = (_luma(data, angle) for angle in (0, rotate))
    assert np.array_equal(turned, np.rot90(upright, -rotate // 90))


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_odd_sizes_are_evened_before_they_are_turned(rotate: int) -> None:
    data = media.jpeg(scenery(159, 119))
    width, height = (120, 160) if rotate in (90, 270) else (160, 120)
    transform = FrameTransform(options(width=width, height=height, rotate=rotate), IMAGE_COLOUR)
    frame, _ = transform.apply(ImageDecoder(DecodeOptions(10**8)).decode(data))
    straight, _ = FrameTransform(options(width=160, height=120), IMAGE_COLOUR).apply(
        ImageDecoder(DecodeOptions(10**8)).decode(data)
    )
    assert np.array_equal(_first_plane(frame), np.rot90(_first_plane(straight), -rotate // 90))


def _luma(data: bytes, rotate: int) -> media.Pixels:
    width, height = (HEIGHT, WIDTH) if rotate in (90, 270) else (WIDTH, HEIGHT)
    transform = FrameTransform(options(width=width, height=height, rotate=rotate), IMAGE_COLOUR)
    return _first_plane(transform.apply(ImageDecoder(DecodeOptions(10**8)).decode(data))[0])


def _first_plane(frame: Any) -> media.Pixels:
    return np.asarray(frame.to_ndarray()[: frame.height])


def test_a_crop_is_scaled_in_the_same_render() -> None:
    frames: list[bytes | None] = [media.jpeg(scenery())] * 2
    crop = Crop(32, 16, 64, 48, WIDTH, HEIGHT)
    result = render(frames, crop=crop, rotate=90, width=96, height=128)
    target = np.asarray(Image.fromarray(expected_pixels(crop, 90)).resize((96, 128), Image.Resampling.BICUBIC))
    assert {report.outcome for report in result.reports} == {"ok"}
    assert_same_scene(decode_pictures(result.data)[1], target)


def assert_same_scene(found: media.Pixels, target: media.Pixels) -> None:
    """After encoding: correlated pixel by pixel, which a picture shifted by two pixels is not."""
    assert found.shape == target.shape
    assert np.corrcoef(found[..., 1].ravel(), target[..., 1].ravel())[0, 1] > 0.97


def test_a_frame_of_another_size_is_cropped_to_the_same_scene() -> None:
    crop = Crop(32, 16, 64, 48, WIDTH, HEIGHT)
    large = np.asarray(Image.fromarray(scenery()).resize((320, 240), Image.Resampling.BICUBIC))
    result = render([media.jpeg(scenery()), media.jpeg(large)], crop=crop, width=64, height=48)
    assert [report.outcome for report in result.reports] == ["ok", "ok"]
    for picture in decode_pictures(result.data):
        assert_same_scene(picture, expected_pixels(crop, 0))


def test_ten_bit_video_is_cropped_between_its_chroma_samples() -> None:
    import av

    frame = av.VideoFrame.from_ndarray(scenery(), format="rgb24").reformat(
        format="yuv420p10le", dst_colorspace=5, dst_color_range=1
    )
    frame.color_range = 1
    crop = Crop(33, 17, 64, 48, WIDTH, HEIGHT)
    transformed, _ = FrameTransform(options(width=64, height=48, crop=crop), IMAGE_COLOUR).apply(Picture(frame, "test"))
    assert_close([plane_view(plane).astype(float) for plane in transformed.planes], expected_pixels(crop, 0))


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 400), st.integers(1, 400), st.data())
def test_a_crop_lies_inside_frames_of_every_size(w: int, h: int, width: int, height: int, data: st.DataObject) -> None:
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    size = data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))
    left, top, right, bottom = Crop(x, y, *size, width, height).within(w, h)
    assert 0 <= left < right <= w and 0 <= top < bottom <= h
    assert Crop(x, y, *size, width, height).within(width, height) == (x, y, x + size[0], y + size[1])


def test_the_whole_picture_is_no_crop() -> None:
    assert crop_of((640, 480), CropSpec(0, 0, 640, 480)) is None


def test_crop_and_rotation_survive_json() -> None:
    chosen = RenderOptions("h264", 70, Fraction(30), 48, 64, crop=Crop(2, 4, 64, 48, 640, 480), rotate=90)
    assert RenderOptions.from_json(chosen.to_json()) == chosen
