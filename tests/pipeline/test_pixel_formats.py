"""Crop, rotation, bins, captured timing and overlay in every pixel format of an encoder."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from service.errors import InvalidRequest
from service.pipeline.encode.assemble import assemble
from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import SegmentResult
from service.pipeline.segment import render_segment
from service.plan.formats import (
    Codec,
    Container,
    PixelFormat,
    choose_container,
    format_with_overlay,
    formats_after_rotation,
    require_brightness,
)
from service.plan.geometry import Bins, Crop
from service.plan.overlay import Overlay, ScaleBar
from service.plan.render_plan import TICKS, CapturedTiming, FrameRef, RenderOptions, SegmentPlan
from tests.pipeline.rendering import MemoryObjects, options
from tests.support.data import media

LENGTHS = [100, 200, 300, 400, 500, 600]
WIDTH, HEIGHT = 101, 75
JPEG_FORMS: list[PixelFormat] = ["yuvj420p", "yuvj422p", "yuvj444p", "gray"]
FFV1_ONLY_FORMS: list[PixelFormat] = ["yuv422p", "yuv420p10le", "gray16le", "bgr0", "gbrp16le"]
FORMS = [("mjpeg", form) for form in JPEG_FORMS] + [("ffv1", form) for form in (*JPEG_FORMS, *FFV1_ONLY_FORMS)]
OVERLAY = Overlay(True, False, True, "µ", ScaleBar(40, "5 um"), "bottom_left", 12)


def flat_frames(level: int, count: int = 6) -> list[bytes]:
    return [media.jpeg(media.flat_picture((level, level, level), WIDTH, HEIGHT)) for _ in range(count)]


def render_odd_sized(data: list[bytes], codec: str, form: str, **changes: Any) -> tuple[SegmentResult, RenderOptions]:
    """A segment of JPEGs with odd sizes, and its options."""
    given = {"codec": codec, "form": form, "width": WIDTH, "height": HEIGHT, "container": "mkv"} | changes
    requested = options(**given)
    lengths = LENGTHS if requested.timing else [None] * len(data)
    refs = tuple(FrameRef(k, str(k), shown_for=ticks) for k, ticks in zip(range(len(data)), lengths, strict=True))
    store = MemoryObjects({str(k): content for k, content in enumerate(data)})
    return render_segment(SegmentPlan(0, 0, "b", requested, refs), store, store, FrameWatch()), requested


def timed_pictures(result: tuple[SegmentResult, RenderOptions], folder: Path) -> list[tuple[float, Any]]:
    """(seconds, RGB) of each frame of the assembled file."""
    out = folder / "out"
    assemble([result[0].data], result[1], out)
    with av.open(str(out)) as video:
        stream = video.streams.video[0]
        assert stream.time_base is not None
        return [
            (float((frame.pts or 0) * stream.time_base), frame.to_ndarray(format="rgb24"))
            for frame in video.decode(stream)
        ]


@pytest.mark.parametrize(("codec", "form"), FORMS)
@pytest.mark.parametrize(
    "changes",
    [
        {"crop": Crop(3, 5, 94, 66, WIDTH, HEIGHT), "width": 94, "height": 66},
        {"rotate": 90, "width": HEIGHT, "height": WIDTH},
        {"rotate": 180},
        {"bins": Bins("mean", 3, WIDTH, HEIGHT)},
    ],
)
def test_a_flat_picture_stays_flat(codec: str, form: str, changes: dict[str, Any], tmp_path: Path) -> None:
    result = render_odd_sized(flat_frames(90), codec, form, **changes)
    assert {report.outcome for report in result[0].reports} == {"ok"}
    assert "copied" not in {report.decoder for report in result[0].reports}
    pictures = timed_pictures(result, tmp_path)
    assert len(pictures) == (2 if "bins" in changes else 6)
    for _, pixels in pictures:
        assert pixels.shape[:2] == (result[1].height, result[1].width)
        assert np.abs(pixels.astype(int) - 90).max() <= 3


@pytest.mark.parametrize(("codec", "form"), [pair for pair in FORMS if pair[1] not in ("bgr0", "gbrp16le")])
def test_the_brightest_of_a_bin_is_kept_at_another_size(codec: str, form: str, tmp_path: Path) -> None:
    data = flat_frames(40, 2) + flat_frames(180, 1)
    bins = Bins("max", 3, WIDTH, HEIGHT)
    (_, pixels), *rest = timed_pictures(render_odd_sized(data, codec, form, bins=bins, width=50, height=38), tmp_path)
    assert not rest
    assert np.abs(pixels.astype(int) - 180).max() <= 3


@pytest.mark.parametrize(("codec", "form"), [("mjpeg", "yuvj420p"), ("mjpeg", "gray"), ("ffv1", "gray")])
def test_text_is_written_with_the_range_of_the_form(codec: str, form: str, tmp_path: Path) -> None:
    pictures = timed_pictures(render_odd_sized(flat_frames(128), codec, form, overlay=OVERLAY), tmp_path)
    for _, pixels in pictures:
        assert pixels.min() < 8
        assert pixels.max() > 247


@pytest.mark.parametrize(("codec", "container"), [("mjpeg", "mov"), ("mjpeg", "mkv"), ("ffv1", "mkv"), ("hevc", "mp4")])
def test_pictures_of_their_own_length_keep_it(codec: str, container: str, tmp_path: Path) -> None:
    form = {"mjpeg": "yuvj420p", "ffv1": "yuvj420p", "hevc": "yuv420p"}[codec]
    timing = CapturedTiming(Fraction(1))
    size = {} if codec != "hevc" else {"width": 102, "height": 76}
    result = render_odd_sized(flat_frames(90), codec, form, timing=timing, container=container, **size)
    if codec == "mjpeg":
        assert {report.decoder for report in result[0].reports} == {"copied"}, "times need no decoding"
    times = [seconds for seconds, _ in timed_pictures(result, tmp_path)]
    assert times == pytest.approx([sum(LENGTHS[:k]) / TICKS for k in range(6)], abs=6e-4)


@pytest.mark.parametrize(
    ("codec", "requested", "found"), [("mjpeg", None, "mov"), ("h264", None, "mp4"), ("mjpeg", "mkv", "mkv")]
)
def test_a_container_for_pictures_of_unequal_length(codec: Codec, requested: Container | None, found: str) -> None:
    assert choose_container(codec, requested, timed=True) == found


def test_avi_is_refused_for_pictures_of_unequal_length() -> None:
    with pytest.raises(InvalidRequest) as caught:
        choose_container("mjpeg", "avi", timed=True)
    assert caught.value.errors[0].pointer == "#/container"


def test_what_has_no_place_for_it_is_refused() -> None:
    assert (format_with_overlay("mjpeg", "yuvj422p"), format_with_overlay("mjpeg", "gray")) == ("yuvj420p", "gray")
    with pytest.raises(InvalidRequest) as caught:
        format_with_overlay("ffv1", "gray16le")
    assert caught.value.errors[0].pointer == "#/overlay"
    with pytest.raises(InvalidRequest) as caught:
        require_brightness("bgr0")
    assert caught.value.errors[0].pointer == "#/decimation_mode"


def test_chroma_that_cannot_be_turned_is_made_full() -> None:
    assert formats_after_rotation({"yuvj422p": 2, "yuvj420p": 1}, (64, 48), 90) == {"yuvj444p": 2, "yuvj420p": 1}
    assert formats_after_rotation({"yuvj422p": 2, "yuvj420p": 1}, (63, 48), 180) == {"yuvj422p": 2, "yuvj444p": 1}
    assert formats_after_rotation({"yuvj422p": 2}, (64, 48), 0) == {"yuvj422p": 2}
