"""Source videos by other tools: every frame is exact, for any codec, container and order of requests."""

import functools
import io
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.pipeline.probe import probe_video
from service.pipeline.videos.decoder import ForwardDecoder
from service.pipeline.videos.source import VideoSource
from tests.support.data import media

COUNT = 50
X265 = ("-x265-params", "keyint=12:min-keyint=12:scenecut=0:log-level=none:pools=1")
ENCODERS: dict[str, tuple[str, ...]] = {
    "h264": ("-c:v", "libx264", "-g", "12", "-sc_threshold", "0"),
    "h264-open-gop": ("-c:v", "libx264", "-g", "12", "-sc_threshold", "0", "-x264-params", "open-gop=1"),
    "h264-intra-refresh": ("-c:v", "libx264", "-g", "12", "-x264-params", "intra-refresh=1"),
    "hevc": ("-c:v", "libx265", X265[0], X265[1] + ":open-gop=0"),
    "hevc-open-gop": ("-c:v", "libx265", X265[0], X265[1] + ":open-gop=1"),
    "vp9": ("-c:v", "libvpx-vp9", "-g", "12", "-auto-alt-ref", "1", "-lag-in-frames", "10", "-cpu-used", "8"),
    "mjpeg": ("-c:v", "mjpeg", "-q:v", "3"),
}
CLI = [
    *((codec, kind) for codec in ENCODERS for kind in ("mp4", "mov", "mkv") if (codec, kind) != ("vp9", "mov")),
    *((codec, "avi") for codec in ("h264", "mjpeg")),
    ("h264", "ts"),
]
PYAV = [("libx264", "mp4"), ("libx264", "avi"), ("libx265", "mkv"), ("libvpx-vp9", "mkv"), ("libsvtav1", "mp4")]
PYAV += [("libsvtav1", "mkv"), ("mjpeg", "avi"), ("mjpeg", "mov")]


def run_ffmpeg(*arguments: str, data: bytes = b"") -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *arguments]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-500:]
    return done.stdout


@functools.cache
def make_with_ffmpeg(codec: str, kind: str, *more: str, piped: bool = False) -> bytes:
    """Frames 0 to COUNT - 1; written through a file unless the output should have no index."""
    raw = b"".join(media.numbered_picture(number).tobytes() for number in range(COUNT))
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "128x96", "-r", "25", "-i", "-")
    form = {"mkv": "matroska", "ts": "mpegts"}.get(kind, kind)
    if piped:
        return run_ffmpeg(*source, *ENCODERS[codec], "-pix_fmt", pixels, *more, "-f", form, "-", data=raw)
    path = Path(scratch_folder(), f"{codec}{'-'.join(more).replace('/', '')}.{kind}")
    run_ffmpeg(*source, *ENCODERS[codec], "-pix_fmt", pixels, *more, "-f", form, str(path), data=raw)
    return path.read_bytes()


@functools.cache
def scratch_folder() -> str:
    return tempfile.mkdtemp(prefix="videos-")


