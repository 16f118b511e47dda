"""Source videos whose pixels are not square keep the shape that players show, and the receipt says how."""

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from service.pipeline.encode.assemble import assemble
from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import SegmentResult
from service.pipeline.probe import VideoFacts, probe_video
from service.pipeline.segment import render_segment
from service.pipeline.stills.artifacts import poster
from service.pipeline.stills.preview import PreviewOptions, video_preview
from service.plan.geometry import Crop
from service.plan.render_plan import FrameRef, SegmentPlan
from tests.pipeline.rendering import MemoryObjects, decode_pictures, options
from tests.pipeline.videos.test_source import render_pictures
from tests.support.data.ffmpeg_command import make_video, shown_by_ffmpeg

H264 = ("-c:v", "libx264", "-qp", "6", "-pix_fmt", "yuv420p")
# As FFmpeg's command would show the source in square pixels.
SQUARE = "scale={}:{}:flags=bicubic+accurate_rnd"


def made(name: str, aspect: str, *encoder: str, size: str = "90x72") -> bytes:
    pictures = ("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=0.08", "-vf", f"setsar={aspect}")
    return make_video(name, *pictures, *encoder)


SOURCES: dict[str, tuple[str, str, tuple[str, ...], str, tuple[int, int]]] = {
    "pal": ("v.mp4", "16/15", H264, "90x72", (96, 72)),
    "pal-wide": ("v.mkv", "64/45", H264, "90x72", (128, 72)),
    "pal-12-11": ("v.mov", "12/11", ("-c:v", "prores_ks", "-profile:v", "1"), "90x72", (98, 72)),
    "ntsc": ("v.mp4", "10/11", ("-c:v", "libx265", "-x265-params", "log-level=none:qp=8"), "90x60", (82, 60)),
    "ntsc-wide": ("v.mkv", "40/33", ("-c:v", "ffv1"), "90x60", (110, 60)),
    "hdv": ("v.mkv", "4/3", H264, "144x108", (192, 108)),
    "webm": ("v.webm", "4/3", ("-c:v", "libvpx-vp9", "-crf", "8", "-b:v", "0"), "90x72", (120, 72)),
    "half-height": ("v.mov", "1/2", ("-c:v", "mjpeg", "-q:v", "2"), "128x32", (64, 32)),
    "dv-avi": ("v.avi", "64/45", ("-c:v", "dvvideo", "-pix_fmt", "yuv420p"), "720x576", (1024, 576)),
    "mpeg2-mxf": ("v.mxf", "16/15", ("-c:v", "mpeg2video", "-q:v", "2"), "720x576", (768, 576)),
    "mpeg4-avi": ("v.avi", "12/11", ("-c:v", "mpeg4", "-q:v", "2"), "90x72", (98, 72)),
}


def fitted(data: bytes, **changes: Any) -> tuple[VideoFacts, SegmentResult]:
    """A render in the size that the scan has found."""
    facts = probe_video(io.BytesIO(data))
    size = {"width": facts.width, "height": facts.height, "mismatch": "fail", "quality": 100}
    return facts, render_pictures(data, [0], **size | changes)


@pytest.mark.parametrize("name", SOURCES)
def test_the_shape_stays(name: str) -> None:
    file, aspect, encoder, size, shown = SOURCES[name]
    data = made(file, aspect, *encoder, size=size)
    facts, result = fitted(data)
    assert (facts.width, facts.height) == shown
    assert f"{facts.stored_size[0]}x{facts.stored_size[1]}" == size
    named = aspect.replace("/", ":")
    assert result.reports[0].conversions == (f"pixels of {named} shown square: {size} as {shown[0]}x{shown[1]}",)
    expected = shown_by_ffmpeg(data, shown, SQUARE.format(*shown))[0].astype(int)
    assert np.abs(decode_pictures(result.data)[0] - expected).mean() < 6  # 20 and more if it is shifted or padded


def test_the_container_goes_before_the_codec() -> None:
    """As `av_guess_sample_aspect_ratio` of FFmpeg: 16:9 in the track header, 16:15 in the bitstream."""
    data = make_video("v.mp4", "-c", "copy", "-aspect", "16:9", source=made("v.mp4", "16/15", *H264))
    assert (probe_video(io.BytesIO(data)).width, probe_video(io.BytesIO(data)).pixel_aspect) == (128, Fraction(64, 45))


def test_a_transport_stream_has_the_shape_of_its_bitstream() -> None:
    facts, result = fitted(made("v.ts", "4/3", *H264, "-bf", "0", size="144x108"))
    assert (facts.width, facts.height, result.reports[0].outcome) == (192, 108, "ok")


@pytest.mark.parametrize("aspect", ["1/1000", "100/1", "1/9"])
def test_absurd_shapes_are_not_believed(aspect: str) -> None:
    facts, result = fitted(made("v.mkv", aspect, "-c:v", "ffv1"))
    assert (facts.width, facts.height, facts.pixel_aspect) == (90, 72, 1)
    said = f"pixels of {aspect.replace('/', ':')} are not believed: they are shown square"
    assert result.reports[0].conversions == (said,)


@pytest.mark.parametrize(
    ("inputs", "turned"), [(("-display_rotation", "90"), "cclock"), (("-display_hflip",), "hflip")]
)
def test_the_shape_turns_with_the_picture(inputs: tuple[str, ...], turned: str) -> None:
    data = make_video("v.mp4", "-c", "copy", source=made("v.mp4", "64/45", *H264), inputs=inputs)
    facts, result = fitted(data)
    upright = (72, 128) if turned == "cclock" else (128, 72)
    assert (facts.width, facts.height) == upright
    assert facts.pixel_aspect == (Fraction(45, 64) if turned == "cclock" else Fraction(64, 45))
    expected = shown_by_ffmpeg(data, upright, SQUARE.format(*upright))[0].astype(int)
    assert np.abs(decode_pictures(result.data)[0] - expected).mean() < 6


