"""Compare CPU and GPU paths: copies, whole renders, videos, then single stages."""

import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import av

from benchmarks import machine
from benchmarks.devices import stages
from benchmarks.devices.cases import PARITY_FRAMES, Case, Cases, Request
from benchmarks.devices.energy import EnergyMeter
from benchmarks.devices.measurement import Measurement
from benchmarks.devices.parity import Luma, Parity, encoder_parity, parity
from benchmarks.devices.report import format_line, write_report
from benchmarks.devices.tasks import gpu_tasks, pictures, render_tasks
from benchmarks.devices.tasks.workbench import WorkerSetup
from benchmarks.devices.timer import BenchmarkTimer, BudgetExceededError, TimeBudget, TimedTask
from benchmarks.devices.videos import VideoBenchmarks
from benchmarks.devices.worker_pool import Task, WorkerPool, WorkerPoolError
from service import __version__
from service.plan.render_plan import CPU_ONLY, Backend

PACKAGES = ("av", "numpy", "pillow", "torch", "torchvision", "triton", "PyNvVideoCodec")
# Fraction of the device's memory that all processes of a render share.
SHARED_MEMORY_FRACTION = 0.8


def package_versions(nvidia_driver: str | None) -> dict[str, str | None]:
    own = {"reelmill": __version__, "python": platform.python_version(), "av_ffmpeg": av.ffmpeg_version_info}
    return own | {name: _installed_version(name) for name in PACKAGES} | {"nvidia_driver": nvidia_driver}


def _installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class DeviceProbe:
    """Facts of the GPU, or why there is none."""

    facts: dict[str, str | None]
    absent_reason: str | None = None

    @property
    def nvenc_unavailable_reason(self) -> str | None:
        return self.facts.get("nvenc_unavailable_reason")


def measure(request: Request) -> int:
    """Run the command; the exit code is 1 if the output of a GPU path differs from the CPU's."""
    budget = TimeBudget(request.seconds)
    sizes = dict.fromkeys(case.source for case in Cases(request.base).all())
    setup = WorkerSetup({size: pictures.make_jpegs(size, 8) for size in sizes}, request.device)
    device = _probe_device(setup, budget)
    timer = BenchmarkTimer(request.repetitions, request.each, budget, EnergyMeter(device.facts.get("uuid")))
    comparison = Comparison(request, setup, timer, device)
    measurements = []
    for measurement in comparison.run():
        print(format_line(measurement), flush=True)
        measurements.append(measurement)
    facts = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe_machine() | {"gpu": device.facts.get("device"), "gpu_absent": device.absent_reason},
        "commit": request.commit or machine.commit(),
        "versions": package_versions(timer.energy.driver_version()),
        "cpu_workers": comparison.workers,
    }
    write_report(request.results, measurements, facts)
    return int(any(one.parity is not None and not one.is_valid and not one.absent_reason for one in measurements))


def _probe_device(setup: WorkerSetup, budget: TimeBudget) -> DeviceProbe:
    try:
        with WorkerPool(1, setup) as pool:
            return DeviceProbe(pool.call_first(gpu_tasks.open_device, seconds=budget.next_timeout()))
    except (WorkerPoolError, BudgetExceededError) as reason:
        return DeviceProbe({}, str(reason))


@dataclass(frozen=True, slots=True)
class Comparison:
    """All measurements of one request."""

    request: Request
    setup: WorkerSetup
    timer: BenchmarkTimer
    device: DeviceProbe

    @property
    def workers(self) -> int:
        return self.request.workers or len(os.sched_getaffinity(0))

    def run(self) -> Iterator[Measurement]:
        absent_reason = self.device.absent_reason
        with ExitStack() as stack:
            cpu = stack.enter_context(WorkerPool(self.workers, self.setup))
            gpu = None if absent_reason else stack.enter_context(WorkerPool(1, self.setup))
            stage_benchmarks = stages.StageBenchmarks(
                self.setup.sources, self.timer, cpu, gpu, absent_reason, self.device.nvenc_unavailable_reason
            )
            cases = Cases(self.request.base)
            yield from stage_benchmarks.measure_copies()
            for case in (cases.half, cases.whole, cases.quarter):
                for path in render_tasks.PATHS:
                    yield self._measure_render(case, path, cpu)
            for path in render_tasks.UNSUPPORTED_PATHS:
                yield Measurement("render", "any", path, absent_reason=render_tasks.UNSUPPORTED_REASON)
            yield from VideoBenchmarks(self.timer, cpu, self._fresh_pool, absent_reason).run(cases.whole)
            yield from stage_benchmarks.measure_all(cases)

    def _measure_render(self, case: Case, path: str, cpu_pool: WorkerPool) -> Measurement:
        family = render_tasks.PATHS[path]
        sizes = [len(one) for one in self.setup.sources[case.source]]
        measurement = Measurement("render", case.name, path, bytes_in=sum(sizes) // len(sizes))
        absent_reason = self.device.absent_reason if family != CPU_ONLY else None
        if family.encoder == "nvenc":
            absent_reason = absent_reason or self.device.nvenc_unavailable_reason
        if absent_reason:
            return replace(measurement, absent_reason=absent_reason)
        with self._fresh_pool(self.workers) as pool:
            compare = None if family == CPU_ONLY else lambda: self._render_parity(pool, cpu_pool, case, family)
            work = TimedTask(render_tasks.render, (case, family), warm=self.request.frames)
            return self.timer.measure(pool, measurement, work, compare)

    def _render_parity(self, pool: WorkerPool, cpu_pool: WorkerPool, case: Case, family: Backend) -> Parity:
        def lumas(pool: WorkerPool, task: Task, *arguments: object) -> list[Luma]:
            return render_tasks.decode_lumas(self.timer.call_first(pool, task, case, *arguments, PARITY_FRAMES))

        actual = lumas(pool, render_tasks.render_for_parity, family)
        expected = lumas(cpu_pool, render_tasks.render_for_parity, CPU_ONLY)
        if family.encoder == "cpu":
            return parity(actual, expected)
        return encoder_parity(actual, lumas(cpu_pool, render_tasks.encode_for_parity), expected)

    @contextmanager
    def _fresh_pool(self, count: int) -> "Iterator[WorkerPool]":
        """Newly started processes, which share the device's memory equally."""
        device = replace(self.request.device, memory_fraction=SHARED_MEMORY_FRACTION / count)
        with WorkerPool(count, replace(self.setup, device=device)) as pool:
            yield pool
