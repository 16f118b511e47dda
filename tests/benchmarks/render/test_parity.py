"""Outputs that differ are found, and then nothing is compared."""

import io
from pathlib import Path

import av
import pytest
from rich.console import Console

from benchmarks import footage
from benchmarks.cases import CASES
from benchmarks.record import RenderRun
from benchmarks.render.comparison import ComparisonResult, report_result
from benchmarks.render.parity import VideoInspector, find_faults
from tests.benchmarks.runs import FACTS, SHAPE, make_run

H264, HALF, AV1, DEEP, _ = CASES


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return footage.load_or_create(SHAPE.frames, (SHAPE.width, SHAPE.height), tmp_path_factory.mktemp("cache")).frames


def encode_frames(path: Path, frames: tuple[Path, ...], crf: int = 20) -> Path:
    """Encode the frames with libx264, limited range BT.601."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", 30, {"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = SHAPE.width, SHAPE.height, "yuv420p"
        for frame in frames:
            with av.open(frame) as source:
                picture = next(source.decode(video=0)).reformat(format="yuv420p", dst_color_range=1)
            picture.pts = None
            picture.pict_type = 0
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def test_every_frame_is_counted_and_a_good_encode_is_recognised(frames: tuple[Path, ...], tmp_path: Path) -> None:
    seen = VideoInspector(frames).inspect(encode_frames(tmp_path / "good.mp4", frames))
    assert (seen.frames, seen.width, seen.height) == SHAPE
    assert seen.ssim > 0.95
    assert seen.bytes == (tmp_path / "good.mp4").stat().st_size


def test_worse_pictures_and_other_pictures_have_a_lower_ssim(frames: tuple[Path, ...], tmp_path: Path) -> None:
    inspector = VideoInspector(frames)
    good = inspector.inspect(encode_frames(tmp_path / "good.mp4", frames)).ssim
    coarse = inspector.inspect(encode_frames(tmp_path / "coarse.mp4", frames, crf=38)).ssim
    reversed_ = inspector.inspect(encode_frames(tmp_path / "reversed.mp4", frames[::-1])).ssim
    assert reversed_ < coarse < good
    assert reversed_ < 0.85


def test_frames_that_were_lost_are_noticed(frames: tuple[Path, ...], tmp_path: Path) -> None:
    assert VideoInspector(frames).inspect(encode_frames(tmp_path / "short.mp4", frames[:-1])).frames == SHAPE.frames - 1


def test_what_is_no_video_has_no_frames(frames: tuple[Path, ...], tmp_path: Path) -> None:
    inspector = VideoInspector(frames)
    assert inspector.inspect(tmp_path / "missing.mp4").frames == 0
    (tmp_path / "text.mp4").write_bytes(b"not a video")
    assert inspector.inspect(tmp_path / "text.mp4").frames == 0


@pytest.mark.parametrize("who", ["reelmill", "ffmpeg", "old way"])
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"frames": 23}, "23 frames instead of 24"),
        ({"frames": 25}, "25 frames instead of 24"),
        ({"width": 160}, "160x180 instead of 320x180"),
        ({"ssim": 0.84}, "not the source's pictures"),
    ],
)
def test_each_contender_must_show_the_source(who: str, wrong: dict[str, float], reason: str) -> None:
    runs = [make_run(name, **(wrong if name == who else {})) for name in H264.contenders]
    (found,) = find_faults(H264, SHAPE, runs)
    assert f"h264: {who}, repetition 1" in found
    assert reason in found


def test_one_bad_repetition_is_enough() -> None:
    runs = [make_run(name, repetition=number) for number in (1, 2, 3) for name in H264.contenders]
    runs[4] = make_run("ffmpeg", repetition=2, frames=1)
    assert "ffmpeg, repetition 2" in find_faults(H264, SHAPE, runs)[0]


def test_the_half_size_case_wants_half_the_size() -> None:
    whole = [make_run(name, case="half") for name in HALF.contenders]
    assert "instead of 160x90" in find_faults(HALF, SHAPE, whole)[0]
    halved = [make_run(name, case="half", width=160, height=90) for name in HALF.contenders]
    assert find_faults(HALF, SHAPE, halved) == []


@pytest.mark.parametrize(
    ("ours", "reason"),
    [
        ({}, None),
        ({"ssim": 0.9575, "bytes": 1090}, None),
        ({"ssim": 0.9565}, "SSIM 0.9565 against ffmpeg's 0.9600"),
        ({"bytes": 1101}, "1101 bytes against ffmpeg's 1000"),
        ({"bytes": 1090, "ssim": 0.99}, None),
    ],
)
def test_with_the_same_encoder_only_what_shorter_gops_cost(ours: dict[str, float], reason: str | None) -> None:
    found = find_faults(H264, SHAPE, [make_run("reelmill", **ours), make_run("ffmpeg"), make_run("old way")])
    assert found == ([f"h264: {reason}"] if reason else [])


@pytest.mark.parametrize(
    ("ours", "good"),
    [
        ({"ssim": 0.96, "bytes": 1000}, True),
        ({"ssim": 0.9599, "bytes": 500}, False),
        ({"ssim": 0.97, "bytes": 1001}, False),
    ],
)
def test_another_codec_must_be_as_good_and_no_larger(ours: dict[str, float], good: bool) -> None:
    runs = [make_run("reelmill", case="av1", **ours), make_run("ffmpeg", case="av1"), make_run("old way", case="av1")]
    assert (find_faults(AV1, SHAPE, runs) == []) is good


def test_the_old_way_must_not_have_the_better_quality_per_byte() -> None:
    runs = [make_run("reelmill"), make_run("ffmpeg"), make_run("old way", ssim=0.961, bytes=1000)]
    assert find_faults(H264, SHAPE, runs) == ["h264: no better quality per byte than the old way"]


def report_to_text(tmp_path: Path, runs: list[RenderRun]) -> tuple[int, str]:
    text = io.StringIO()
    code = report_result(
        Console(file=text, width=110),
        ComparisonResult([H264], runs, FACTS, {("jpeg", "street"): SHAPE}),
        tmp_path / "results",
    )
    return code, text.getvalue()


def test_a_red_gate_prints_the_reason_and_no_ratio_and_keeps_nothing(tmp_path: Path) -> None:
    code, text = report_to_text(
        tmp_path, [make_run("reelmill", 1.0), make_run("ffmpeg", 3.0, frames=7), make_run("old way", 5.0)]
    )
    assert code == 1
    assert "7 frames instead of 24" in text
    assert "3.00x" not in text
    assert "5.00x" not in text
    assert not (tmp_path / "results").exists()


def test_a_green_gate_prints_the_ratios_and_keeps_rows_and_a_chart(tmp_path: Path) -> None:
    code, text = report_to_text(
        tmp_path, [make_run("reelmill", 1.0), make_run("ffmpeg", 3.0), make_run("old way", 5.0)]
    )
    assert code == 0
    assert "3.00x" in text
    assert "5.00x" in text
    kept = {path.name for path in (tmp_path / "results").iterdir()}
    name = "render-2026-03-01-2-cores-test-cpu-9"
    assert kept == {f"{name}.jsonl", f"{name}.png"}
    assert (tmp_path / "results" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
