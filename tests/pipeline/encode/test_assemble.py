"""Joining segments by stream copy: exact times, a key frame at each seam, faststart, the same bytes every time."""

import io
import itertools
import json
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import pytest
from PIL import Image

from service.pipeline.encode.assemble import NothingToAssemble, SegmentMismatch, assemble
from service.pipeline.stills.artifacts import poster
from tests.pipeline.rendering import numbered_jpegs, options, read_numbers, render
from tests.support.data import media

LENGTHS = (13, 1, 20, 2, 4)


def render_segments(codec: str, fps: Fraction = Fraction(30)) -> list[bytes]:
    frames, parts = numbered_jpegs(sum(LENGTHS)), []
    for length in LENGTHS:
        parts.append(render(frames[:length], codec=codec, fps=fps).data)
        frames = frames[length:]
    return parts


@pytest.mark.parametrize("fps", [Fraction(30), Fraction(30000, 1001), Fraction(1, 2), Fraction(240)])
def test_frame_k_is_shown_at_k_over_fps(codec: str, fps: Fraction, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    assemble(render_segments(codec, fps), options(codec=codec, fps=fps), out)
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        decoded = [
            (frame.pts * stream.time_base, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)
        ]
        assert stream.duration * stream.time_base == 40 / fps
        assert (stream.frames, stream.average_rate, stream.start_time) == (40, fps, 0)
    assert [time for time, _ in decoded] == [k / fps for k in range(40)]
    assert [media.read_number(pixels) for _, pixels in decoded] == list(range(40))


def test_dts_rise_by_one_frame_and_seams_are_key_frames(codec: str, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    assemble(render_segments(codec), options(codec=codec), out)
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
    step = packets[0].duration
    assert {b.dts - a.dts for a, b in itertools.pairwise(packets)} == {step}
    assert [packet.pts // step for packet in packets if packet.is_keyframe] == [0, 13, 14, 34, 36]
    assert all(packet.pts >= packet.dts for packet in packets)


def test_faststart_and_deterministic(codec: str, tmp_path: Path) -> None:
    parts = render_segments(codec)
    for name in ("a.mp4", "b.mp4"):
        assemble(iter(parts), options(codec=codec), tmp_path / name)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data == (tmp_path / "b.mp4").read_bytes()
    names = media.boxes(data)
    assert names.index("moov") < names.index("mdat")
    assert "moof" not in names


def test_ffmpeg_counts_every_frame_without_a_complaint(codec: str, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    assemble(render_segments(codec), options(codec=codec), out)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "warning", "-i", str(out), "-f", "framehash", "-"]
    process = subprocess.run(command, capture_output=True, check=True, text=True)
    assert process.stderr == ""
    assert len([line for line in process.stdout.splitlines() if not line.startswith("#")]) == 40


def test_the_moov_is_the_same_in_every_segment(codec: str) -> None:
    """One init section then serves all segments, those of one frame included."""
    assert len({part[: part.index(b"moof") - 4] for part in render_segments(codec)}) == 1


def test_empty_segments_are_passed_over(tmp_path: Path) -> None:
    parts = [render(numbered_jpegs(3)).data, b"", render(numbered_jpegs(2)).data]
    assemble(parts, options(), tmp_path / "out.mp4")
    assert read_numbers((tmp_path / "out.mp4").read_bytes()) == [0, 1, 2, 0, 1]


def test_nothing_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NothingToAssemble):
        assemble([b""], options(), tmp_path / "out.mp4")


def test_other_parameter_sets_are_refused(tmp_path: Path) -> None:
    parts = [render(numbered_jpegs(2)).data, render(numbered_jpegs(2), width=64, height=48).data]
    with pytest.raises(SegmentMismatch, match="frame 2"):
        assemble(parts, options(), tmp_path / "out.mp4")


@pytest.mark.parametrize(("max_width", "size"), [(1280, (128, 96)), (64, (64, 48))])
def test_the_poster_is_the_first_picture(codec: str, max_width: int, size: tuple[int, int]) -> None:
    data = poster(render(numbered_jpegs(6)[5:], codec=codec).data, max_width)
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == ("JPEG", size)
    assert json.dumps(image.info.get("exif", "")) == '""'
    assert read_number(image) == 5


def read_number(image: Image.Image) -> int:
    import numpy as np

    return media.read_number(np.asarray(image.convert("RGB")))
