"""Samples of a known colour, coded by the formulae of H.273 for each matrix, are shown in that colour.

The formulae are written here from the recommendation (07/2021, 8.3), for encoding; the product has those for decoding.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from service.pipeline.frames import MediaUnreadable
from service.pipeline.probe import probe_video
from tests.pipeline.videos.colour_sources import (
    PATCH,
    assert_near,
    flat_ycbcr,
    output_tags,
    preview_pixel,
    raw_source,
    render_sources,
    rendered_pixels,
)

Array = np.ndarray[Any, np.dtype[np.float64]]
COLOUR = np.array(PATCH) / 255


def oetf(light: Array | float) -> Array:
    """BT.2020-2, table 4."""
    light = np.asarray(light, np.float64)
    return np.where(light < 0.0181, 4.5 * light, 1.0993 * np.maximum(light, 1e-9) ** 0.45 - 0.0993)


def oetf_inverse(code: Array) -> Array:
    return np.where(code < 4.5 * 0.0181, code / 4.5, ((code + 0.0993) / 1.0993) ** (1 / 0.45))


def pq(light: Array) -> Array:
    """Of light of 0 to 1, which is 10,000 cd/m²."""
    power = np.maximum(light, 0) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def linear_luma(red_weight: float, blue_weight: float) -> Callable[[Array], Any]:
    def encode(rgb: Array) -> Any:
        luma = float(rgb @ [red_weight, 1 - red_weight - blue_weight, blue_weight])
        return luma, (rgb[2] - luma) / 2 / (1 - blue_weight), (rgb[0] - luma) / 2 / (1 - red_weight)

    return encode


def ycgco(rgb: Array) -> Any:
    red, green, blue = rgb
    return green / 2 + (red + blue) / 4, green / 2 - (red + blue) / 4, (red - blue) / 2


def smpte2085(rgb: Array) -> Any:
    red, green, blue = rgb
    return green, (0.986566 * blue - green) / 2, (red - 0.991902 * green) / 2


def constant_luminance(red_weight: float, blue_weight: float) -> Callable[[Array], Any]:
    def encode(rgb: Array) -> Any:
        weights = [red_weight, 1 - red_weight - blue_weight, blue_weight]
        luma = float(oetf(oetf_inverse(rgb) @ weights))
        chroma = []
        for value, weight in ((rgb[2], blue_weight), (rgb[0], red_weight)):
            below, above = float(oetf(1 - weight)), 1 - float(oetf(weight))
            chroma.append((value - luma) / 2 / (below if value < luma else above))
        return luma, *chroma

    return encode


def ictcp(rgb: Array) -> Any:
    """Of PQ with reference white at 203 cd/m², from sRGB of BT.709."""
    light = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) * 203 / 10_000
    wide = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]) @ light
    cones = pq(np.array([[1688, 2146, 262], [683, 2951, 462], [99, 309, 3688]]) @ wide / 4096)
    return np.array([[2048, 2048, 0], [6610, -13613, 7003], [17933, -17390, -543]]) @ cones / 4096


# Matrix, primaries, transfer -> its encoding, and the scale of chroma in limited range.
CASES: dict[tuple[int, int, int], Callable[[Array], Any]] = {
    (4, 1, 1): linear_luma(0.30, 0.11),
    (7, 1, 1): linear_luma(0.212, 0.087),
    (8, 1, 1): ycgco,
    (12, 1, 1): linear_luma(0.2126, 0.0722),
    (12, 6, 6): linear_luma(0.2124, 0.0866),
    (13, 1, 1): constant_luminance(0.2126, 0.0722),
    (11, 1, 1): smpte2085,
    (14, 9, 16): ictcp,
}


def coded_source(case: tuple[int, int, int], encode: Callable[[Array], Any], *, full: bool) -> bytes:
    """10-bit 4:4:4, so that rounding costs less than a level."""
    values, (matrix, primaries, transfer) = encode(COLOUR), case
    chroma_span = 1023 if full else 876 if matrix == 8 else 896
    luma_span, black = (1023, 0) if full else (876, 64)
    samples = (black + luma_span * values[0], 512 + chroma_span * values[1], 512 + chroma_span * values[2])
    planes = b"".join(np.full(64 * 48, round(float(sample)), "<u2").tobytes() for sample in samples)
    tags = f"colormatrix={matrix}:colorprim={primaries}:transfer={transfer}:range={'full' if full else 'limited'}"
    encoder = ("-c:v", "libx265", "-x265-params", f"log-level=none:lossless=1:{tags}", "-pix_fmt", "yuv444p10le")
    return raw_source(".mp4", "yuv444p10le", planes, *encoder)


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_matrix_is_shown_in_its_colour(case: tuple[int, int, int], full: bool) -> None:
    source = coded_source(case, CASES[case], full=full)
    assert_near(preview_pixel(source), PATCH)
    assert_near(rendered_pixels(render_sources(source, codec="mjpeg"))[0], PATCH)
    h264 = render_sources(source)
    assert output_tags(h264) == (case[0] if case[0] in (4, 7) else 9 if case[1] == 9 else 1, *case[1:])
    if case[1] != 9:
        assert_near(rendered_pixels(h264)[0], PATCH)


def test_constant_luminance_of_bt2020_beside_the_usual_kind() -> None:
    """The same R'G'B' of BT.2020, coded with both matrices, gives the same picture."""
    constant = preview_pixel(coded_source((10, 9, 14), constant_luminance(0.2627, 0.0593), full=False))
    assert_near(constant, preview_pixel(coded_source((9, 9, 14), linear_luma(0.2627, 0.0593), full=False)))


@pytest.mark.parametrize(("matrix", "name"), [(15, "IPT-C2"), (16, "YCgCo-Re"), (17, "YCgCo-Ro")])
def test_matrices_without_known_arithmetic_are_refused_by_name(matrix: int, name: str) -> None:
    source = with_h264_tags(matrix_coefficients=matrix)
    with pytest.raises(MediaUnreadable, match=rf"{name} \(matrix {matrix}\)"):
        probe_video(io.BytesIO(source))


@pytest.mark.parametrize(
    ("field", "number"),
    [
        (field, number)
        for field in ("matrix_coefficients", "colour_primaries", "transfer_characteristics")
        for number in (0, 3, 18, 19, 23, 127, 254, 255)
        if (field, number) != ("transfer_characteristics", 18)  # that is HLG
    ],
)
def test_reserved_numbers_mean_what_players_assume(field: str, number: int) -> None:
    source = with_h264_tags(**{field: number})
    assert_near(preview_pixel(source), PATCH)
    result = render_sources(source)
    assert_near(rendered_pixels(result)[0], PATCH)
    assert set(output_tags(result)) <= {1, 6}


def with_h264_tags(**fields: int) -> bytes:
    tags = ":".join(f"{name}={number}" for name, number in fields.items())
    encoder = ("-c:v", "libx264", "-qp", "1", "-pix_fmt", "yuv420p", "-bsf:v", f"h264_metadata={tags}")
    return flat_ycbcr(".mp4", 6, *encoder)
