"""Every stage by itself: copies, JPEG decode, decode with transform, each operation of kernels/, encode."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from benchmarks.devices import by_cpu, by_gpu, by_kernel
from benchmarks.devices.budget import Spent
from benchmarks.devices.clock import Clock, Work
from benchmarks.devices.crew import Crew, CrewFault, Task
from benchmarks.devices.figure import Figure
from benchmarks.devices.gate import Parity, encoder_parity, parity
from benchmarks.devices.operations import Operation, cpu_bytes, operations
from benchmarks.devices.renders import lumas
from benchmarks.devices.request import Case, Cases, Size

COMPARED = 8
NO_DOWNLOAD = "no driver call brings decoded pictures to the CPU's transform: what is decoded there is shaped there"


@dataclass(frozen=True, slots=True)
class Stages:
    """`cpu` is a process per worker, `gpu` one process that has the device to itself; `sources` are the JPEGs."""

    sources: Mapping[Size, tuple[bytes, ...]]
    clock: Clock
    cpu: Crew
    gpu: Crew | None
    absent: str | None
    no_nvenc: str | None

    def copies(self) -> Iterator[Figure]:
        """A frame is a block; read once, written once."""
        size = by_cpu.COPIED
        host = Figure("copy", "blocks of 64 MiB", "cpu", bytes_in=size, bytes_out=size)
        yield self.clock.measured(self.cpu, host, Work(by_cpu.copy, (), 1))
        size = by_kernel.COPIED
        own = Figure("copy", "blocks of 1 GiB", "gpu", bytes_in=size, bytes_out=size)
        yield self._on_gpu(own, Work(by_kernel.copy, (), 1))

    def all(self, cases: Cases) -> Iterator[Figure]:
        for case in (cases.whole, cases.quarter, cases.small):
            yield from self._decode(replace(case, size=case.source))
        for case in (cases.half, cases.quarter):
            yield from self._chain(case)
        for operation in operations(cases):
            yield from self._transform(operation)
        for case in (cases.half, cases.whole):
            yield from self._encode(case)

    def _decode(self, case: Case) -> Iterator[Figure]:
        """Of the CPU 4:2:0, of the device R'G'B': what each decoder gives."""
        pixels = case.source[0] * case.source[1]
        name = "x".join(map(str, case.source))
        one = Figure("decode", name, "cpu", bytes_in=self._bytes(case), bytes_out=pixels * 3 // 2)
        yield self.clock.measured(self.cpu, one, Work(by_cpu.decode, (case,)))
        work = Work(by_gpu.decode, (case,), by_gpu.BATCH)
        other = replace(one, path="gpu", bytes_out=pixels * 3)
        yield self._on_gpu(other, work, lambda gpu: self._shown(gpu, by_gpu.chained, case))

    def _chain(self, case: Case) -> Iterator[Figure]:
        out = case.canvas[0] * case.canvas[1] * 3 // 2
        one = Figure("decode + transform", case.name, "cpu > cpu", bytes_in=self._bytes(case), bytes_out=out)
        yield self.clock.measured(self.cpu, one, Work(by_cpu.chain, (case,)))
        work = Work(by_gpu.chain, (case,), by_gpu.BATCH)
        yield self._on_gpu(replace(one, path="gpu > gpu"), work, lambda gpu: self._shown(gpu, by_gpu.chained, case))
        mixed = Work(by_gpu.mixed, (case, len(self.cpu)), by_gpu.BATCH)
        yield self._on_gpu(
            replace(one, path="cpu > gpu"), mixed, lambda gpu: self._shown(gpu, by_gpu.mixed_lumas, case)
        )
        yield replace(one, path="gpu > cpu", absent=self.absent or NO_DOWNLOAD)

    def _transform(self, operation: Operation) -> Iterator[Figure]:
        into, out = cpu_bytes(operation)
        one = Figure("transform", operation.name, "cpu", bytes_in=into, bytes_out=out)
        yield self.clock.measured(self.cpu, one, Work(by_cpu.transform, (operation,)))
        other = replace(one, path="gpu")
        if self.gpu is None:
            yield replace(other, absent=self.absent)
            return
        try:
            step, into, out = self.clock.ask(self.gpu, by_kernel.facts, operation)
        except (Spent, CrewFault) as reason:
            yield replace(other, absent=str(reason))
            return
        other = replace(other, bytes_in=into, bytes_out=out, notes={"batch": step})
        yield self._on_gpu(
            other, Work(by_kernel.transform, (operation,), step), lambda gpu: self._kernel(gpu, operation)
        )

    def _encode(self, case: Case) -> Iterator[Figure]:
        pixels = case.canvas[0] * case.canvas[1]
        one = Figure("encode", f"h264, {'x'.join(map(str, case.canvas))}", "cpu", bytes_in=pixels * 3 // 2)
        yield self.clock.measured(self.cpu, one, Work(by_cpu.encode, (case,), 60))
        for path, on_device in (("gpu", True), ("cpu memory > gpu", False)):
            other, work = replace(one, path=path), Work(by_gpu.encode, (case, on_device), 60)
            if self.no_nvenc and not self.absent:
                yield replace(other, absent=self.no_nvenc)
            else:
                yield self._on_gpu(other, work, self._encoded(case, on_device))

    def _bytes(self, case: Case) -> int:
        sizes = [len(image) for image in self.sources[case.source]]
        return sum(sizes) // len(sizes)

    def _encoded(self, case: Case, on_device: bool) -> Callable[[Crew], Parity]:
        def gate(gpu: Crew) -> Parity:
            seen = self.clock.ask(gpu, by_gpu.encoded, case, on_device, COMPARED)
            rival = self.clock.ask(self.cpu, by_cpu.encoded, case, COMPARED)
            given = self.clock.ask(self.cpu, by_cpu.chained, case, COMPARED)
            return encoder_parity(lumas(seen), lumas(rival), given)

        return gate

    def _on_gpu(self, figure: Figure, work: Work, gate: Callable[[Crew], Parity] | None = None) -> Figure:
        gpu = self.gpu
        if gpu is None:
            return replace(figure, absent=self.absent)
        return self.clock.measured(gpu, figure, work, (lambda: gate(gpu)) if gate else None)

    def _shown(self, gpu: Crew, task: Task, case: Case) -> Parity:
        seen = self.clock.ask(gpu, task, case, COMPARED)
        return parity(seen, self.clock.ask(self.cpu, by_cpu.chained, case, COMPARED))

    def _kernel(self, gpu: Crew, operation: Operation) -> Parity:
        seen, meant = self.clock.ask(gpu, by_kernel.compared, operation)
        return parity(seen, meant)
