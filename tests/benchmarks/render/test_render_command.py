"""`python -m benchmarks` for real: the service, ffmpeg and OpenCV on a few small frames, and planning of few rows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import footage


def run_render(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "benchmarks", "render", *words], capture_output=True, text=True)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    return footage.load_or_create(15, (320, 180), tmp_path / "cache").frames[0].parent


def test_all_contenders_once(frames: Path, tmp_path: Path) -> None:
    cases = ("--case", "h264", "--case", "half")
    done = run_render("--folder", str(frames), "--repetitions", "1", *cases, "--results", str(tmp_path / "results"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("x (") == 4
    (path,) = (tmp_path / "results").glob("render-*.jsonl")
    assert path.with_suffix(".png").exists()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    made = [(row["case"], row["contender"]) for row in rows]
    assert made == [(case, who) for case in ("h264", "half") for who in ("reelmill", "ffmpeg", "old way")]
    assert {row["frames"] for row in rows} == {15}
    assert [row["width"] for row in rows] == [320] * 3 + [160] * 3
    assert all(row["seconds"] > 0 and row["bytes"] > 0 and row["ssim"] > 0.9 for row in rows)
    assert {"fetch", "decode", "encode"} <= rows[0]["stages"].keys()
    assert rows[0]["store"] == "folder"


def test_deep_frames_against_the_script(frames: Path, tmp_path: Path) -> None:
    done = run_render("--folder", str(frames), "--repetitions", "1", "--case", "deep", "--results", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("render-*.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["contender"], row["frames"], row["width"]) for row in rows] == [
        ("reelmill", 15, 320),
        ("script", 15, 320),
    ]
    assert all(row["ssim"] > 0.9 for row in rows)


def test_planning_is_measured_by_the_number_of_frames(tmp_path: Path) -> None:
    words = ("planning", "--frames", "100", "--frames", "300", "--repetitions", "1", "--results", str(tmp_path))
    done = subprocess.run([sys.executable, "-m", "benchmarks", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("planning-*.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["frames"] for row in rows] == [100, 300]
    assert all(row["dry_run_s"] > 0 and row["generate_s"] > 0 for row in rows)


def test_a_folder_that_cannot_be_measured_ends_with_one_line(tmp_path: Path) -> None:
    done = run_render("--folder", str(tmp_path))
    assert done.returncode == 1
    assert "holds no JPEGs" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_an_unknown_case_is_a_usage_error(frames: Path) -> None:
    done = run_render("--folder", str(frames), "--case", "vp9")
    assert done.returncode == 2
    assert "h264, half, av1" in done.stderr
