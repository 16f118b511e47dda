"""Sources whose timestamps are equal, fall or are missing: every picture that FFmpeg shows, in any order of requests."""

import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import MediaUnreadable
from service.pipeline.probe import probe_video
from service.pipeline.segment import render_segment
from service.pipeline.videos.source import VideoSource
from service.plan.render_plan import FrameRef, SegmentPlan
from tests.pipeline.rendering import MemoryObjects, options, read_numbers
from tests.pipeline.videos.ffmpeg_reference import assert_as_ffmpeg, make_numbered_video, read_pictures, run_ffmpeg
from tests.pipeline.videos.packed_frames import pack_frames
from tests.support.data import media

X264 = ("-c:v", "libx264")
GOPS = (*X264, "-g", "12", "-sc_threshold", "0")
OPEN_GOPS = (*GOPS, "-x264-params", "open-gop=1")
FIELDS = (*X264, "-flags", "+ildct+ilme", "-x264-params", "interlaced=1")
HEVC = ("-c:v", "libx265", "-x265-params", "log-level=none:pools=1:keyint=12:min-keyint=12:scenecut=0:open-gop=1")
MPEG2 = ("-c:v", "mpeg2video", "-bf", "2", "-g", "12")
MPEG4 = ("-c:v", "mpeg4", "-bf", "2", "-g", "12")
H263 = ("-c:v", "h263", "-s", "176x144")
EARLY = ("-output_ts_offset", "-0.4", "-avoid_negative_ts", "disabled")

