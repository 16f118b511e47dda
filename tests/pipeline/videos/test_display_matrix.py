"""Display matrices turn and mirror source videos as FFmpeg's command does."""

import functools
import io
import struct

import numpy as np
import pytest

from service.pipeline.frames import SegmentResult
from service.pipeline.probe import probe_video
from tests.pipeline.rendering import decode_pictures
from tests.pipeline.videos.test_source import render_pictures
from tests.support.data.ffmpeg_command import make_video, shown_by_ffmpeg

ONE = 1 << 16
MIRRORED = [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)]
TURNED = [(1, 0, 0, 1), (-1, 0, 0, -1), (0, 1, -1, 0), (0, -1, 1, 0), (0, 2, -2, 0), (0, 0, 0, 0)]


@functools.cache
def plain() -> bytes:
    pictures = ("-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=0.08")
    return make_video("plain.mp4", *pictures, "-c:v", "libx264", "-qp", "4", "-pix_fmt", "yuv420p")


def with_matrix(a: float, b: float, c: float, d: float) -> bytes:
    """The plain video with another matrix in its track header (ISO/IEC 14496-12, 8.3.2)."""
    data = bytearray(plain())
    start = data.index(b"tkhd") + 44
    assert struct.unpack_from(">9i", data, start) == (ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)
    a, b, c, d = (round(value * ONE) for value in (a, b, c, d))
    struct.pack_into(">9i", data, start, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return bytes(data)


def assert_shown_like_ffmpeg(data: bytes) -> SegmentResult:
    facts = probe_video(io.BytesIO(data))
    size = (facts.width, facts.height)
    result = render_pictures(data, [0], width=size[0], height=size[1], mismatch="fail", quality=100)
    picture = decode_pictures(result.data)[0].astype(int)
    assert np.abs(picture - shown_by_ffmpeg(data, size)[0]).mean() < 3  # any other orientation: over 70
    return result


@pytest.mark.parametrize("matrix", MIRRORED + TURNED, ids=str)
def test_matrices_in_mp4(matrix: tuple[int, int, int, int]) -> None:
    assert assert_shown_like_ffmpeg(with_matrix(*matrix)).reports[0].conversions == ()


SIBLINGS = {
    "matroska": ("v.mkv", ("-display_rotation", "90", "-display_hflip"), ()),
    "matroska-mirrored": ("v.mkv", ("-display_hflip",), ()),
    "mov": ("v.mov", ("-display_rotation", "270", "-display_vflip"), ()),
    "h264-sei": ("v.mp4", (), ("-bsf:v", "h264_metadata=display_orientation=insert:flip=horizontal")),
    "h264-sei-turned": ("v.mkv", (), ("-bsf:v", "h264_metadata=display_orientation=insert:flip=vertical:rotate=270")),
}


@pytest.mark.parametrize("name", SIBLINGS)
def test_other_containers_and_the_bitstream(name: str) -> None:
    file, inputs, outputs = SIBLINGS[name]
    assert_shown_like_ffmpeg(make_video(file, "-c", "copy", *outputs, source=plain(), inputs=inputs))


@pytest.mark.parametrize(("degrees", "said"), [(30, 30), (-45, 315), (89.7, None), (0.4, None)])
def test_turns_that_are_no_quarters_are_told(degrees: float, said: int | None) -> None:
    across, down = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    data = with_matrix(across, down, -down, across)
    result = render_pictures(data, [0], width=96, height=64)
    expected = (f"a turn by {said} degrees is not applied: only quarter turns are",) if said else ()
    assert result.reports[0].conversions == expected
    if said is None:
        assert_shown_like_ffmpeg(data)
