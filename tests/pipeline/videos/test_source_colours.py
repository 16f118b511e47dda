"""Sources without tags, or with tags that differ: each is shown with its own range and matrix, in one output."""

import pytest

from tests.pipeline.videos.colour_sources import (
    PATCH,
    assert_near,
    flat_source,
    flat_ycbcr,
    output_tags,
    preview_pixel,
    render_sources,
    rendered_pixels,
    shown_by_ffmpeg,
)

RAW = ("-c:v", "rawvideo", "-pix_fmt")
UNTAGGED_601 = "scale=out_color_matrix=bt601:out_range=tv,setparams=range=unknown:colorspace=unknown"
# Files of raw pictures, without a word on their range.
PACKED = [
    *((".avi", *RAW, name) for name in ("uyvy422", "yuyv422", "yvyu422", "nv12", "nv21", "yuv420p", "yuv411p", "vuya")),
    *((".mov", *RAW, name) for name in ("uyvy422", "yuyv422")),
    *((".mkv", *RAW, name) for name in ("uyvy422", "nv12", "yuv422p")),
    *((suffix, "-c:v", codec) for codec in ("v210", "v308", "v408", "v410") for suffix in (".avi", ".mov")),
    (".avi", "-c:v", "y41p"),
]


@pytest.mark.parametrize("case", PACKED, ids=lambda case: f"{case[-1]}{case[0]}")
def test_raw_ycbcr_without_a_range_is_limited(case: tuple[str, ...]) -> None:
    source = flat_source(case[0], *case[1:], filters=UNTAGGED_601)
    assert_near(shown_by_ffmpeg(source, case[0]), PATCH, 5)
    assert_near(preview_pixel(source), PATCH, 4)
    assert_near(rendered_pixels(render_sources(source))[0], PATCH, 4)


@pytest.mark.parametrize(
    ("suffix", "encoder"),
    [
        (".avi", ("-c:v", "rawvideo", "-pix_fmt", "gray")),
        (".mkv", ("-c:v", "ffv1", "-pix_fmt", "gray")),
        (".mkv", ("-c:v", "ffv1", "-pix_fmt", "gray16le")),
        (".mp4", ("-c:v", "libx264", "-pix_fmt", "gray")),
        (".mp4", ("-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "gray")),
        (".mov", ("-c:v", "rawvideo", "-pix_fmt", "rgb24")),
        (".mp4", ("-c:v", "libx264rgb", "-qp", "0")),
        (".avi", ("-c:v", "mjpeg", "-q:v", "1", "-pix_fmt", "yuvj444p")),
        (".nut", ("-c:v", "rawvideo", "-pix_fmt", "xyz12le")),
    ],
    ids=lambda value: "-".join(value).strip("-.") if isinstance(value, tuple) else value,
)
def test_gray_rgb_jpeg_and_xyz_are_shown_as_by_ffmpeg(suffix: str, encoder: tuple[str, ...]) -> None:
    source = flat_source(suffix, *encoder)
    wanted = shown_by_ffmpeg(source, suffix)
    assert_near(preview_pixel(source), wanted, 4)
    assert_near(rendered_pixels(render_sources(source))[0], wanted, 4)


H264 = ("-c:v", "libx264", "-qp", "1", "-pix_fmt", "yuv420p")


def untagged(size: tuple[int, int], matrix: int) -> bytes:
    return flat_ycbcr(".mp4", matrix, *H264, size=size)


@pytest.mark.parametrize("codec", ["h264", "mjpeg", "ffv1"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_untagged_sources_have_the_matrix_of_their_own_height(codec: str, order: tuple[int, int]) -> None:
    sources = untagged((1280, 720), 1), untagged((320, 240), 6)
    result = render_sources(*(sources[n] for n in order), codec=codec)  # type: ignore[arg-type]
    for found in rendered_pixels(result):
        assert_near(found, PATCH)


@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_sources_with_different_tags_share_one_output(codec: str) -> None:
    def tagged(matrix: int, name: str) -> bytes:
        tags = f"colormatrix={name}:colorprim={name}:transfer={name}"
        return flat_ycbcr(".mkv", matrix, *H264, "-x264-params", tags)

    sources = tagged(1, "bt709"), tagged(6, "smpte170m"), tagged(6, "bt470bg")
    result = render_sources(*sources, codec=codec)  # type: ignore[arg-type]
    for found in rendered_pixels(result):
        assert_near(found, PATCH)
    if codec == "h264":
        assert output_tags(result) == (1, 1, 1)
