"""Real segments become HLS sections that play as one video, for every codec that is streamed."""

import io
import itertools
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import get_args

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.plan.render_plan import Codec
from service.stream.fragments import (
    MalformedMp4,
    find_box,
    init_section,
    iter_boxes,
    media_section,
    segment_duration,
    timescale,
)
from service.stream.playlist import StreamSegment, media_playlist, playable_segments
from tests.pipeline.rendering import numbered_jpegs, render
from tests.support.data import media

CODECS = [codec for codec in get_args(Codec) if codec in ("h264", "hevc", "av1")]
FRAME_COUNTS = (16, 32, 1, 27, 2)


def render_segments(codec: str, fps: Fraction = Fraction(30)) -> list[bytes]:
    """Segments of COUNTS frames that show 0, 1, 2, … in order."""
    ends = itertools.accumulate(FRAME_COUNTS)
    frames = numbered_jpegs(sum(FRAME_COUNTS))
    return [
        render(frames[end - count : end], codec=codec, fps=fps).data
        for count, end in zip(FRAME_COUNTS, ends, strict=True)
    ]


def write_stream(folder: Path, segments: list[bytes], fps: Fraction) -> Path:
    """The files that the API would serve; returns the playlist."""
    parts = [
        StreamSegment(number, count / fps, segment_duration(segments[number]))
        for number, count in enumerate(FRAME_COUNTS)
    ]
    (folder / "stream").mkdir()
    (folder / "stream/init.mp4").write_bytes(init_section(segments[0]))
    for placed in playable_segments(parts):
        data = media_section(segments[placed.part.number], placed.start, placed.part.number + 1)
        (folder / f"stream/{placed.part.number}.m4s").write_bytes(data)
    path = folder / "stream.m3u8"
    path.write_text(media_playlist(parts, ended=True))
    return path


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("fps", [Fraction(30), Fraction(30000, 1001), Fraction(7)])
def test_ffmpeg_plays_the_playlist_frame_by_frame(codec: str, fps: Fraction, tmp_path: Path) -> None:
    path = write_stream(tmp_path, render_segments(codec, fps), fps)
    with av.open(str(path), options={"allowed_extensions": "ALL"}) as video:
        frames = [(frame.pts * frame.time_base, frame) for frame in video.decode(video=0)]
        numbers = [media.read_number(frame.to_ndarray(format="rgb24")) for _, frame in frames]
    assert numbers == list(range(sum(FRAME_COUNTS)))
    first = frames[0][0]
    tick = Fraction(1, 90_000)  # FFmpeg's HLS reader counts in these
    assert all(abs(at - first - index / fps) <= tick for index, (at, _) in enumerate(frames))


@pytest.mark.parametrize("codec", CODECS)
def test_one_track_on_one_time_line(codec: str, tmp_path: Path) -> None:
    """Init and media sections in a row are a fragmented MP4 whose pictures are at k / fps to the tick."""
    fps = Fraction(30000, 1001)
    folder = write_stream(tmp_path, render_segments(codec, fps), fps).parent / "stream"
    whole = folder / "whole.mp4"
    whole.write_bytes(b"".join((folder / name).read_bytes() for name in ("init.mp4", *(f"{n}.m4s" for n in range(5)))))
    with av.open(str(whole)) as video:
        packets = [packet for packet in video.demux(video=0) if packet.size]
        assert sorted(packet.pts * packet.time_base for packet in packets) == [k / fps for k in range(len(packets))]
        decoding = [packet.dts for packet in packets]
        assert decoding == sorted(set(decoding))
        step = decoding[1] - decoding[0]
        assert decoding == list(range(decoding[0], decoding[0] + step * len(decoding), step))
    assert len(packets) == sum(FRAME_COUNTS)


@pytest.mark.parametrize("codec", CODECS)
def test_seeking_lands_on_the_frame(codec: str, tmp_path: Path) -> None:
    fps = Fraction(30)
    path = write_stream(tmp_path, render_segments(codec), fps)
    with av.open(str(path), options={"allowed_extensions": "ALL"}) as video:
        video.seek(int(50 / fps * av.time_base), any_frame=False)
        shown = [media.read_number(frame.to_ndarray(format="rgb24")) for frame in video.decode(video=0)]
    assert shown[0] == 49 and shown[-1] == sum(FRAME_COUNTS) - 1, "segment 3 begins with frame 49"


@pytest.mark.parametrize("codec", CODECS)
def test_the_init_section_is_the_same_whichever_segment_it_comes_from(codec: str) -> None:
    assert len({init_section(data) for data in render_segments(codec)}) == 1


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(1, 3), Fraction(240)])
def test_the_duration_is_that_of_its_frames(codec: str, fps: Fraction) -> None:
    rendered = [render(numbered_jpegs(count), codec=codec, fps=fps).data for count in FRAME_COUNTS]
    assert [segment_duration(data) for data in rendered] == [count / fps for count in FRAME_COUNTS]


def test_samples_may_have_durations_of_their_own() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}) as video:
        stream = video.add_stream("libx264", 10, {"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shown_at in (0, 1, 5, 6):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = shown_at, Fraction(1, 10)
            video.mux(stream.encode(frame))
        video.mux(stream.encode(None))
    assert segment_duration(out.getvalue()) == Fraction(7, 10)


@pytest.mark.parametrize("codec", CODECS)
def test_only_headers_are_rewritten(codec: str) -> None:
    data = render_segments(codec)[0]
    moved = media_section(data, Fraction(100), 7)
    assert [box.kind for box in iter_boxes(moved)] == [b"moof", b"mdat"]
    header = find_box(moved, b"moof", b"mfhd")
    assert int.from_bytes(moved[header.body + 4 : header.stop], "big") == 7
    base = find_box(moved, b"moof", b"traf", b"tfdt")
    assert int.from_bytes(moved[base.body + 4 : base.stop], "big") == 100 * timescale(data)
    pictures, before = find_box(moved, b"mdat"), find_box(data, b"mdat")
    assert moved[pictures.start : pictures.stop] == data[before.start : before.stop]


def test_a_start_between_ticks_is_refused() -> None:
    with pytest.raises(MalformedMp4):
        media_section(render(numbered_jpegs(2)).data, Fraction(1, 1_000_003), 1)


DATA = render(numbered_jpegs(3)).data


@given(st.binary(max_size=200), st.integers(0, len(DATA)))
def test_damaged_files_are_named_as_such(noise: bytes, keep: int) -> None:
    for data in (noise, DATA[:keep], DATA[:keep] + noise, noise + DATA[keep:]):
        with suppress(MalformedMp4):
            assert segment_duration(data) >= 0
        for cut in (init_section, lambda d: media_section(d, Fraction(1), 1)):
            try:
                section = cut(data)
            except MalformedMp4:
                continue
            assert section and sum(box.stop - box.start for box in iter_boxes(section)) == len(section)
