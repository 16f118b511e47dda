"""The comparison of CPU and GPU paths: renders first, then videos and single stages."""

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
from benchmarks.devices.cases import Case, Cases, Request
from benchmarks.devices.energy import EnergyMeter
from benchmarks.devices.measurement import Measurement
from benchmarks.devices.parity import Parity, encoder_parity, parity
from benchmarks.devices.report import format_line, write_report
from benchmarks.devices.tasks import gpu_tasks, pictures, render_tasks
from benchmarks.devices.tasks.workbench import WorkerSetup
from benchmarks.devices.timer import BenchmarkTimer, BudgetExceededError, TimeBudget, TimedTask
from benchmarks.devices.videos import VideoBenchmarks
from benchmarks.devices.worker_pool import WorkerPool, WorkerPoolError
from service import __version__
from service.pipeline.cuda.slot_device import DeviceConfig
from service.plan.render_plan import CPU_ONLY, Backend

PACKAGES = ("av", "numpy", "pillow", "torch", "torchvision", "triton", "PyNvVideoCodec")


def package_versions(nvidia_driver: str | None) -> dict[str, str | None]:
    """`driver` is NVIDIA's."""
    ours = {"reelmill": __version__, "python": platform.python_version(), "av_ffmpeg": av.ffmpeg_version_info}
    return ours | {name: _installed_version(name) for name in PACKAGES} | {"nvidia_driver": nvidia_driver}


def _installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


# Pictures of a case that the gate looks at.
COMPARED_FRAMES = 8
# Of the device's memory, by all processes of a render together.
SHARED_MEMORY_FRACTION = 0.8


def measure(request: Request) -> int:
    """The whole command; 1 when a path of the GPU shows something else than the CPU."""
    budget = TimeBudget(request.seconds)
    setup = WorkerSetup(_source_jpegs(request), request.device)
    device, absent = _probe_device(setup, budget)
    clock = BenchmarkTimer(request.repetitions, request.each, budget, EnergyMeter(device.get("uuid")))
    comparison = Comparison(request, setup, clock, absent, device.get("no_nvenc"))
    figures = []
    for figure in comparison.run():
        print(format_line(figure), flush=True)
        figures.append(figure)
    facts = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe_machine() | {"gpu": device.get("device"), "gpu_absent": absent},
        "commit": request.commit or machine.commit(),
        "versions": package_versions(clock.energy.driver_version()),
        "cpu_workers": comparison.workers,
    }
    write_report(request.results, figures, facts)
    return int(any(figure.parity is not None and not figure.is_valid and not figure.absent for figure in figures))


def _source_jpegs(request: Request) -> "dict[tuple[int, int], tuple[bytes, ...]]":
    sizes = dict.fromkeys(case.source for case in Cases(request.base).all())
    return {size: pictures.make_jpegs(size, 8) for size in sizes}


def _probe_device(setup: WorkerSetup, budget: TimeBudget) -> tuple[dict[str, str | None], str | None]:
    """Its facts, and why there is none."""
    try:
        with WorkerPool(1, setup) as crew:
            facts: dict[str, str | None] = crew.call_first(gpu_tasks.open_device, seconds=budget.next_timeout())
            return facts, None
    except (WorkerPoolError, BudgetExceededError) as reason:
        return {}, str(reason)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`absent` says why there is no GPU, `no_nvenc` why it does not encode."""

    request: Request
    setup: WorkerSetup
    clock: BenchmarkTimer
    absent: str | None
    no_nvenc: str | None

    @property
    def workers(self) -> int:
        return self.request.workers or len(os.sched_getaffinity(0))

    def run(self) -> Iterator[Measurement]:
        with ExitStack() as open_:
            cpu = open_.enter_context(WorkerPool(self.workers, self.setup))
            gpu = open_.enter_context(WorkerPool(1, self.setup)) if not self.absent else None
            of_stages = stages.StageBenchmarks(self.setup.sources, self.clock, cpu, gpu, self.absent, self.no_nvenc)
            cases = Cases(self.request.base)
            yield from of_stages.measure_copies()
            for case in (cases.half, cases.whole, cases.quarter):
                for path in render_tasks.PATHS:
                    yield self._measure_render(case, path, cpu)
            for path in render_tasks.UNSUPPORTED_PATHS:
                yield Measurement("render", "any", path, absent=render_tasks.UNSUPPORTED_REASON)
            yield from VideoBenchmarks(self.clock, cpu, self._fresh_pool, self.absent).run(cases.whole)
            yield from of_stages.measure_all(cases)

    def _measure_render(self, case: Case, path: str, cpu_pool: WorkerPool) -> Measurement:
        family = render_tasks.PATHS[path]
        sizes = [len(one) for one in self.setup.sources[case.source]]
        figure = Measurement("render", case.name, path, bytes_in=sum(sizes) // len(sizes))
        missing = self.absent if family != CPU_ONLY else None
        missing = missing or (self.no_nvenc if family.encoder == "nvenc" else None)
        if missing:
            return replace(figure, absent=missing)
        with self._fresh_pool(self.workers) as crew:
            gate = None if family == CPU_ONLY else lambda: self._render_parity((crew, cpu_pool), case, family)
            work = TimedTask(render_tasks.render, (case, family), warm=self.request.frames)
            return self.clock.measure(crew, figure, work, gate)

    def _render_parity(self, crews: tuple[WorkerPool, WorkerPool], case: Case, family: Backend) -> Parity:
        crew, cpu = crews
        seen = render_tasks.decode_lumas(
            self.clock.call_first(crew, render_tasks.render_for_parity, case, family, COMPARED_FRAMES)
        )
        meant = render_tasks.decode_lumas(
            self.clock.call_first(cpu, render_tasks.render_for_parity, case, CPU_ONLY, COMPARED_FRAMES)
        )
        if family.encoder == "cpu":
            return parity(seen, meant)
        rival = render_tasks.decode_lumas(
            self.clock.call_first(cpu, render_tasks.encode_for_parity, case, COMPARED_FRAMES)
        )
        return encoder_parity(seen, rival, meant)

    @contextmanager
    def _fresh_pool(self, count: int) -> "Iterator[WorkerPool]":
        """Processes that have loaded nothing yet, each with its part of the device."""
        choice = self.request.device
        share = DeviceConfig(choice.name, SHARED_MEMORY_FRACTION / count, choice.driver_module)
        with WorkerPool(count, replace(self.setup, device=share)) as crew:
            yield crew
