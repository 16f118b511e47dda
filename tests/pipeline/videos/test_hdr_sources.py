"""HDR and wide-gamut sources: tone-mapped where the output has no tags, kept where it has, as asked with `hdr`.

The sources are made by zscale of the ffmpeg program from R'G'B' of sRGB whose white is 203 cd/m².
"""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.pipeline.encode.assemble import assemble
from service.pipeline.stills.artifacts import poster
from service.plan.colour import Hdr
from service.plan.formats import Codec
from tests.pipeline.rendering import options
from tests.pipeline.videos.colour_sources import (
    PATCH,
    Rgb,
    assert_near,
    flat_source,
    flat_ycbcr,
    jpeg_pixel,
    middle,
    output_tags,
    preview_pixel,
    raw_source,
    render_sources,
    rendered_pixels,
)

SDR = "zscale=pin=709:tin=iec61966-2-1:rin=full:min=gbr:npl=203"
DEEP = ("-pix_fmt", "yuv420p10le")
X265 = "log-level=none:lossless=1:range=limited"


def hevc(primaries: int, transfer: int, matrix: int = 9) -> tuple[str, ...]:
    tags = f"{X265}:colorprim={primaries}:transfer={transfer}:colormatrix={matrix}"
    return ("-c:v", "libx265", "-x265-params", tags, *DEEP)


VP9: tuple[str, ...] = ("-c:v", "libvpx-vp9", "-lossless", "1", "-color_primaries", "bt2020", "-color_trc", "smpte2084")
VP9 += ("-colorspace", "bt2020nc", "-color_range", "tv", *DEEP)
AV1 = ("-c:v", "libaom-av1", "-cpu-used", "8", "-crf", "4", *VP9[4:])
TO_PQ = f"{SDR}:p=2020:t=smpte2084:m=2020_ncl:r=limited,format=yuv420p10le"
TO_LINEAR = f"{SDR}:p=709:t=linear:m=709:r=limited,format=yuv420p10le"
TO_P3 = f"{SDR}:p=smpte432:t=iec61966-2-1:m=709:r=limited,format=yuv420p10le"
FFV1_RGB = ("-c:v", "ffv1", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-pix_fmt", "gbrp12le")


def pq_source(colour: Rgb = PATCH) -> bytes:
    return flat_source(".mp4", *hevc(9, 16), colour=colour, filters=TO_PQ)


def hlg_source(colour: Rgb = PATCH) -> bytes:
    """By the formulae of BT.2100-2, table 5, from sRGB (IEC 61966-2-1), because zscale's system gamma is simplified."""
    code = np.array(colour) / 255
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    display = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]) @ light * 0.203
    scene = display * max(float(display @ [0.2627, 0.6780, 0.0593]), 1e-9) ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    red, green, blue = np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    y, cb, cr = 64 + 876 * luma, 512 + 896 * (blue - luma) / 1.8814, 512 + 896 * (red - luma) / 1.4746
    planes = [np.full(count, round(level), "<u2") for count, level in ((64 * 48, y), (32 * 24, cb), (32 * 24, cr))]
    return raw_source(".mov", "yuv420p10le", b"".join(plane.tobytes() for plane in planes), *hevc(9, 18))


def hdr_source(kind: str) -> bytes:
    match kind:
        case "pq-hevc":
            return pq_source()
        case "pq-vp9":
            return flat_source(".webm", *VP9, filters=TO_PQ)
        case "pq-av1":
            return flat_source(".mkv", *AV1, filters=TO_PQ)
        case "pq-rgb":
            return flat_source(".mkv", *FFV1_RGB, filters=f"{SDR}:p=2020:t=smpte2084:r=full,format=gbrp12le")
        case "hlg-hevc":
            return hlg_source()
        case "p3":
            return flat_source(".mp4", *hevc(12, 13, 1), filters=TO_P3)
        case "linear":
            return flat_source(".mp4", *hevc(1, 8, 1), filters=TO_LINEAR)
        case _:
            words = "zscale=pin=709:tin=709:rin=full:min=gbr:p=2020:t=2020_10:m=2020_ncl:r=limited,format=yuv420p10le"
            return flat_source(".mp4", *hevc(9, 14), filters=words)


CONVERSIONS = {
    "pq-hevc": "tone-mapped from PQ (BT.2100) to SDR BT.709",
    "pq-vp9": "tone-mapped from PQ (BT.2100) to SDR BT.709",
    "pq-av1": "tone-mapped from PQ (BT.2100) to SDR BT.709",
    "pq-rgb": "tone-mapped from PQ (BT.2100) to SDR BT.709",
    "hlg-hevc": "tone-mapped from HLG (BT.2100) to SDR BT.709",
    "p3": "colours converted from Display P3 to BT.709",
    "linear": "converted from linear light to SDR BT.709",
    "sdr-2020": "colours converted from BT.2020 to BT.709",
}


