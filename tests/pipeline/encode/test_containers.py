"""Every codec in every container: frame k at k / fps, key frames at the seams, right colours and tags, same bytes."""

import hashlib
import io
import itertools
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import pytest

from service.pipeline.encode.assemble import assemble
from service.plan.formats import CONTAINERS, Codec, Container
from tests.pipeline.encode.test_mjpeg import QUIRK
from tests.pipeline.rendering import numbered_jpegs, options, render
from tests.pipeline.test_colour import chart, patch_error
from tests.support.data import media

CODECS_IN_CONTAINERS = [(codec, container) for codec, containers in CONTAINERS.items() for container in containers]
FORMS = {"mjpeg": "yuvj420p", "ffv1": "yuvj420p"}
LENGTHS = (13, 1, 6)
INTRA_CODECS = ("mjpeg", "ffv1")


def make_file(codec: Codec, container: Container, folder: Path, fps: Fraction = Fraction(30)) -> Path:
    """Twenty numbered frames in three segments."""
    given = {"codec": codec, "container": container, "form": FORMS.get(codec, "yuv420p"), "fps": fps}
    frames = iter(numbered_jpegs(sum(LENGTHS)))
    parts = [render(list(itertools.islice(frames, length)), **given).data for length in LENGTHS]
    out = folder / f"out.{container}"
    assemble(parts, options(**given), out)
    return out


@pytest.mark.parametrize("fps", [Fraction(30), Fraction(30000, 1001), Fraction(240)])
@pytest.mark.parametrize(("codec", "container"), CODECS_IN_CONTAINERS)
def test_frame_k_is_shown_at_k_over_fps(codec: Codec, container: Container, fps: Fraction, tmp_path: Path) -> None:
    with av.open(str(make_file(codec, container, tmp_path, fps))) as file:
        stream = file.streams.video[0]
        decoded = [
            (frame.pts * stream.time_base, media.read_number(frame.to_ndarray(format="rgb24")))
            for frame in file.decode(stream)
        ]
        assert stream.average_rate == fps
    off = [abs(time - k / fps) for k, (time, _) in enumerate(decoded)]
    assert max(off) <= (Fraction(1, 2000) if container == "mkv" else 0)
    assert [number for _, number in decoded] == list(range(20))


@pytest.mark.parametrize(("codec", "container"), CODECS_IN_CONTAINERS)
def test_each_segment_begins_with_a_key_frame(codec: Codec, container: Container, tmp_path: Path) -> None:
    with av.open(str(make_file(codec, container, tmp_path))) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
    keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    assert keys == (list(range(20)) if codec in INTRA_CODECS else [0, 13, 14])


@pytest.mark.parametrize(("codec", "container"), CODECS_IN_CONTAINERS)
def test_the_ffmpeg_program_has_no_complaint(codec: Codec, container: Container, tmp_path: Path) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "warning", "-i", str(make_file(codec, container, tmp_path))]
    process = subprocess.run([*command, "-f", "framehash", "-"], capture_output=True, check=True, text=True)
    assert [line for line in process.stderr.splitlines() if not line.endswith(QUIRK)] == []
    assert len([line for line in process.stdout.splitlines() if not line.startswith("#")]) == 20


@pytest.mark.parametrize(("codec", "container"), CODECS_IN_CONTAINERS)
def test_flat_patches_and_tags(codec: Codec, container: Container, tmp_path: Path) -> None:
    given = {"codec": codec, "container": container, "form": FORMS.get(codec, "yuv420p"), "width": 448, "height": 64}
    segment = render([media.jpeg(chart()), media.png(chart())], quality=90, **given).data
    assemble([segment], options(**given), tmp_path / "out")
    with av.open(str(tmp_path / "out")) as file:
        frames = list(file.decode(video=0))
    for frame in frames:
        assert patch_error(frame.to_ndarray(format="rgb24"), chart()) <= 2
        assert frame.color_range == (2 if codec in INTRA_CODECS else 1)
        assert frame.colorspace in (5, 6), "BT.601, by one of its two numbers"
        if container != "avi":
            assert (frame.color_primaries, frame.color_trc) == (1, 13)


SCRIPT = """
import sys; from pathlib import Path; from tests.pipeline.encode.test_containers import make_file
make_file(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
"""


@pytest.mark.parametrize(("codec", "container"), CODECS_IN_CONTAINERS)
def test_another_process_makes_the_same_bytes(codec: Codec, container: Container, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    command = [sys.executable, "-c", SCRIPT, codec, container, str(tmp_path / "other")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "the encoders keep their log to themselves"
    digests = [
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (make_file(codec, container, tmp_path), tmp_path / "other" / f"out.{container}")
    ]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_hevc_is_tagged_as_apples_players_want_it(container: Container, tmp_path: Path) -> None:
    data = make_file("hevc", container, tmp_path).read_bytes()
    assert b"hvc1" in data and b"hev1" not in data
    assert data.index(b"moov") < data.index(b"mdat")


def test_hevc_carries_its_parameter_sets_once(tmp_path: Path) -> None:
    """hvc1 requires them in the sample description and not in the samples; there is no SEI message with settings either."""
    with av.open(str(make_file("hevc", "mp4", tmp_path))) as file:
        packets = [bytes(packet) for packet in file.demux(video=0) if packet.size]
    kinds = {kind for packet in packets for kind in _nal_types(packet)}
    assert not kinds & {32, 33, 34, 39, 40}


def _nal_types(packet: bytes) -> list[int]:
    found, position = [], 0
    while position < len(packet):
        found.append(packet[position + 4] >> 1 & 0x3F)
        position += 4 + int.from_bytes(packet[position : position + 4], "big")
    return found


def test_matroska_has_its_index_in_front_and_no_date(tmp_path: Path) -> None:
    data = make_file("ffv1", "mkv", tmp_path).read_bytes()
    assert data.index(b"\x1c\x53\xbb\x6b") < data.index(b"\x1f\x43\xb6\x75"), "Cues before the first Cluster"
    with av.open(io.BytesIO(data)) as file:
        assert "creation_time" not in {**file.metadata, **file.streams.video[0].metadata}
