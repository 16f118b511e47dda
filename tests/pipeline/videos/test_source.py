"""Source videos: exactly the requested frames, in any order, for any codec and GOP."""

import io
from fractions import Fraction
from typing import Any

import av
import pytest

from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import MediaUnreadable, SegmentResult
from service.pipeline.probe import probe_video
from service.pipeline.segment import render_segment
from service.pipeline.videos.source import VideoSource
from service.plan.render_plan import FrameRef, SegmentPlan
from tests.pipeline.rendering import MemoryObjects, options, read_numbers
from tests.support.data import media

SOURCES = {
    name: media.video([media.numbered_picture(i) for i in range(60)], codec=name) for name in ("libx264", "libx265")
}


def render_pictures(source: bytes, requested: list[int | None], **changes: Any) -> SegmentResult:
    facts = probe_video(io.BytesIO(source))
    refs = tuple(
        FrameRef(i, "v.mp4", pts=facts.pts[number] if number is not None else 10**9)
        for i, number in enumerate(requested)
    )
    store = MemoryObjects({"v.mp4": source})
    plan = SegmentPlan(0, 0, "bucket", options(source_kind="video", **changes), refs)
    return render_segment(plan, store, store, FrameWatch())


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(
    "requested",
    [list(range(60)), list(range(7, 60, 9)), [11, 12, 13], [59], [30, 3, 45, 44], [5, 5, 5], [23, 24, 25, 35, 36, 37]],
    ids=str,
)
def test_picks_exactly_the_wanted_pictures(name: str, requested: list[int]) -> None:
    result = render_pictures(SOURCES[name], list(requested), corrupt="fail")
    assert read_numbers(result.data) == requested
    assert {report.outcome for report in result.reports} == {"ok"}
    assert result.reports[0].sha256 is None
    assert (result.reports[0].decoder or "").startswith("ffmpeg-h")


def test_a_timestamp_without_a_picture_follows_the_policy() -> None:
    result = render_pictures(SOURCES["libx264"], [1, None, 3], corrupt="hold")
    assert read_numbers(result.data) == [1, 1, 3]
    assert "no picture at timestamp" in (result.reports[1].reason or "")


def test_every_single_picture_by_a_fresh_seek() -> None:
    facts = probe_video(io.BytesIO(SOURCES["libx265"]))
    for number in range(0, 60, 5):
        with VideoSource(io.BytesIO(SOURCES["libx265"])) as source:
            pixels = source.picture(facts.pts[number]).frame.to_ndarray(format="rgb24")
        assert media.read_number(pixels) == number


def test_a_source_that_is_no_video() -> None:
    store = MemoryObjects({"v.mp4": b"nonsense" * 100})
    plan = SegmentPlan(0, 0, "bucket", options(source_kind="video", corrupt="black"), (FrameRef(0, "v.mp4", pts=0),))
    report = render_segment(plan, store, store, FrameWatch()).reports[0]
    assert (report.outcome, "not a video" in (report.reason or "")) == ("black", True)


def test_a_damaged_source_is_named_and_the_rest_is_shown() -> None:
    source = SOURCES["libx264"]
    start = source.index(b"mdat")
    broken = source[: start + 400] + bytes(1500) + source[start + 1900 :]
    result = render_pictures(broken, list(range(60)), corrupt="hold")
    bad = [report for report in result.reports if report.outcome != "ok"]
    assert result.frames == 60
    assert bad
    assert all(report.reason for report in bad)
    good = [report.output or 0 for report in result.reports if report.outcome == "ok"]
    assert [read_numbers(result.data)[k] for k in good] == good


def test_a_pixel_limit_holds_for_videos() -> None:
    result = render_pictures(SOURCES["libx264"], [0], max_pixels=100, corrupt="black")
    assert "more than the limit" in (result.reports[0].reason or "")


def test_probe_lists_every_picture_without_decoding_them() -> None:
    facts = probe_video(io.BytesIO(SOURCES["libx264"]))
    assert (facts.codec, facts.width, facts.height, facts.average_rate) == ("h264", 128, 96, 25)
    assert [pts * facts.time_base for pts in facts.pts] == [Fraction(k, 25) for k in range(60)]
    assert [facts.pts.index(pts) for pts in facts.key_pts] == [0, 12, 24, 36, 48]
    assert facts.duration_seconds == Fraction(60, 25)
    with pytest.raises(MediaUnreadable):
        probe_video(io.BytesIO(b"nope" * 50))


def test_a_turned_phone_video_is_shown_upright() -> None:
    upright = media.numbered_picture(9, 96, 128)
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", 25, {"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.set_display_rotation(-90)
        stored = upright.transpose(1, 0, 2)[::-1].copy()
        container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode(None))
    facts = probe_video(io.BytesIO(out.getvalue()))
    assert (facts.width, facts.height) == (96, 128)
    result = render_pictures(out.getvalue(), [0], width=96, height=128, mismatch="fail")
    assert read_numbers(result.data) == [9]