@pytest.mark.parametrize("kind", CONVERSIONS)
def test_outputs_without_tags_show_the_colour_that_was_meant(kind: str) -> None:
    source = hdr_source(kind)
    assert_near(preview_pixel(source), PATCH, 4)
    result = render_sources(source, codec="mjpeg")
    assert_near(rendered_pixels(result)[0], PATCH, 4)
    assert result.reports[0].conversions == (CONVERSIONS[kind],)


@pytest.mark.parametrize("kind", ["pq-hevc", "hlg-hevc", "sdr-2020"])
@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_tags_are_kept_by_default_and_stills_are_converted(kind: str, codec: Codec) -> None:
    form = "yuv420p10le" if codec == "ffv1" else "yuv420p"
    source = hdr_source(kind)
    result = render_sources(source, codec=codec, outputs=("preview_strip", "keogram"), form=form)
    transfer = {"pq-hevc": 16, "hlg-hevc": 18, "sdr-2020": 14}[kind]
    assert output_tags(result) == (9, 9, transfer)
    assert result.reports[0].conversions == ()
    assert_near(jpeg_pixel(poster(result.data)), PATCH, 6)
    for part in result.artifacts.values():
        with Image.open(io.BytesIO(part)) as image:
            assert_near(middle(np.asarray(image.convert("RGB"))), PATCH, 6)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "ffv1"])
def test_hdr_sdr_gives_a_video_of_bt709(codec: Codec) -> None:
    result = render_sources(pq_source(), codec=codec, hdr="sdr", width=128, height=96)
    assert output_tags(result) == (1, 1, 1)
    assert_near(rendered_pixels(result)[0], PATCH, 4)


def test_a_gray_ramp_stays_gray_and_never_falls() -> None:
    shown = [preview_pixel(pq_source((level, level, level))) for level in (0, 16, 64, 128, 200, 216, 235, 255)]
    grays = [pixel[1] for pixel in shown]
    assert all(max(pixel) - min(pixel) <= 2 for pixel in shown)
    assert grays == sorted(grays)
    for found, wanted in zip(grays, (0, 16, 64, 128, 200, 216, 231, 237), strict=True):
        assert abs(found - wanted) <= 2


@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (250, 128, 10), (40, 70, 210), (180, 140, 120)]
)
@pytest.mark.parametrize("make", [pq_source, hlg_source])
def test_saturated_colours_keep_their_hue(colour: Rgb, make: Callable[[Rgb], bytes]) -> None:
    found = preview_pixel(make(colour))
    order = sorted(range(3), key=lambda channel: colour[channel])
    assert sorted(range(3), key=lambda channel: found[channel] // 8 * 1000 + order.index(channel)) == order
    below_the_knee = [channel for channel in range(3) if 30 <= colour[channel] <= 215]
    assert all(abs(found[channel] - colour[channel]) <= 8 for channel in below_the_knee)


@pytest.mark.parametrize(
    ("hdr", "tags"), [(None, (1, 1, 1)), ("sdr", (1, 1, 1)), ("keep", (9, 9, 16))], ids=["unset", "sdr", "keep"]
)
def test_hdr_beside_sdr_is_shown_in_one_colour(hdr: Hdr | None, tags: tuple[int, int, int]) -> None:
    sdr = flat_ycbcr(".mp4", 6, "-c:v", "libx264", "-qp", "1", "-pix_fmt", "yuv420p")
    result = render_sources(sdr, pq_source(), hdr=hdr)
    assert output_tags(result) == tags
    first, second = rendered_pixels(result)
    assert_near(first, second, 4)
    if hdr != "keep":
        assert_near(first, PATCH, 4)


def test_the_assembled_file_says_that_it_is_hdr(tmp_path: Path) -> None:
    result = render_sources(pq_source())
    path = tmp_path / "out.mp4"
    assemble([result.data], options(), path)
    assert b"colrnclx" + bytes([0, 9, 0, 16, 0, 9, 0]) in path.read_bytes()


def test_the_same_bytes_whatever_was_converted_before() -> None:
    first = render_sources(pq_source(), codec="mjpeg").data
    render_sources(hlg_source(), codec="mjpeg")
    assert render_sources(pq_source(), codec="mjpeg").data == first
