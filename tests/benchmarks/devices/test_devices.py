"""`python -m benchmarks devices` for real on the CPU, with a double of a GPU, and on a bare machine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.devices.cases import Cases, all_operations
from benchmarks.devices.energy import EnergyMeter, joules_per_frame
from benchmarks.devices.measurement import Joules, Measurement, copy_share, speed_up, to_row
from benchmarks.devices.parity import NO_PARITY, Parity, parity
from benchmarks.devices.report import format_markdown
from benchmarks.devices.tasks import kernel_tasks, pictures
from benchmarks.devices.tasks.workbench import Workbench, WorkerSetup
from benchmarks.devices.timer import BenchmarkTimer, TimeBudget, TimedTask
from benchmarks.devices.worker_pool import WorkerPool
from service.pipeline.cuda.slot_device import DeviceConfig

TINY = ("--size", "128x96", "--repetitions", "2", "--each", "0.01", "--frames", "6", "--workers", "1")
BARE_SCRIPT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in LEFT_OUT:
            raise ModuleNotFoundError(f"no module named {name}", name=name)
LEFT_OUT = {"sqlalchemy", "fastapi", "typer", "asyncpg", "rich", "pydantic", "cv2", "tifffile", "imagecodecs", "boto3",
            "matplotlib", "pynvml", "starlette", "alembic", "imageio_ffmpeg"}
sys.meta_path.insert(0, Missing())
from benchmarks.devices.__main__ import main
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""
CASES = Cases((128, 96))


def read_rows(folder: Path) -> list[dict[str, Any]]:
    (path,) = folder.glob("devices-*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


ROOT = Path(__file__).resolve().parents[3]


def run_python(*words: str) -> "subprocess.CompletedProcess[str]":
    here = os.environ | {"PYTHONPATH": str(ROOT)}  # for scripts outside of it
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300, env=here)


@pytest.fixture(scope="module")
def doubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with a double whose pictures are those of the CPU."""
    folder = tmp_path_factory.mktemp("doubled")
    driver = ("--driver", "tests.support.cuda_doubles.sound")
    done = run_python("-m", "benchmarks", "devices", *TINY, *driver, "--results", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_path_is_compared(doubled: Path) -> None:
    found = {(row["stage"], row["path"]): row for row in read_rows(doubled) if not row["absent"]}
    assert {path for stage, path in found if stage == "render"} == {
        f"{pixels} > {pixels} > {encoder}" for pixels in ("cpu", "gpu") for encoder in ("cpu", "gpu")
    }
    assert {("decode", "cpu"), ("decode", "gpu"), ("transform", "cpu"), ("encode", "gpu")} <= found.keys()
    assert {("decode + transform", "cpu > gpu"), ("decode + transform", "gpu > gpu")} <= found.keys()
    for one in found.values():
        assert len(one["frames_per_second"]) == 2
        assert min(one["frames_per_second"]) > 0 and one["cold_s"] > 0
        assert one["bytes_in"] > 0 and one["bytes_out"] > 0
        assert one["gate"] == (None if "gpu" not in one["path"] else "held")


def test_sessions_of_the_video_decoder_are_compared(doubled: Path) -> None:
    of_videos = {(row["case"], row["path"]): row for row in read_rows(doubled) if "video" in row["case"]}
    assert {path for _, path in of_videos} == {"cpu", "gpu", "gpu, 7 sessions"}
    for codec in ("h264", "hevc"):
        many = of_videos[f"{codec} video, 128x96", "gpu, 7 sessions"]
        one = of_videos[f"{codec} video, 128x96", "gpu"]
        assert (many["workers"], many["gate"], one["gate"], one["psnr_db"]) == (7, "held", "held", 99)
        ratio = many["median_frames_per_second"] / one["median_frames_per_second"]
        assert many["times_one_session"] == pytest.approx(ratio, rel=0.01)


def test_what_is_not_measured_says_why(doubled: Path) -> None:
    absent = {(row["stage"], row["path"]): row["absent"] for row in read_rows(doubled) if row["absent"]}
    assert "docs/gpu.md" in absent["render", "gpu > cpu > cpu"]
    assert "torch" in absent["transform", "gpu"]
    assert all(row["speed_up"] is None for row in read_rows(doubled) if row["absent"])


def test_table_and_chart_are_written_beside_the_rows(doubled: Path) -> None:
    (table,), (chart,) = doubled.glob("*.md"), doubled.glob("*.png")
    assert "## render" in table.read_text()
    assert chart.read_bytes()[1:4] == b"PNG"


def test_a_bare_machine_without_a_gpu(tmp_path: Path) -> None:
    script = tmp_path / "bare.py"
    script.write_text(BARE_SCRIPT)
    done = run_python(
        str(script), *TINY, "--results", str(tmp_path), "--driver", "tests.support.cuda_doubles.none_here"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no chart: matplotlib is not installed" in done.stdout
    rows = read_rows(tmp_path)
    by_cpu = [row for row in rows if "gpu" not in row["path"]]
    assert all(row["absent"] is None and row["frames_per_second"] for row in by_cpu)
    reasons = {row["absent"] for row in rows if row["stage"] == "decode" and row["path"] == "gpu"}
    assert reasons == {"cuda:0: no CUDA device is visible"}
    assert rows[0]["machine"]["gpu_absent"] == "cuda:0: no CUDA device is visible"


def test_spent_time_ends_it(tmp_path: Path) -> None:
    words = (*TINY, "--seconds", "0", "--results", str(tmp_path))
    done = run_python("-m", "benchmarks.devices", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(row["absent"] for row in read_rows(tmp_path))
    assert "the 0 s of --seconds were used up" in done.stdout


def test_an_unusable_size_is_a_usage_error() -> None:
    assert run_python("-m", "benchmarks.devices", "--size", "100x7").returncode == 2


def luma(shift: int = 0) -> Any:
    return np.roll(pictures.make_pictures((96, 64), 1)[0][..., 0], shift, 1)


def test_the_gate_wants_the_same_pictures_in_the_same_order() -> None:
    assert parity([luma()], [luma()]) == Parity(99, 1)
    assert parity([luma() ^ 1], [luma()]).holds
    assert not parity([luma(1)], [luma()]).holds
    assert not parity([luma(), luma(9)], [luma(9), luma()]).holds
    assert parity([luma()], [luma(), luma()]) == parity([], []) == NO_PARITY


CPU = Measurement("decode", "one", "cpu", rates=(90, 100, 110), bytes_in=10**9, bytes_out=10**9)


def test_no_speed_up_is_told_of_wrong_pictures() -> None:
    right = Measurement("decode", "one", "gpu", rates=(300.0,), parity=parity([luma() ^ 1], [luma()]))
    wrong = Measurement("decode", "one", "gpu", rates=(900.0,), parity=parity([luma(1)], [luma()]))
    unseen = Measurement("decode", "one", "gpu", rates=(800.0,))
    assert speed_up(right, [CPU, right]) == 3
    for bad in (wrong, unseen):
        assert speed_up(bad, [CPU, bad]) is None
        told = to_row(bad, [CPU, bad])
        assert (told["gate"], told["speed_up"]) == ("failed", None)
        assert "9.00" not in format_markdown([CPU, bad], FACTS) and "gate failed" in format_markdown([CPU, bad], FACTS)


def test_bandwidth_is_told_of_the_same_place() -> None:
    copies = Measurement("copy", "blocks", "cpu", rates=(400.0,), bytes_in=10**9, bytes_out=10**9)
    assert copy_share(CPU, [copies, CPU]) == pytest.approx(0.25)
    assert copy_share(CPU, [CPU]) is None


FACTS: dict[str, Any] = {
    "at": "2026-03-01T10:00:00+00:00",
    "machine": {"cpu": "Test CPU 9", "cores": 2, "gpu": "Card", "gpu_absent": None},
    "commit": "abc",
    "versions": {"reelmill": "0.1.0", "torch": None},
    "cpu_workers": 2,
}


@pytest.mark.parametrize("operation", all_operations(CASES), ids=lambda one: one.name)
def test_each_operation_is_launched_on_its_sources(operation: Any) -> None:
    """On the CPU, where the kernels' references run."""
    sources = {case.source: pictures.make_jpegs(case.source, 2) for case in CASES.all()}
    bench = Workbench(WorkerSetup(sources, DeviceConfig("cuda:0")))
    launch = kernel_tasks.prepare_launch(bench, operation, "cpu", 4)
    launch.run()
    wide, high = operation.case.canvas
    assert launch.bytes_out == wide * high * 3 // 2 * (4 // operation.bin)
    assert launch.luma()[0].shape == (high, wide)
    if operation.kernel == "rgb_to_nv12":
        meant = [bench.output_frames(operation.case, 1)[0].to_ndarray()[:high]]
        assert parity(launch.luma()[:1], meant).psnr > 40


def exit_process(bench: Workbench, frames: int) -> None:
    if frames:
        raise SystemExit(3)


def test_a_process_that_dies_is_a_reason() -> None:
    setup, clock = WorkerSetup({}, DeviceConfig("cuda:0")), BenchmarkTimer(1, 0.01, TimeBudget(60), EnergyMeter(None))
    with WorkerPool(1, setup) as crew:
        assert clock.measure(crew, CPU, TimedTask(exit_process, ())).absent_reason == "a worker process has died"


def test_energy_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    assert EnergyMeter("GPU-none", tmp_path).read() == Joules(None, None)
    counter = tmp_path / "intel-rapl:0"
    counter.mkdir()
    (counter / "energy_uj").write_text("5000000")
    energy = EnergyMeter(None, tmp_path)
    assert energy.read() == Joules(None, 5.0)
    assert joules_per_frame(energy.read, Joules(None, 1.0), 2) == Joules(None, 2.0)
    assert joules_per_frame(energy.read, Joules(None, 9.0), 2) == Joules(None, None)
