"""The whole comparison, most telling first: renders, then stages, CPU and GPU of a case beside each other."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from benchmarks import machine
from benchmarks.devices import by_gpu, pictures, renders, stages
from benchmarks.devices.bench import Setup
from benchmarks.devices.budget import Budget, Spent
from benchmarks.devices.clock import Clock, Work
from benchmarks.devices.crew import Crew, CrewFault
from benchmarks.devices.energy import Energy
from benchmarks.devices.figure import Figure
from benchmarks.devices.gate import Parity, encoder_parity, parity
from benchmarks.devices.request import Case, Cases, Request
from benchmarks.devices.tell import told, write
from benchmarks.devices.versions import versions
from benchmarks.devices.videos import Videos
from service.pipeline.cuda.slot_device import DeviceChoice
from service.plan.render_plan import CPU_ONLY, Backend

COMPARED = 8
"""Pictures of a case that the gate looks at."""
BETWEEN_THEM = 0.8
"""Of the device's memory, by all processes of a render together."""


def measure(request: Request) -> int:
    """The whole command; 1 when a path of the GPU shows something else than the CPU."""
    budget = Budget(request.seconds)
    setup = Setup(_sources(request), request.device)
    device, absent = _device(setup, budget)
    clock = Clock(request.repetitions, request.each, budget, Energy(device.get("uuid")))
    comparison = Comparison(request, setup, clock, absent, device.get("no_nvenc"))
    figures = []
    for figure in comparison.figures():
        print(told(figure), flush=True)
        figures.append(figure)
    facts = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.machine() | {"gpu": device.get("device"), "gpu_absent": absent},
        "commit": request.commit or machine.commit(),
        "versions": versions(clock.energy.driver()),
        "cpu_workers": comparison.workers,
    }
    write(request.results, figures, facts)
    return int(any(figure.parity is not None and not figure.sound and not figure.absent for figure in figures))


def _sources(request: Request) -> "dict[tuple[int, int], tuple[bytes, ...]]":
    sizes = dict.fromkeys(case.source for case in Cases(request.base).all())
    return {size: pictures.jpegs(size, 8) for size in sizes}


def _device(setup: Setup, budget: Budget) -> tuple[dict[str, str | None], str | None]:
    """Its facts, and why there is none."""
    try:
        with Crew(1, setup) as crew:
            facts: dict[str, str | None] = crew.one(by_gpu.opened, seconds=budget.claim())
            return facts, None
    except (CrewFault, Spent) as reason:
        return {}, str(reason)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`absent` says why there is no GPU, `no_nvenc` why it does not encode."""

    request: Request
    setup: Setup
    clock: Clock
    absent: str | None
    no_nvenc: str | None

    @property
    def workers(self) -> int:
        return self.request.workers or len(os.sched_getaffinity(0))

    def figures(self) -> Iterator[Figure]:
        with ExitStack() as open_:
            cpu = open_.enter_context(Crew(self.workers, self.setup))
            gpu = open_.enter_context(Crew(1, self.setup)) if not self.absent else None
            of_stages = stages.Stages(self.setup.sources, self.clock, cpu, gpu, self.absent, self.no_nvenc)
            cases = Cases(self.request.base)
            yield from of_stages.copies()
            for case in (cases.half, cases.whole, cases.quarter):
                for path in renders.PATHS:
                    yield self._render(case, path, cpu)
            for path in renders.NO_PATHS:
                yield Figure("render", "any", path, absent=renders.WHY_NOT)
            yield from Videos(self.clock, cpu, self._fresh, self.absent).figures(cases.whole)
            yield from of_stages.all(cases)

    def _render(self, case: Case, path: str, cpu: Crew) -> Figure:
        family = renders.PATHS[path]
        sizes = [len(one) for one in self.setup.sources[case.source]]
        figure = Figure("render", case.name, path, bytes_in=sum(sizes) // len(sizes))
        missing = self.absent if family != CPU_ONLY else None
        missing = missing or (self.no_nvenc if family.encoder == "nvenc" else None)
        if missing:
            return replace(figure, absent=missing)
        with self._fresh(self.workers) as crew:
            gate = None if family == CPU_ONLY else lambda: self._parity((crew, cpu), case, family)
            work = Work(renders.render, (case, family), warm=self.request.frames)
            return self.clock.measured(crew, figure, work, gate)

    def _parity(self, crews: tuple[Crew, Crew], case: Case, family: Backend) -> Parity:
        crew, cpu = crews
        seen = renders.lumas(self.clock.ask(crew, renders.rendered, case, family, COMPARED))
        meant = renders.lumas(self.clock.ask(cpu, renders.rendered, case, CPU_ONLY, COMPARED))
        if family.encoder == "cpu":
            return parity(seen, meant)
        rival = renders.lumas(self.clock.ask(cpu, renders.encoded, case, COMPARED))
        return encoder_parity(seen, rival, meant)

    @contextmanager
    def _fresh(self, count: int) -> "Iterator[Crew]":
        """Processes that have loaded nothing yet, each with its part of the device."""
        choice = self.request.device
        share = DeviceChoice(choice.name, BETWEEN_THEM / count, choice.module)
        with Crew(count, replace(self.setup, device=share)) as crew:
            yield crew
