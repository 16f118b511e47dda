"""Interlaced source videos: found whatever the file claims, deinterlaced as FFmpeg does, or kept by ffv1."""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from service.pipeline.encode.assemble import assemble
from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import SegmentResult
from service.pipeline.probe import probe_video
from service.pipeline.segment import render_segment
from service.plan.render_plan import FieldOrder, FrameRef, SegmentPlan
from tests.pipeline.rendering import MemoryObjects, options
from tests.support.data import interlaced, media
from tests.support.data.interlaced import FLAGGED, HEIGHT, WIDTH, Order

COUNT = 12
MOMENTS = interlaced.moments(2 * COUNT)
YUV420, YUV422_10 = ("-pix_fmt", "yuv420p"), ("-pix_fmt", "yuv422p10le")
LOSSLESS = ("-c:v", "libx264", "-qp", "0", *YUV420)
# Name -> suffix, encoder, order of the footage, what the file claims.
FILES: dict[str, tuple[str, tuple[str, ...], Order, Order]] = {
    "H.264 MBAFF in MP4": (".mp4", ("-c:v", "libx264", *YUV420), "top", "top"),
    "H.264 MBAFF in Matroska, bottom first": (".mkv", ("-c:v", "libx264", *YUV420), "bottom", "bottom"),
    "MPEG-2": (".mkv", ("-c:v", "mpeg2video", "-q:v", "2", *YUV420), "top", "top"),
    "MPEG-2, bottom first": (".mkv", ("-c:v", "mpeg2video", "-q:v", "2", *YUV420), "bottom", "bottom"),
    "MPEG-4 in AVI": (".avi", ("-c:v", "mpeg4", "-q:v", "2", *YUV420), "top", "top"),
    "ProRes": (".mov", ("-c:v", "prores_ks", *YUV422_10), "top", "top"),
    "v210 in MOV": (".mov", ("-c:v", "v210", *YUV422_10), "bottom", "bottom"),
    "v210 in AVI, which has no flags": (".avi", ("-c:v", "v210", *YUV422_10), "top", "progressive"),
    "MJPEG in AVI": (".avi", ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj422p"), "bottom", "progressive"),
    "raw uyvy422": (".mov", ("-c:v", "rawvideo", "-pix_fmt", "uyvy422"), "top", "top"),
    "flagged progressive": (".mp4", ("-c:v", "libx264", *YUV420), "top", "progressive"),
    "flagged progressive, bottom first": (".mp4", ("-c:v", "libx264", *YUV420), "bottom", "progressive"),
    "flagged with the other order": (".mkv", ("-c:v", "libx264", *YUV420), "bottom", "top"),
    "progressive flagged interlaced": (".mp4", ("-c:v", "libx264", *YUV420), "progressive", "top"),
    "progressive MPEG-2 flagged interlaced": (".mkv", ("-c:v", "mpeg2video", "-q:v", "2"), "progressive", "bottom"),
    "progressive HEVC": (".mp4", ("-c:v", "libx265", "-x265-params", "log-level=none"), "progressive", "progressive"),
}


def make(
    order: Order, claimed: Order = "progressive", suffix: str = ".mkv", encoder: Sequence[str] = LOSSLESS
) -> bytes:
    return interlaced.encode(interlaced.woven(MOMENTS, order), suffix, *FLAGGED[claimed], *encoder)


TOP_FIRST = make("top")


def make_refs(source: bytes, order: FieldOrder | None, wanted: Sequence[int]) -> tuple[FrameRef, ...]:
    pts: tuple[int | None, ...] = (None, *probe_video(io.BytesIO(source)).pts, None)
    return tuple(
        FrameRef(number, "v", pts=pts[number + 1], field_order=order, pts_before=pts[number], pts_after=pts[number + 2])
        for number in wanted
    )


def render(
    source: bytes, order: FieldOrder | None, wanted: Sequence[int] = range(COUNT), **changes: Any
) -> SegmentResult:
    refs, store = make_refs(source, order, wanted), MemoryObjects({"v": source})
    base = {"width": WIDTH, "height": HEIGHT, "codec": "ffv1", "source_kind": "video", "deinterlace": "on"}
    plan = SegmentPlan(0, 0, "b", options(**(base | changes)), refs)
    return render_segment(plan, store, store, FrameWatch())


def luma(data: bytes) -> list[interlaced.Gray]:
    with av.open(io.BytesIO(data)) as container:
        return [frame.to_ndarray()[: frame.height, : frame.width] for frame in container.decode(video=0)]


def by_ffmpeg(source: bytes, parity: str) -> list[interlaced.Gray]:
    raw = interlaced.run_ffmpeg(
        source, ".raw", "-i", "-", "-vf", f"bwdif=send_frame:{parity}:all", "-pix_fmt", "yuv420p", "-f", "rawvideo"
    )
    return list(np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT * 3 // 2, WIDTH)[:, :HEIGHT])


def error(shown: np.ndarray[Any, Any], true: np.ndarray[Any, Any]) -> float:
    """Mean squared, inside the edges."""
    return float(np.square(shown.astype(float) - true)[8:-8, 8:-8].mean())


@pytest.mark.parametrize("name", FILES)
def test_the_scan_finds_the_field_order(name: str) -> None:
    suffix, encoder, order, claimed = FILES[name]
    assert probe_video(io.BytesIO(make(order, claimed, suffix, encoder))).field_order == order


@pytest.mark.parametrize("kind", ["still, flagged", "still, not flagged", "one picture", "vertical"])
def test_where_nothing_moves_sideways_the_flags_count(kind: str) -> None:
    claimed: Order = "progressive" if kind.endswith("not flagged") else "bottom"
    still = [MOMENTS[0]] * (1 if kind == "one picture" else COUNT)
    if kind == "vertical":
        still = [np.roll(MOMENTS[0], 2 * number, axis=0) for number in range(COUNT)]
    source = interlaced.encode(still, ".mkv", *FLAGGED[claimed], "-c:v", "libx264", *YUV420)
    assert probe_video(io.BytesIO(source)).field_order == claimed


@pytest.mark.parametrize("size", [(64, 48), (320, 240), (720, 576)])
@pytest.mark.parametrize("order", ["progressive", "top", "bottom"])
def test_any_size_is_measured(size: tuple[int, int], order: Order) -> None:
    pictures = interlaced.woven(interlaced.moments(12, 2, size), order)
    source = interlaced.encode(pictures, ".mkv", "-c:v", "libx264", "-crf", "28", *YUV420)
    assert probe_video(io.BytesIO(source)).field_order == order


def test_fields_that_are_pictures_of_their_own_are_left_alone() -> None:
    """x265 codes each field as a picture, and FFmpeg returns it as one."""
    fields = [moment[number % 2 :: 2] for number, moment in enumerate(MOMENTS)]
    source = interlaced.encode(fields, ".mp4", "-c:v", "libx265", "-x265-params", "interlace=tff:log-level=none")
    assert probe_video(io.BytesIO(source)).field_order == "separate"
    result = render(source, "separate", range(3), height=HEIGHT // 2, form="yuv420p")
    assert result.reports[0].conversions == ("one field of an interlaced picture, of half the height",)
    assert np.array_equal(luma(result.data)[2], luma(source)[2])


def two_field_jpegs(order: Order) -> bytes:
    """AVI as old capture cards wrote it: each packet has a JPEG for each field, that of the odd rows first (AVI1)."""
    out = io.BytesIO()
    with av.open(out, "w", format="avi") as container:
        stream = container.add_stream("mjpeg", 25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        for number, picture in enumerate(interlaced.woven(MOMENTS, order)):
            stored = [(1, picture[1::2]), (2, picture[::2])]
            packet = av.Packet(b"".join(_field_jpeg(field, polarity) for polarity, field in stored))
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 25)
            packet.is_keyframe = True
            container.mux(packet)
    return out.getvalue()


def _field_jpeg(field: interlaced.Gray, polarity: int) -> bytes:
    data = media.jpeg(np.repeat(field[..., None], 3, 2))
    first_segment = 4 + int.from_bytes(data[4:6], "big")
    return data[:2] + b"\xff\xe0\0\x10AVI1" + bytes([polarity, *bytes(9)]) + data[first_segment:]


@pytest.mark.parametrize("order", ["top", "bottom"])
def test_two_jpegs_a_picture(order: Order) -> None:
    source = two_field_jpegs(order)
    facts = probe_video(io.BytesIO(source))
    assert (facts.field_order, facts.height, len(facts.pts)) == (order, HEIGHT, COUNT)
    shown = luma(render(source, order, codec="h264", quality=100, form="yuv420p").data)
    true, combed = (picture * (219 / 255) + 16 for picture in (MOMENTS[10], interlaced.woven(MOMENTS, order)[5]))
    assert error(shown[5], true) < error(combed, true) / 4


def test_telecined_film_has_the_order_of_its_interlaced_pictures() -> None:
    film = MOMENTS[::2]
    fields = [film[number // 5 * 2 + (number % 5 > 1)] for number in range(24)]
    source = interlaced.encode(interlaced.woven(fields, "top"), ".mkv", *LOSSLESS)
    assert probe_video(io.BytesIO(source)).field_order == "top"


@pytest.mark.parametrize(("order", "parity"), [("top", "tff"), ("bottom", "bff")])
def test_pictures_are_those_of_ffmpegs_bwdif(order: Order, parity: str) -> None:
    """All but the first: without a picture before it, versions of the filter differ. It is judged by the truth."""
    source = make(order)
    result = render(source, order, form="yuv420p")
    shown, reference = luma(result.data), by_ffmpeg(source, parity)
    assert len(shown) == len(reference) == COUNT
    assert all(np.array_equal(one, other) for one, other in zip(shown[1:], reference[1:], strict=True))
    combed = interlaced.woven(MOMENTS, order)
    for number in range(COUNT):
        assert error(shown[number], MOMENTS[2 * number]) < error(combed[number], MOMENTS[2 * number]) / 2, number
    words = f"deinterlaced (bwdif, {order} field first)"
    assert [report.conversions for report in result.reports] == [(words,)] * COUNT
    with av.open(io.BytesIO(result.data)) as container:
        assert not any(frame.interlaced_frame for frame in container.decode(video=0))


@pytest.mark.parametrize("source", [TOP_FIRST, make("top", "top", ".mkv", ("-c:v", "mpeg2video", "-bf", "2", *YUV420))])
def test_a_picture_does_not_depend_on_where_its_segment_starts(source: bytes) -> None:
    whole = luma(render(source, "top", form="yuv420p").data)
    for wanted in ([0, 10], [3, 4, 5], [11], [6, 2, 2, 7], list(range(1, COUNT, 5))):
        parts = luma(render(source, "top", wanted, form="yuv420p").data)
        assert all(np.array_equal(part, whole[number]) for part, number in zip(parts, wanted, strict=True)), wanted


def test_packed_samples_keep_their_levels() -> None:
    """The same as of planar samples: the packed format is only taken apart."""
    pictures = interlaced.woven(MOMENTS, "top")
    packed = interlaced.encode(pictures, ".mov", "-c:v", "rawvideo", "-pix_fmt", "uyvy422")
    planar = interlaced.encode(pictures, ".mkv", "-c:v", "ffv1", "-pix_fmt", "yuv422p")
    shown = [luma(render(source, "top", range(3), form="yuv422p").data) for source in (packed, planar)]
    assert np.array_equal(shown[0], shown[1])


def test_a_single_picture() -> None:
    source = interlaced.encode(interlaced.woven(MOMENTS[:2], "top"), ".mkv", *LOSSLESS)
    shown = luma(render(source, "top", [0], form="yuv420p").data)[0]
    assert np.array_equal(shown[::2], MOMENTS[0][::2])
    assert error(shown, MOMENTS[0]) < error(interlaced.woven(MOMENTS[:2], "top")[0], MOMENTS[0])


def test_a_damaged_neighbour_is_left_out_and_named() -> None:
    refs = make_refs(TOP_FIRST, "top", [4])
    lost = FrameRef(4, "v", pts=refs[0].pts, field_order="top", pts_before=10**9, pts_after=refs[0].pts_after)
    base = {"width": WIDTH, "height": HEIGHT, "source_kind": "video", "deinterlace": "auto"}
    store = MemoryObjects({"v": TOP_FIRST})
    result = render_segment(SegmentPlan(0, 0, "b", options(**base), (lost,)), store, store, FrameWatch())
    assert result.reports[0].outcome == "ok"
    words = "deinterlaced (bwdif, top field first; without the picture before, which is damaged)"
    assert result.reports[0].conversions == (words,)


@pytest.mark.parametrize(("order", "flag"), [("top", True), ("bottom", False)])
def test_ffv1_keeps_the_fields_and_says_which_is_first(order: Order, flag: bool, tmp_path: Path) -> None:
    """Although the source is flagged progressive. The file is read by FFmpeg's command line."""
    source = make(order)
    changes: dict[str, Any] = {"deinterlace": "auto", "container": "mkv"}
    result = render(source, order, **changes)
    assert all(np.array_equal(*pair) for pair in zip(luma(result.data), luma(source), strict=True))
    assert result.reports[0].conversions == (f"fields kept as stored ({order} field first)",)
    shape = {"width": WIDTH, "height": HEIGHT, "codec": "ffv1", "source_kind": "video"}
    assemble([result.data], options(**(shape | changes)), tmp_path / "out.mkv")
    report = interlaced.ffmpeg_log((tmp_path / "out.mkv").read_bytes(), "-i", "-", "-vf", "showinfo")
    assert f" i:{'T' if flag else 'B'} " in report
    assert f"{'top' if flag else 'bottom'} coded first" in report


def test_ffv1_deinterlaces_what_it_has_to_scale() -> None:
    result = render(TOP_FIRST, "top", deinterlace="auto", width=64, height=48)
    assert result.reports[0].conversions == ("deinterlaced (bwdif, top field first)",)


def test_off_leaves_the_fields_and_says_so() -> None:
    result = render(TOP_FIRST, "top", deinterlace="off", codec="h264", quality=100)
    assert result.reports[0].conversions == ("fields left as stored, not deinterlaced (top field first)",)
    combed = interlaced.woven(MOMENTS, "top")[5]
    assert error(luma(result.data)[5], combed) < error(luma(result.data)[5], MOMENTS[10])


def test_progressive_pictures_are_untouched_by_auto() -> None:
    source = make("progressive", "top")
    result = render(source, "progressive", deinterlace="auto", form="yuv420p")
    assert all(np.array_equal(*pair) for pair in zip(luma(result.data), luma(source), strict=True))
    assert result.reports[0].conversions == ()


def joined(parts: Sequence[bytes]) -> bytes:
    """The pictures of Matroska files one after the other, by stream copy."""
    out, offset = io.BytesIO(), 0
    with av.open(out, "w", format="matroska") as container:
        stream = None
        for part in parts:
            with av.open(io.BytesIO(part)) as source:
                stream = stream or container.add_stream_from_template(source.streams.video[0], opaque=True)
                packets = [packet for packet in source.demux(video=0) if packet.size]
            for packet in packets:
                packet.pts = packet.dts = (packet.pts or 0) + offset
                packet.stream = stream
                container.mux(packet)
            offset += 40 * len(packets)
    return out.getvalue()


def test_of_a_mixed_source_only_flagged_pictures_are_deinterlaced() -> None:
    """MPEG-2 says it of each picture: a file whose second half is progressive."""
    halves = [interlaced.woven(MOMENTS, order) for order in ("top", "progressive")]
    flags = [FLAGGED[order] for order in ("top", "progressive")]
    coder = ("-c:v", "mpeg2video", "-q:v", "2", "-g", "1")
    source = joined([interlaced.encode(half, ".mkv", *flag, *coder) for half, flag in zip(halves, flags, strict=True)])
    result = render(source, "mixed", range(2 * COUNT), deinterlace="auto", width=64, height=48, form="yuv420p")
    told = [report.conversions for report in result.reports]
    assert told == [("deinterlaced (bwdif, field order as flagged)",)] * COUNT + [()] * COUNT


def test_a_scaled_picture_has_no_comb() -> None:
    true = interlaced.moments(2 * COUNT, 8)
    source = interlaced.encode(interlaced.woven(true, "top"), ".mkv", *LOSSLESS)
    small = [picture.reshape(48, 2, 64, 2).mean((1, 3)) for picture in true]
    errors = []
    for mode in ("auto", "off"):
        shown = luma(render(source, "top", codec="h264", quality=100, width=64, height=48, deinterlace=mode).data)[5]
        errors.append(float(np.square(shown - small[10])[4:-4, 4:-4].mean()))
    assert errors[0] < errors[1] / 2
