"""Containers and codecs by suffix: every picture that FFmpeg shows, in any order of requests."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from service.pipeline.frames import MediaUnreadable
from service.pipeline.probe import probe_video
from service.plan.names.media_names import VIDEO_SUFFIXES
from tests.pipeline.videos.ffmpeg_reference import (
    assert_as_ffmpeg,
    decode_with_ffmpeg,
    make_numbered_video,
    read_pictures,
)

X264 = ("-c:v", "libx264", "-g", "12")
FULL = ("-pix_fmt", "yuvj420p")
PAL = ("-s", "720x576")
ALT_REF = ("-auto-alt-ref", "1", "-lag-in-frames", "16", "-arnr-maxframes", "5")
FORMATS: list[tuple[str, tuple[str, ...]]] = [
    (".3gp", ("-c:v", "h263", "-s", "176x144")),
    (".3g2", X264),
    (".f4v", X264),
    (".m4v", X264),
    (".mov", ("-c:v", "prores_ks", "-pix_fmt", "yuv422p10le")),
    (".mov", ("-c:v", "qtrle", "-pix_fmt", "rgb24")),
    (".mov", ("-c:v", "mpeg2video", "-bf", "2", "-g", "12")),
    (".mkv", ("-c:v", "mpeg4", "-bf", "2")),
    (".mkv", ("-c:v", "ffv1")),
    (".webm", ("-c:v", "libvpx", *ALT_REF)),
    (".wmv", ("-c:v", "wmv2")),
    (".asf", ("-c:v", "msmpeg4", "-g", "12")),
    (".flv", ("-c:v", "flv", "-g", "12")),
    (".flv", X264),
    (".ogv", ("-c:v", "libtheora", "-g", "12")),
    (".mxf", ("-c:v", "mpeg2video", "-bf", "2")),
    (".mxf", X264),
    (".nut", X264),
    (".nut", ("-c:v", "rawvideo")),
    (".rm", ("-c:v", "rv20", "-g", "12")),
    (".swf", ("-c:v", "flv", "-g", "12")),
    (".gif", ("-pix_fmt", "rgb24")),
    (".apng", ("-pix_fmt", "rgb24")),
    (".y4m", ()),
    (".ivf", ("-c:v", "libvpx", *ALT_REF)),
    (".ivf", ("-c:v", "libvpx-vp9", *ALT_REF, "-g", "20")),
    (".obu", ("-c:v", "libaom-av1", "-cpu-used", "8")),
    (".dv", ("-c:v", "dvvideo", *PAL)),
    (".mts", (*X264, "-f", "mpegts", "-mpegts_m2ts_mode", "1")),
    (".wtv", ("-c:v", "mpeg2video", "-bf", "2")),
    (".gxf", ("-c:v", "mpeg2video", *PAL)),
    (".avi", X264),
    (".avi", ("-c:v", "msmpeg4v2", "-g", "12")),
    (".avi", ("-c:v", "msmpeg4", "-vtag", "DIV3", "-g", "12")),
    (".avi", ("-c:v", "h263", "-s", "176x144", "-g", "12")),
    (".avi", ("-c:v", "wmv1", "-g", "12")),
    (".avi", ("-c:v", "mpeg2video", "-bf", "2", "-g", "12")),
    (".avi", ("-c:v", "mjpeg", *FULL)),
    (".avi", ("-c:v", "dvvideo", *PAL)),
    (".avi", ("-c:v", "huffyuv", "-pix_fmt", "yuv422p")),
    (".avi", ("-c:v", "ffvhuff")),
    (".avi", ("-c:v", "utvideo")),
    (".avi", ("-c:v", "magicyuv")),
    (".avi", ("-c:v", "cinepak", "-pix_fmt", "rgb24")),
    (".avi", ("-c:v", "rawvideo", "-pix_fmt", "uyvy422")),
]


@pytest.mark.parametrize(("suffix", "encoder"), FORMATS, ids=lambda value: " ".join(value[1:2]) or value)
def test_each_format(suffix: str, encoder: tuple[str, ...]) -> None:
    assert suffix in VIDEO_SUFFIXES
    count = 12 if "720x576" in encoder or "cinepak" in encoder else 40
    assert_as_ffmpeg(make_numbered_video(suffix, *encoder, count=count), suffix, count)


def test_the_content_says_what_a_video_is() -> None:
    """A name that claims another container changes nothing."""
    for suffix in (".mkv", ".h264", ".ts"):
        data = make_numbered_video(suffix, *X264, count=20)
        assert len(probe_video(io.BytesIO(data)).pts) == 20


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_an_image_is_no_video(kind: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 60, 50)).save(out, kind)
    with pytest.raises(MediaUnreadable, match="is an image, not a video"):
        probe_video(io.BytesIO(out.getvalue()))


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("disposal", [0, 1, 2, 3])
def test_animations_of_parts(disposal: int, transparent: bool) -> None:
    """Each GIF frame draws on what its predecessor left, or on what that restored; the delays vary."""
    pictures = []
    for number in range(20):
        image = Image.new("RGBA", (128, 96), (0, 0, 0, 0) if transparent else (200, 60, 50, 255))
        corner = (number * 4, number * 2)
        ImageDraw.Draw(image).rectangle(
            (*corner, corner[0] + 20, corner[1] + 20), fill=(30, 200, 20 * number % 255, 255)
        )
        pictures.append(image)
    out = io.BytesIO()
    delays = [40 + 30 * (number % 3) for number in range(20)]
    pictures[0].save(out, "GIF", save_all=True, append_images=pictures[1:], duration=delays, disposal=disposal, loop=0)
    expected, facts = decode_with_ffmpeg(out.getvalue(), ".gif"), probe_video(io.BytesIO(out.getvalue()))
    assert len(facts.pts) == len(expected) == 20
    for order in (range(20), range(19, -1, -1), range(3, 20, 5)):
        for place, found in zip(order, read_pictures(out.getvalue(), facts, order), strict=True):
            assert not isinstance(found, str) and np.abs(found.astype(int) - expected[place]).max() <= 2
