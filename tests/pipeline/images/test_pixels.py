"""Every kind of image comes out with the pixels that the tool which made it means."""

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
    """Samples where the decoder gives some; otherwise what its YCbCr means as RGB or gray."""
    decoder = ImageDecoder(DecodeOptions(10_000_000, background, WIDE_WINDOW))
    samples = decoder.decode_samples(data)
    if samples is not None:
        return samples
    frame = decoder.decode(data).frame
    seen = samples_view(frame)
    return seen if seen is not None else frame.to_ndarray(format="rgb24")


@pytest.mark.parametrize("name", SAMPLE_IMAGES)
def test_pixels_are_those_of_the_tool(name: str) -> None:
    sample = SAMPLE_IMAGES[name]
    seen = decode(sample.data)
    assert (seen.shape, seen.dtype) == (sample.pixels.shape, sample.pixels.dtype)
    if sample.tolerance == 0:
        np.testing.assert_array_equal(seen, sample.pixels)
    error = np.abs(seen.astype(np.float64) - sample.pixels.astype(np.float64))
    assert error.max() <= sample.tolerance * 2
    assert np.percentile(error, 99) <= sample.tolerance


@pytest.mark.parametrize("kind", ["jpeg pillow 4:2:0", "png pillow rgb", "png pillow gray", "webp pillow"])
def test_a_sequence_comes_out_picture_by_picture(kind: str) -> None:
    """FFmpeg's PNG decoder adds a picture to the one before it, unless it is told that each stands alone."""
    decoder, fresh = ImageDecoder(DecodeOptions(10_000_000)), decode(SAMPLE_IMAGES[kind].data)
    for _ in range(3):
        seen = decoder.decode(SAMPLE_IMAGES[kind].data).frame
        np.testing.assert_array_equal(seen.to_ndarray(format="gray" if fresh.ndim == 2 else "rgb24"), fresh)


@pytest.mark.parametrize("background", ["#ffffff", "#2040ff"])
@pytest.mark.parametrize("name", ["png pillow rgba", "webp pillow lossless alpha", "png opencv rgba 16"])
def test_transparent_pixels_show_the_background(name: str, background: str) -> None:
    alpha = np.dstack([high_bit_depth_rgb(), high_bit_depth("u2")]) if "16" in name else np.dstack([rgb(), gray()])
    meant = composite_over(alpha, tuple(bytes.fromhex(background[1:])))
    np.testing.assert_array_equal(decode(SAMPLE_IMAGES[name].data, background), meant)


def test_gray_over_a_colour_becomes_rgb() -> None:
    seen = decode(SAMPLE_IMAGES["png pillow gray alpha"].data, "#ff0000")
    g = gray()
    meant = composite_over(np.dstack([g, g, g, g[::-1]]), (255, 0, 0))
    np.testing.assert_array_equal(seen, meant)
