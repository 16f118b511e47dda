"""The playlist: its grammar, its durations, and that it only ever grows."""

import re
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from service.stream.playlist import StreamSegment, media_playlist, playable_segments, target_duration

RATES = st.sampled_from([Fraction(30), Fraction(30000, 1001), Fraction(7), Fraction(1, 3), Fraction(240)])
LINE = re.compile(
    r"#EXTM3U|#EXT-X-VERSION:7|#EXT-X-TARGETDURATION:\d+|#EXT-X-MEDIA-SEQUENCE:0|#EXT-X-PLAYLIST-TYPE:EVENT"
    r"|#EXT-X-INDEPENDENT-SEGMENTS|#EXT-X-START:TIME-OFFSET=0,PRECISE=YES|#EXT-X-MAP:URI=\"stream/init\.mp4\""
    r"|#EXTINF:\d+\.\d{6},|stream/\d+\.m4s|#EXT-X-ENDLIST"
)


def make_segment(number: int, planned: int, frames: int | None, fps: Fraction = Fraction(30)) -> StreamSegment:
    return StreamSegment(number, planned / fps, None if frames is None else frames / fps)


@st.composite
def render_segments(draw: st.DrawFn) -> list[StreamSegment]:
    """Segments of which any may be unfinished, and any finished one may have lost frames to `skip`."""
    fps, sizes = draw(RATES), draw(st.lists(st.integers(1, 300), min_size=1, max_size=30))
    done = [draw(st.none() | st.integers(0, size)) for size in sizes]
    return [
        make_segment(number, size, frames, fps) for number, (size, frames) in enumerate(zip(sizes, done, strict=True))
    ]


def listed_durations(text: str) -> list[Fraction]:
    return [Fraction(found) for found in re.findall(r"#EXTINF:([\d.]+),", text)]


@given(render_segments(), st.booleans())
def test_every_line_is_one_that_the_specification_knows(parts: list[StreamSegment], ended: bool) -> None:
    text = media_playlist(parts, ended=ended)
    assert text.startswith("#EXTM3U\n") and text.endswith("\n")
    assert all(LINE.fullmatch(line) for line in text.splitlines())
    assert ("#EXT-X-ENDLIST" in text) == ended
    segments = playable_segments(parts)
    assert re.findall(r"stream/(\d+)\.m4s", text) == [str(segment.part.number) for segment in segments]
    assert text.count("#EXT-X-MAP") == bool(segments)


@given(render_segments())
def test_durations_are_exact_and_below_the_target(parts: list[StreamSegment]) -> None:
    text, segments = media_playlist(parts, ended=False), playable_segments(parts)
    durations = listed_durations(text)
    target = int(re.findall(r"TARGETDURATION:(\d+)", text)[0])
    assert all(round(float(each)) <= target for each in durations)
    if segments:
        assert abs(sum(durations) - segments[-1].end) <= Fraction(1, 2_000_000)


@given(render_segments(), st.data())
def test_what_was_listed_stays_listed(parts: list[StreamSegment], data: st.DataObject) -> None:
    unfinished = st.none() | st.fractions(0, 1, max_denominator=30)
    later = [
        each
        if each.duration is not None
        else StreamSegment(
            each.number,
            each.planned_duration,
            data.draw(unfinished.map(lambda x, y=each: x and x * y.planned_duration)),
        )
        for each in parts
    ]
    before, after = (media_playlist(each, ended=False).splitlines() for each in (parts, later))
    if playable_segments(parts):
        assert after[: len(before)] == before
    assert target_duration(parts) == target_duration(later)


def test_only_the_unbroken_run_from_the_beginning_is_listed() -> None:
    parts = [
        make_segment(0, 75, 75),
        make_segment(1, 75, 0),
        make_segment(2, 75, 60),
        make_segment(3, 75, None),
        make_segment(4, 75, 75),
    ]
    found = [(placed.part.number, placed.start, placed.end) for placed in playable_segments(parts)]
    assert found == [(0, 0, Fraction(5, 2)), (2, Fraction(5, 2), Fraction(9, 2))]


def test_halves_are_rounded_up() -> None:
    assert target_duration([make_segment(0, 75, None)]) == 3
    assert target_duration([make_segment(0, 1, None, Fraction(240))]) == 1
