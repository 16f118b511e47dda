"""Captured timing: each frame has its own duration, exact in segments and in the assembled file."""

import io
import itertools
import json
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import pytest

from service.pipeline.encode.assemble import assemble
from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import SegmentResult
from service.pipeline.segment import render_segment
from service.plan.geometry import Bins
from service.plan.render_plan import TICKS, CapturedTiming, FrameRef, SegmentPlan
from tests.pipeline.rendering import MemoryObjects, options, read_numbers
from tests.support.data import media

LENGTHS = [1000, 333, 334, 20_000, 1, 7, 2500, 2500, 60_000, 417, 416, 5000, 999, 10, 10, 10, 30_000, 640]
TIMED = {"timing": CapturedTiming(Fraction(1))}


def render_timed(
    first: int, lengths: list[int], codec: str, lost: tuple[int, ...] = (), **more: object
) -> SegmentResult:
    """Numbered frames, each shown for its `lengths` ticks; those in `lost` are missing."""
    refs = tuple(FrameRef(first + k, f"{first + k}", shown_for=ticks) for k, ticks in enumerate(lengths))
    images = {ref.key: media.jpeg(media.numbered_picture(ref.index)) for ref in refs if ref.index not in lost}
    store = MemoryObjects({key or "": data for key, data in images.items()})
    plan = SegmentPlan(0, first, "b", options(codec=codec, **TIMED | more), refs)
    return render_segment(plan, store, store, FrameWatch())


def timed_numbers(data: bytes) -> list[tuple[Fraction, int]]:
    """(seconds, number) of each picture."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        return [
            (frame.pts * stream.time_base, media.read_number(frame.to_ndarray(format="rgb24")))
            for frame in container.decode(stream)
        ]


def start_times(lengths: list[int]) -> list[Fraction]:
    return [Fraction(sum(lengths[:k]), TICKS) for k in range(len(lengths))]


def test_a_segment_keeps_every_time(codec: str) -> None:
    data = render_timed(0, LENGTHS, codec).data
    assert timed_numbers(data) == list(zip(start_times(LENGTHS), range(len(LENGTHS)), strict=True))


@pytest.mark.parametrize("cuts", [(7, 8), (1, 17), (9, 9)])
def test_the_file_keeps_every_time_and_lasts_as_long_as_its_pictures(
    codec: str, cuts: tuple[int, int], tmp_path: Path
) -> None:
    parts, first = [], 0
    for end in (*cuts, len(LENGTHS)):
        if end > first:
            parts.append(render_timed(first, LENGTHS[first:end], codec).data)
        first = end
    assemble(parts, options(codec=codec, **TIMED), tmp_path / "out.mp4")
    data = (tmp_path / "out.mp4").read_bytes()
    assert timed_numbers(data) == list(zip(start_times(LENGTHS), range(len(LENGTHS)), strict=True))
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        assert stream.duration * stream.time_base == Fraction(sum(LENGTHS), TICKS)
        assert stream.start_time == 0
        assert container.duration / 1e6 == pytest.approx(sum(LENGTHS) / TICKS, abs=1e-5)
        packets = [packet for packet in container.demux(stream) if packet.size]
    assert all(a.dts + a.duration == b.dts for a, b in itertools.pairwise(packets))


def test_ffmpeg_plays_it_without_a_complaint(codec: str, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    assemble(
        [render_timed(0, LENGTHS, codec).data, render_timed(18, LENGTHS, codec).data],
        options(codec=codec, **TIMED),
        out,
    )
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "warning", "-i", str(out), "-fps_mode", "passthrough"]
    process = subprocess.run([*command, "-f", "framehash", "-"], capture_output=True, check=True, text=True)
    assert process.stderr == ""
    assert len([line for line in process.stdout.splitlines() if not line.startswith("#")]) == 2 * len(LENGTHS)


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ((2,), [0, 1000, 3000]),
        ((0,), [0, 2000, 3000]),
        ((3,), [0, 1000, 2000]),
        ((0, 1), [0, 3000]),
        ((1, 2), [0, 3000]),
    ],
)
def test_the_time_of_a_skipped_picture_goes_to_its_neighbour(
    codec: str, lost: tuple[int, ...], expected: list[int], tmp_path: Path
) -> None:
    result = render_timed(0, [1000] * 4, codec, lost, missing="skip")
    assert [time * TICKS for time, _ in timed_numbers(result.data)] == expected
    assemble([result.data, render_timed(4, [500], codec).data], options(codec=codec, **TIMED), tmp_path / "out.mp4")
    assert [time * TICKS for time, _ in timed_numbers((tmp_path / "out.mp4").read_bytes())] == [*expected, 4000]


def test_a_bin_lasts_as_long_as_its_members(codec: str) -> None:
    result = render_timed(0, [100, 200, 300, 400, 500], codec, bins=Bins("max", 2, 128, 96))
    assert [time * TICKS for time, _ in timed_numbers(result.data)] == [0, 300, 1000]


def test_the_same_times_give_the_same_bytes(codec: str) -> None:
    assert render_timed(0, LENGTHS, codec).data == render_timed(0, LENGTHS, codec).data


def test_reports_name_the_capture_time_and_what_is_odd_about_it() -> None:
    refs = (
        FrameRef(0, "0", captured=1_700_000_000_250_000, shown_for=10, clock="back"),
        FrameRef(1, "1", shown_for=10),
    )
    store = MemoryObjects({str(k): media.jpeg(media.numbered_picture(k)) for k in range(2)})
    plan = SegmentPlan(0, 0, "b", options(**TIMED), refs)
    first, second = render_segment(plan, store, store, FrameWatch()).reports
    assert first.captured_at == "2023-11-14T22:13:20.250000Z"
    assert "went back" in (first.clock or "")
    assert (second.captured_at, second.clock) == (None, None)
    assert json.dumps(first.clock)


def test_a_segment_of_one_long_picture(codec: str) -> None:
    data = render_timed(0, [600 * TICKS], codec).data
    assert read_numbers(data) == [0]
