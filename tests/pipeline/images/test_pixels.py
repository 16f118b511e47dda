"""Every kind of image is decoded to the pixels that were written."""

import numpy as np
import pytest

from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.pipeline.picture import samples_view
from service.pipeline.tone.window import Window
from tests.pipeline.images.sample_images import (
    SAMPLE_IMAGES,
    Array,
    composite_over,
    gray,
    high_bit_depth,
    high_bit_depth_rgb,
    rgb,
)

WIDE_WINDOW = Window(-(2.0**31), 2.0**32)


def decode(data: bytes, background: str = "#000000") -> Array:
    """The decoder's samples if it returns any, else its frame converted to RGB or gray."""
    decoder = ImageDecoder(DecodeOptions(10_000_000, background, WIDE_WINDOW))
    samples = decoder.decode_samples(data)
    if samples is not None:
        return samples
    frame = decoder.decode(data).frame
    samples = samples_view(frame)
    return samples if samples is not None else frame.to_ndarray(format="rgb24")


@pytest.mark.parametrize("name", SAMPLE_IMAGES)
def test_pixels_are_those_of_the_tool(name: str) -> None:
    sample = SAMPLE_IMAGES[name]
    found = decode(sample.data)
    assert (found.shape, found.dtype) == (sample.pixels.shape, sample.pixels.dtype)
    if sample.tolerance == 0:
        np.testing.assert_array_equal(found, sample.pixels)
    error = np.abs(found.astype(np.float64) - sample.pixels.astype(np.float64))
    assert error.max() <= sample.tolerance * 2
    assert np.percentile(error, 99) <= sample.tolerance


@pytest.mark.parametrize("kind", ["jpeg pillow 4:2:0", "png pillow rgb", "png pillow gray", "webp pillow"])
def test_a_sequence_comes_out_picture_by_picture(kind: str) -> None:
    """FFmpeg's PNG decoder adds an image to the previous one unless the packet is marked as a key frame."""
    decoder, fresh = ImageDecoder(DecodeOptions(10_000_000)), decode(SAMPLE_IMAGES[kind].data)
    for _ in range(3):
        found = decoder.decode(SAMPLE_IMAGES[kind].data).frame
        np.testing.assert_array_equal(found.to_ndarray(format="gray" if fresh.ndim == 2 else "rgb24"), fresh)


@pytest.mark.parametrize("background", ["#ffffff", "#2040ff"])
@pytest.mark.parametrize("name", ["png pillow rgba", "webp pillow lossless alpha", "png opencv rgba 16"])
def test_transparent_pixels_show_the_background(name: str, background: str) -> None:
    alpha = np.dstack([high_bit_depth_rgb(), high_bit_depth("u2")]) if "16" in name else np.dstack([rgb(), gray()])
    expected = composite_over(alpha, tuple(bytes.fromhex(background[1:])))
    np.testing.assert_array_equal(decode(SAMPLE_IMAGES[name].data, background), expected)


def test_gray_over_a_colour_becomes_rgb() -> None:
    found = decode(SAMPLE_IMAGES["png pillow gray alpha"].data, "#ff0000")
    g = gray()
    expected = composite_over(np.dstack([g, g, g, g[::-1]]), (255, 0, 0))
    np.testing.assert_array_equal(found, expected)
