"""The playlist: its grammar, its durations, and that it only ever grows."""

import re
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from service.stream.playlist import Part, finished, playlist, target_duration

RATES = st.sampled_from([Fraction(30), Fraction(30000, 1001), Fraction(7), Fraction(1, 3), Fraction(240)])
LINE = re.compile(
    r"#EXTM3U|#EXT-X-VERSION:7|#EXT-X-TARGETDURATION:\d+|#EXT-X-MEDIA-SEQUENCE:0|#EXT-X-PLAYLIST-TYPE:EVENT"
    r"|#EXT-X-INDEPENDENT-SEGMENTS|#EXT-X-START:TIME-OFFSET=0,PRECISE=YES|#EXT-X-MAP:URI=\"stream/init\.mp4\""
    r"|#EXTINF:\d+\.\d{6},|stream/\d+\.m4s|#EXT-X-ENDLIST"
)


@st.composite
def renders(draw: st.DrawFn) -> list[Part]:
    """Segments of which any may be unfinished, and any finished one may have lost frames to `skip`."""
    sizes = draw(st.lists(st.integers(1, 300), min_size=1, max_size=30))
    done = [draw(st.none() | st.integers(0, size)) for size in sizes]
    return [Part(number, size, frames) for number, (size, frames) in enumerate(zip(sizes, done, strict=True))]


def durations(text: str) -> list[Fraction]:
    return [Fraction(found) for found in re.findall(r"#EXTINF:([\d.]+),", text)]


@given(renders(), RATES, st.booleans())
def test_every_line_is_one_that_the_specification_knows(parts: list[Part], fps: Fraction, ended: bool) -> None:
    text = playlist(parts, fps, ended=ended)
    assert text.startswith("#EXTM3U\n") and text.endswith("\n")
    assert all(LINE.fullmatch(line) for line in text.splitlines())
    assert ("#EXT-X-ENDLIST" in text) == ended
    segments = finished(parts)
    assert re.findall(r"stream/(\d+)\.m4s", text) == [str(segment.part.number) for segment in segments]
    assert text.count("#EXT-X-MAP") == bool(segments)


@given(renders(), RATES)
def test_durations_are_exact_and_below_the_target(parts: list[Part], fps: Fraction) -> None:
    text, segments = playlist(parts, fps, ended=False), finished(parts)
    told = durations(text)
    target = int(re.findall(r"TARGETDURATION:(\d+)", text)[0])
    assert all(round(float(each)) <= target for each in told)
    if segments:
        assert abs(sum(told) - segments[-1].end / fps) <= Fraction(1, 2_000_000)


@given(renders(), RATES, st.data())
def test_what_was_listed_stays_listed(parts: list[Part], fps: Fraction, data: st.DataObject) -> None:
    later = [
        part
        if part.frames is not None
        else Part(part.number, part.planned, data.draw(st.none() | st.integers(0, part.planned)))
        for part in parts
    ]
    before, after = (playlist(each, fps, ended=False).splitlines() for each in (parts, later))
    if finished(parts):
        assert after[: len(before)] == before
    assert target_duration(parts, fps) == target_duration(later, fps)


def test_only_the_unbroken_run_from_the_beginning_is_listed() -> None:
    parts = [Part(0, 75, 75), Part(1, 75, 0), Part(2, 75, 70), Part(3, 75, None), Part(4, 75, 75)]
    assert [(placed.part.number, placed.first, placed.end) for placed in finished(parts)] == [(0, 0, 75), (2, 75, 145)]


def test_halves_are_rounded_up() -> None:
    assert target_duration([Part(0, 75, None)], Fraction(30)) == 3
    assert target_duration([Part(0, 1, None)], Fraction(240)) == 1