@functools.cache
def make_with_pyav(codec: str, kind: str, times: tuple[int, ...] = tuple(range(COUNT))) -> bytes:
    """Frame k is shown at times[k] / 25 s."""
    out = io.BytesIO()
    with av.open(out, "w", format={"mkv": "matroska"}.get(kind, kind)) as container:
        stream = container.add_stream(codec, 25, {"g": "12", "svtav1-params": "lp=1", "x265-params": "log-level=none"})
        stream.width, stream.height = 128, 96
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(media.numbered_picture(number), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def shown_number(source: VideoSource, pts: int) -> int:
    return media.read_number(source.picture(pts).frame.to_ndarray(format="rgb24"))


def assert_all_pictures(data: bytes, first: int = 0, count: int = COUNT) -> None:
    """Read forward, decimated, backward and by new seeks: always the requested frame."""
    pts = probe_video(io.BytesIO(data)).pts
    assert len(pts) == count
    for order in (range(count), range(3, count, 7), range(5, count, 20), range(count - 1, -1, -9)):
        with VideoSource(io.BytesIO(data)) as source:
            assert [shown_number(source, pts[k]) for k in order] == [first + k for k in order], order
    for k in (0, 11, 12, 13, count - 1):
        with VideoSource(io.BytesIO(data)) as source:
            assert shown_number(source, pts[k]) == first + k


@pytest.mark.parametrize(("codec", "kind"), CLI)
def test_files_of_the_ffmpeg_command(codec: str, kind: str) -> None:
    assert_all_pictures(make_with_ffmpeg(codec, kind))


@pytest.mark.parametrize(("codec", "kind"), PYAV)
def test_files_of_pyav(codec: str, kind: str) -> None:
    assert_all_pictures(make_with_pyav(codec, kind))


@pytest.mark.parametrize(
    ("codec", "kind"), [("h264", "mkv"), ("hevc-open-gop", "mkv"), ("vp9", "mkv"), ("mjpeg", "avi")]
)
def test_files_without_an_index(codec: str, kind: str) -> None:
    data = make_with_ffmpeg(codec, kind, piped=True)
    assert_all_pictures(data)
    whole = make_with_ffmpeg(codec, kind)
    if kind == "avi":
        assert_all_pictures(whole[: whole.rindex(b"idx1")])


@pytest.mark.parametrize("kind", ["mp4", "mkv", "mov"])
def test_files_that_do_not_begin_at_zero(kind: str) -> None:
    data = make_with_ffmpeg("h264", kind, "-output_ts_offset", "7.5")
    facts = probe_video(io.BytesIO(data))
    assert facts.pts[0] * facts.time_base >= 7
    assert_all_pictures(data)


def test_an_edit_list_hides_what_lies_before_it(tmp_path: Path) -> None:
    """A cut without re-encoding keeps the whole GOP in the file and shows it from the cut on."""
    (tmp_path / "whole.mp4").write_bytes(make_with_ffmpeg("h264", "mp4"))
    run_ffmpeg("-ss", "0.76", "-i", str(tmp_path / "whole.mp4"), "-c", "copy", str(tmp_path / "cut.mp4"))
    data = (tmp_path / "cut.mp4").read_bytes()
    with av.open(io.BytesIO(data)) as container:
        stored = sum(packet.size > 0 for packet in container.demux(video=0))
    assert stored == COUNT - 12 and len(probe_video(io.BytesIO(data)).pts) == COUNT - 19
    assert_all_pictures(data, first=19, count=COUNT - 19)


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_a_variable_frame_rate_is_told_by_timestamps(kind: str) -> None:
    times = tuple(k + 7 * (k // 5) + 100 * (k // 31) for k in range(COUNT))
    data = make_with_pyav("libx264", kind, times)
    facts = probe_video(io.BytesIO(data))
    assert [round(pts * facts.time_base * 25) for pts in facts.pts] == list(times)
    assert_all_pictures(data)


SAMPLE_FILES = [
    ("h264", "mp4"),
    ("h264-open-gop", "mp4"),
    ("hevc-open-gop", "mkv"),
    ("h264", "avi"),
    ("vp9", "mkv"),
    ("h264", "ts"),
]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SAMPLE_FILES), st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=8))
def test_any_order_gives_the_pictures_asked_for(which: tuple[str, str], order: list[int]) -> None:
    data = make_with_ffmpeg(*which)
    pts = probe_video(io.BytesIO(data)).pts
    with VideoSource(io.BytesIO(data)) as source:
        assert [shown_number(source, pts[k]) for k in order] == order


def packets_decoded(data: bytes, step: int) -> int:
    pts = probe_video(io.BytesIO(data)).pts[::step]
    with av.open(io.BytesIO(data)) as container:
        decoder = ForwardDecoder(container, container.streams.video[0])
        assert [found.pts for time in pts if (found := decoder.decode_until(time))] == list(pts)
        return decoder.packets_decoded


@pytest.mark.parametrize("kind", ["avi", "mov"])
def test_of_mjpeg_only_the_wanted_pictures_are_decoded(kind: str) -> None:
    assert (
        packets_decoded(make_with_ffmpeg("mjpeg", kind), 10) <= 6
    )  # one more flushes the decoder at the end of the file


def test_groups_of_pictures_without_a_wanted_one_are_not_decoded() -> None:
    """Frames 0, 24, 48 of GOPs of 12: only every second key frame is decoded, and the frames that reordering needs."""
    for data in (
        make_with_ffmpeg("h264", "mp4"),
        make_with_ffmpeg("hevc", "mkv"),
        make_with_ffmpeg("h264", "mkv", piped=True),
    ):
        assert packets_decoded(data, 24) < 25
        assert packets_decoded(data, 1) >= COUNT


def test_bytes_far_behind_the_wanted_key_are_not_read() -> None:
    class Counting(io.BytesIO):
        read_bytes = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.read_bytes += len(data)
            return data

    rng = np.random.default_rng(3)
    frames = [rng.integers(0, 256, (480, 640, 3), np.uint8) for _ in range(60)]
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mjpeg", 25, {"q": "2"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    data = out.getvalue()
    pts = probe_video(io.BytesIO(data)).pts
    file = Counting(data)
    with VideoSource(file) as source:
        for number in (0, 29, 58):
            source.picture(pts[number])
    assert file.read_bytes < len(data) / 3