def test_a_crop_is_in_pixels_as_shown() -> None:
    data = made("v.mp4", "64/45", *H264)
    part = Crop(64, 8, 48, 40, 128, 72)
    _, result = fitted(data, crop=part, width=48, height=40)
    expected = shown_by_ffmpeg(data, (48, 40), f"{SQUARE.format(128, 72)},crop=48:40:64:8")[0].astype(int)
    assert np.abs(decode_pictures(result.data)[0] - expected).mean() < 8
    turned = fitted(data, crop=part, rotate=90, width=40, height=48)[1]
    assert np.abs(np.rot90(decode_pictures(turned.data)[0]) - expected).mean() < 8


@pytest.mark.parametrize(("size", "outcome"), [((64, 36), "ok"), ((256, 144), "ok"), ((90, 72), "resized")])
def test_sizes_that_were_asked_for(size: tuple[int, int], outcome: str) -> None:
    """They are in square pixels: another shape gets bars, as with any source."""
    result = fitted(made("v.mp4", "64/45", *H264), width=size[0], height=size[1], mismatch="pad")[1]
    assert (result.reports[0].outcome, decode_pictures(result.data)[0].shape[:2]) == (outcome, size[::-1])
    if outcome == "resized":
        assert result.reports[0].reason == "128x72 padded into 90x72"


def test_sources_of_several_shapes_in_one_render() -> None:
    """The output is 4:3; the wide source gets bars, the one of square pixels fits."""
    sources = {
        "pal.mp4": made("v.mp4", "16/15", *H264),
        "wide.mp4": made("v.mp4", "64/45", *H264),
        "square.mp4": made("v.mp4", "1", *H264, size="96x72"),
    }
    refs = tuple(
        FrameRef(index, key, pts=probe_video(io.BytesIO(data)).pts[0])
        for index, (key, data) in enumerate(sources.items())
    )
    store = MemoryObjects(sources)
    plan = SegmentPlan(0, 0, "bucket", options(source_kind="video", width=96, height=72), refs)
    reports = render_segment(plan, store, store, FrameWatch()).reports
    assert [report.reason for report in reports] == [None, "128x72 padded into 96x72", None]
    assert [len(report.conversions) for report in reports] == [1, 1, 0]


def assembled(result: SegmentResult, folder: Path, **changes: Any) -> bytes:
    path = folder / "out.mkv"
    assemble([result.data], options(source_kind="video", codec="ffv1", container="mkv", **changes), path)
    return path.read_bytes()


@pytest.mark.parametrize("rotate", [0, 90])
@pytest.mark.parametrize("aspect", ["64/45", "10/11"])
def test_ffv1_keeps_the_samples_and_says_their_shape(tmp_path: Path, aspect: str, rotate: int) -> None:
    data = made("v.mp4", aspect, *H264)
    size = {"width": 72, "height": 90} if rotate else {"width": 90, "height": 72}
    shape = 1 / Fraction(aspect) if rotate else Fraction(aspect)
    changes: dict[str, Any] = {"pixel_aspect": shape, "rotate": rotate, "form": "yuv420p", "quality": 100} | size
    result = fitted(data, codec="ffv1", **changes)[1]
    assert result.reports[0].conversions[0].startswith(f"pixels of {aspect.replace('/', ':')} kept: 90x72")
    file = assembled(result, tmp_path, **changes)
    with av.open(io.BytesIO(file)) as container:
        found = container.streams.video[0].sample_aspect_ratio
        assert found and abs(found - shape) < Fraction(1, 60)
    turn = "transpose=clock" if rotate else "null"
    shown = (size["width"], size["height"])
    assert np.array_equal(shown_by_ffmpeg(file, shown), shown_by_ffmpeg(data, shown, turn)[:1])
    with Image.open(io.BytesIO(poster(result.data))) as image:
        assert abs(Fraction(*image.size) - shape * Fraction(*shown)) < Fraction(1, 40)


def test_ffv1_of_square_pixels_does_not_inherit_the_shape(tmp_path: Path) -> None:
    """FFV1 writes the shape of the pixels into every picture: players would stretch it a second time."""
    changes: dict[str, Any] = {"form": "yuv420p", "width": 128, "height": 72, "quality": 100}
    result = fitted(made("v.mp4", "64/45", *H264), codec="ffv1", **changes)[1]
    file = assembled(result, tmp_path, **changes)
    (tmp_path / "shown.mkv").write_bytes(file)
    # The command writes the shape that it has found in the picture into the header of a copy.
    again = make_video("again.mkv", "-c:v", "mjpeg", source=file)
    with av.open(io.BytesIO(again)) as container:
        assert container.streams.video[0].sample_aspect_ratio in (None, 1)


def test_a_size_that_was_planned_before_the_shape_was_known() -> None:
    data = made("v.mp4", "16/15", *H264)
    result = render_pictures(data, [0], width=90, height=72, pixel_aspect=None, mismatch="fail")
    assert result.reports[0].outcome == "ok"
    assert "shown as stored" in result.reports[0].conversions[0]


def test_previews_have_the_shape() -> None:
    data = made("v.mp4", "64/45", *H264)
    store = MemoryObjects({"v.mp4": data})
    ref = FrameRef(0, "v.mp4", pts=probe_video(io.BytesIO(data)).pts[0])
    with Image.open(io.BytesIO(video_preview(ref, store, PreviewOptions(64, 10**8)))) as image:
        assert image.size == (64, 36)