ONE_KEY = [
    (".ts", X264),
    (".ts", (*X264, "-bf", "6", "-b-pyramid", "normal")),
    (".m2ts", X264),
    (".ts", ("-c:v", "libx265", "-x265-params", "log-level=none:pools=1")),
    (".ts", ("-c:v", "mpeg2video", "-bf", "2", "-g", "60")),
    (".mpg", ("-c:v", "mpeg1video", "-bf", "2", "-g", "60")),
    (".mpg", (*X264, "-f", "mpeg")),
    (".vob", ("-c:v", "mpeg2video", "-bf", "2", "-g", "60")),
]
UNTIMED = [
    (".h264", GOPS),
    (".h264", OPEN_GOPS),
    (".264", FIELDS),
    (".hevc", HEVC),
    (".m1v", ("-c:v", "mpeg1video", "-bf", "2")),
    (".m2v", MPEG2),
    (".m4v", (*MPEG4, "-f", "m4v")),
    (".h263", H263),
    (".mjpg", ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-f", "mjpeg")),
    (".mpg", (*MPEG2, "-f", "mpeg")),
    (".vob", MPEG2),
    (".ts", FIELDS),
    (".mkv", (*GOPS, *EARLY)),
    (".mkv", (*HEVC, *EARLY)),
    (".avi", FIELDS),
    (".avi", MPEG4),
    (".avi", ("-c:v", "libxvid", "-bf", "2")),
]
FAST = [(".mkv", GOPS), (".mkv", MPEG4), (".mkv", ("-c:v", "libvpx-vp9", "-g", "12")), (".flv", GOPS)]


def concatenated(*options: str, offset: str = "0", swapped: bool = False) -> bytes:
    first = make_numbered_video(".ts", *options, count=20)
    second = make_numbered_video(".ts", *options, "-output_ts_offset", offset, count=20, first=20)
    return second + first if swapped else first + second


def cut(data: bytes, begin: float, end: float = 1.0) -> bytes:
    """Whole packets of a transport stream, from one share of its length to another."""
    count = len(data) // 188
    return data[188 * int(count * begin) : 188 * int(count * end)]


RECORDINGS: dict[str, tuple[Callable[[], bytes], int | None]] = {
    "equal times": (lambda: concatenated(*X264), 40),
    "equal times, HEVC": (lambda: concatenated(*HEVC), 40),
    "equal times, MPEG-2": (lambda: concatenated(*MPEG2), 40),
    "equal times, fields": (lambda: concatenated(*FIELDS), 40),
    "overlapping": (lambda: concatenated(*X264, offset="0.4"), 40),
    "falling": (lambda: concatenated(*GOPS, offset="60", swapped=True), 40),
    "over the end of 33 bits": (
        lambda: make_numbered_video(".ts", *GOPS, "-output_ts_offset", str(2**33 / 90000 - 1)),
        50,
    ),
    "after the end of 33 bits": (lambda: concatenated(*X264, offset=str(2**33 / 90000 - 2), swapped=True), 40),
    "begins within a group": (lambda: cut(make_numbered_video(".ts", *GOPS), 0.2), None),
    "begins within an open group": (lambda: cut(make_numbered_video(".ts", *OPEN_GOPS), 0.2), None),
    "begins within a group of MPEG-2": (lambda: cut(make_numbered_video(".ts", *MPEG2), 0.3), None),
    "the second begins within a group": (
        lambda: make_numbered_video(".ts", *MPEG2) + cut(make_numbered_video(".ts", *MPEG2), 0.3),
        None,
    ),
    "begins within a packet": (lambda: make_numbered_video(".ts", *GOPS)[100:], None),
    "two program streams": (lambda: 2 * make_numbered_video(".vob", *MPEG2), 100),
    "two elementary streams": (lambda: 2 * make_numbered_video(".h264", *GOPS), 100),
}


@pytest.mark.parametrize(("suffix", "encoder"), ONE_KEY)
def test_a_stream_with_a_single_key_picture(suffix: str, encoder: tuple[str, ...]) -> None:
    assert_as_ffmpeg(make_numbered_video(suffix, *encoder, count=30), suffix, 30)


@pytest.mark.parametrize(("suffix", "encoder"), UNTIMED)
def test_pictures_without_timestamps(suffix: str, encoder: tuple[str, ...]) -> None:
    facts = assert_as_ffmpeg(make_numbered_video(suffix, *encoder), suffix)
    assert facts.packets is not None and len(set(facts.packets)) == len(facts.pts) >= 48


@pytest.mark.parametrize(("suffix", "encoder"), FAST)
def test_more_pictures_a_second_than_the_container_has_ticks(suffix: str, encoder: tuple[str, ...]) -> None:
    """Matroska and Flash count milliseconds: at 4,000 pictures a second four have the same."""
    assert_as_ffmpeg(make_numbered_video(suffix, *encoder, rate="4000"), suffix, 50)


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings_that_were_joined_or_cut(name: str) -> None:
    make, count = RECORDINGS[name]
    suffix = ".vob" if "program" in name else ".h264" if "elementary" in name else ".ts"
    assert_as_ffmpeg(make(), suffix, count)


@pytest.mark.parametrize("b_frames", [1, 2])
@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_b_frames_that_are_packed_with_others(b_frames: int, suffix: str) -> None:
    video = make_numbered_video(".avi", "-c:v", "mpeg4", "-bf", str(b_frames), "-g", "12", count=59)
    packed = pack_frames(video)
    assert b"DivX503b1393p" in packed
    if suffix == ".mp4":
        packed = remux(packed)
    assert_as_ffmpeg(packed, suffix, 59)


def remux(data: bytes) -> bytes:
    import av

    out = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(out, "w", format="mp4") as target:
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                packet.pts, packet.dts, packet.stream = number, number, stream
                target.mux(packet)
    return out.getvalue()


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_a_cut_without_encoding_at_an_open_group(suffix: str, tmp_path: Path) -> None:
    """The first group drops reference pictures that were cut off, which a strict decoder takes for damage."""
    (tmp_path / "whole.ts").write_bytes(make_numbered_video(".ts", *OPEN_GOPS))
    run_ffmpeg("-ss", "0.9", "-i", str(tmp_path / "whole.ts"), "-c", "copy", str(tmp_path / f"cut{suffix}"))
    assert_as_ffmpeg((tmp_path / f"cut{suffix}").read_bytes(), suffix)


def test_joined_recordings_render_every_picture_once() -> None:
    data = concatenated(*X264)
    facts = probe_video(io.BytesIO(data))
    packets = facts.packets or ()
    refs = [FrameRef(i, "v.ts", pts=facts.pts[i], packet=packets[i]) for i in range(40)]
    store = MemoryObjects({"v.ts": data})
    for chosen in (refs, refs[5::3], refs[18:23]):
        plan = SegmentPlan(0, 0, "bucket", options(source_kind="video"), tuple(chosen))
        result = render_segment(plan, store, store, FrameWatch())
        assert read_numbers(result.data) == [ref.index for ref in chosen]
        assert [report.pts for report in result.reports] == [ref.index for ref in chosen]
        assert {report.outcome for report in result.reports} == {"ok"}


def test_pictures_lost_in_a_recording_are_named_and_the_rest_is_shown() -> None:
    whole = make_numbered_video(".ts", *GOPS)
    holed = cut(whole, 0, 0.35) + cut(whole, 0.5)
    facts = probe_video(io.BytesIO(holed + whole))
    assert facts.packets is not None
    numbers = [
        found if isinstance(found, str) else media.read_number(found)
        for found in read_pictures(holed + whole, facts, range(len(facts.pts)))
    ]
    shown = [number for number in numbers if isinstance(number, int)]
    assert numbers[-50:] == list(range(50))
    assert shown[:12] == list(range(12)) and all(before < after for before, after in pairwise(shown[:-50]))
    assert all("source video" in reason for reason in numbers if isinstance(reason, str))


def test_a_stream_cut_off_at_its_end_keeps_what_can_be_decoded() -> None:
    for data in (cut(make_numbered_video(".ts", *GOPS), 0, 0.8), make_numbered_video(".h264", *GOPS)[:-500]):
        facts = probe_video(io.BytesIO(data))
        found = read_pictures(data, facts, range(len(facts.pts)))
        good = [media.read_number(picture) for picture in found if not isinstance(picture, str)]
        assert len(good) >= len(found) - 2 and good == sorted(set(good)) and good[:30] == list(range(30))


SAMPLES = [
    concatenated,
    lambda: make_numbered_video(".h264", *OPEN_GOPS),
    lambda: pack_frames(make_numbered_video(".avi", *MPEG4)),
]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2), st.lists(st.integers(0, 39), min_size=1, max_size=8))
def test_any_order_gives_the_pictures_asked_for(which: int, order: list[int]) -> None:
    data = concatenated(*GOPS) if which == 0 else SAMPLES[which]()
    facts = probe_video(io.BytesIO(data))
    found = read_pictures(data, facts, order)
    assert [picture if isinstance(picture, str) else media.read_number(picture) for picture in found] == order


