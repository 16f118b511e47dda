"""JPEGs are decoded to what their coefficients mean, with no drift to darker or brighter."""

import av
import numpy as np
import pytest

from service.pipeline.decode import ImageDecoder
from service.pipeline.planes import plane_views
from tests.support import media

COLOUR_NOISE = np.random.default_rng(3).integers(0, 256, (480, 640, 3), np.uint8)
GRAY_NOISE = COLOUR_NOISE // 8 + 96


def decode_exactly(data: bytes) -> list[media.Pixels]:
    """By FFmpeg's transform in floating point."""
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options = {"idct": "faani"}
    return plane_views(decoder.decode(av.Packet(data))[0])


@pytest.mark.parametrize("pixels", [COLOUR_NOISE, GRAY_NOISE], ids=["noise", "soft noise"])
@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_level_at_most_and_none_on_average(pixels: media.Pixels, quality: int, progressive: bool) -> None:
    data = media.jpeg(pixels, quality=quality, progressive=progressive)
    ours = plane_views(ImageDecoder(10**7).decode(data).frame)
    for found, exact in zip(ours, decode_exactly(data), strict=True):
        off = found.astype(np.int16) - exact
        assert abs(off).max() <= 1
        assert abs(off.mean()) < 0.0125
        assert (off != 0).mean() < 0.02