def test_where_byte_offsets_fall_packets_are_counted() -> None:
    data = make_numbered_video(".avi", *MPEG4)
    with VideoSource(io.BytesIO(data)) as source:
        numbers = [frame.pts for frame in source.all_packets("count").frames()]
        assert len(numbers) == 50 and max(numbers) < 0
        for place in (30, 4, 5, 49):
            picture = source.picture(place, numbers[place]).frame.to_ndarray(format="rgb24")
            assert media.read_number(picture) == place


def test_only_what_lies_before_a_picture_is_read() -> None:
    """In a long stream without timestamps, decoding begins near the picture."""
    filled = ("-x264-params", "nal-hrd=cbr", "-b:v", "2M", "-maxrate", "2M", "-bufsize", "1M")
    data = 10 * make_numbered_video(".h264", *GOPS, *filled)
    with VideoSource(io.BytesIO(data)) as source:
        numbers = [frame.pts for frame in source.all_packets().frames()]
    assert len(numbers) == 500 and len(data) > 3_000_000

    class Counting(io.BytesIO):
        read_bytes = 0

        def read(self, size: int | None = -1) -> bytes:
            found = super().read(size)
            self.read_bytes += len(found)
            return found

    file = Counting(data)
    with VideoSource(file) as source:
        picture = source.picture(457, numbers[457]).frame.to_ndarray(format="rgb24")
        assert media.read_number(picture) == 7
        assert file.read_bytes < len(data) / 2
        with pytest.raises(MediaUnreadable, match="no picture number 7"):
            source.picture(7, numbers[7] + 1)
