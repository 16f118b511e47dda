"""Measurements of single stages: copy, decode, decode with transform, each kernel operation, encode."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from benchmarks.devices.cases import Case, Cases, Operation, Size, all_operations, cpu_bytes_per_frame
from benchmarks.devices.measurement import Measurement
from benchmarks.devices.parity import Parity, encoder_parity, parity
from benchmarks.devices.tasks import cpu_tasks, gpu_tasks, kernel_tasks
from benchmarks.devices.tasks.render_tasks import decode_lumas
from benchmarks.devices.timer import BenchmarkTimer, BudgetExceededError, TimedTask
from benchmarks.devices.worker_pool import Task, WorkerPool, WorkerPoolError

COMPARED_FRAMES = 8
NO_DOWNLOAD_REASON = (
    "no driver call brings decoded pictures to the CPU's transform: what is decoded there is shaped there"
)


@dataclass(frozen=True, slots=True)
class StageBenchmarks:
    """`cpu` is a process per worker, `gpu` one process that has the device to itself; `sources` are the JPEGs."""

    sources: Mapping[Size, tuple[bytes, ...]]
    clock: BenchmarkTimer
    cpu: WorkerPool
    gpu: WorkerPool | None
    absent: str | None
    no_nvenc: str | None

    def measure_copies(self) -> Iterator[Measurement]:
        """A frame is a block; read once, written once."""
        size = cpu_tasks.COPY_BYTES
        host = Measurement("copy", "blocks of 64 MiB", "cpu", bytes_in=size, bytes_out=size)
        yield self.clock.measure(self.cpu, host, TimedTask(cpu_tasks.copy_blocks, (), 1))
        size = kernel_tasks.COPY_BYTES
        own = Measurement("copy", "blocks of 1 GiB", "gpu", bytes_in=size, bytes_out=size)
        yield self._measure_on_gpu(own, TimedTask(kernel_tasks.copy_blocks, (), 1))

    def measure_all(self, cases: Cases) -> Iterator[Measurement]:
        for case in (cases.whole, cases.quarter, cases.small):
            yield from self._measure_decode(replace(case, size=case.source))
        for case in (cases.half, cases.quarter):
            yield from self._measure_decode_and_transform(case)
        for operation in all_operations(cases):
            yield from self._measure_transform(operation)
        for case in (cases.half, cases.whole):
            yield from self._measure_encode(case)

    def _measure_decode(self, case: Case) -> Iterator[Measurement]:
        """Of the CPU 4:2:0, of the device R'G'B': what each decoder gives."""
        pixels = case.source[0] * case.source[1]
        name = "x".join(map(str, case.source))
        one = Measurement("decode", name, "cpu", bytes_in=self._mean_jpeg_bytes(case), bytes_out=pixels * 3 // 2)
        yield self.clock.measure(self.cpu, one, TimedTask(cpu_tasks.decode_jpegs, (case,)))
        work = TimedTask(gpu_tasks.decode_jpegs, (case,), gpu_tasks.BATCH_FRAMES)
        other = replace(one, path="gpu", bytes_out=pixels * 3)
        yield self._measure_on_gpu(other, work, lambda gpu: self._luma_parity(gpu, gpu_tasks.transformed_lumas, case))

    def _measure_decode_and_transform(self, case: Case) -> Iterator[Measurement]:
        out = case.canvas[0] * case.canvas[1] * 3 // 2
        one = Measurement(
            "decode + transform", case.name, "cpu > cpu", bytes_in=self._mean_jpeg_bytes(case), bytes_out=out
        )
        yield self.clock.measure(self.cpu, one, TimedTask(cpu_tasks.decode_and_transform, (case,)))
        work = TimedTask(gpu_tasks.decode_and_transform, (case,), gpu_tasks.BATCH_FRAMES)
        yield self._measure_on_gpu(
            replace(one, path="gpu > gpu"), work, lambda gpu: self._luma_parity(gpu, gpu_tasks.transformed_lumas, case)
        )
        mixed = TimedTask(gpu_tasks.transform_cpu_decoded, (case, len(self.cpu)), gpu_tasks.BATCH_FRAMES)
        yield self._measure_on_gpu(
            replace(one, path="cpu > gpu"), mixed, lambda gpu: self._luma_parity(gpu, gpu_tasks.cpu_decoded_lumas, case)
        )
        yield replace(one, path="gpu > cpu", absent=self.absent or NO_DOWNLOAD_REASON)

    def _measure_transform(self, operation: Operation) -> Iterator[Measurement]:
        into, out = cpu_bytes_per_frame(operation)
        one = Measurement("transform", operation.name, "cpu", bytes_in=into, bytes_out=out)
        yield self.clock.measure(self.cpu, one, TimedTask(cpu_tasks.run_transform, (operation,)))
        other = replace(one, path="gpu")
        if self.gpu is None:
            yield replace(other, absent=self.absent)
            return
        try:
            step, into, out = self.clock.call_first(self.gpu, kernel_tasks.launch_facts, operation)
        except (BudgetExceededError, WorkerPoolError) as reason:
            yield replace(other, absent=str(reason))
            return
        other = replace(other, bytes_in=into, bytes_out=out, notes={"batch": step})
        yield self._measure_on_gpu(
            other,
            TimedTask(kernel_tasks.run_kernel, (operation,), step),
            lambda gpu: self._kernel_parity(gpu, operation),
        )

    def _measure_encode(self, case: Case) -> Iterator[Measurement]:
        pixels = case.canvas[0] * case.canvas[1]
        one = Measurement("encode", f"h264, {'x'.join(map(str, case.canvas))}", "cpu", bytes_in=pixels * 3 // 2)
        yield self.clock.measure(self.cpu, one, TimedTask(cpu_tasks.encoded_size, (case,), 60))
        for path, on_device in (("gpu", True), ("cpu memory > gpu", False)):
            other, work = replace(one, path=path), TimedTask(gpu_tasks.encoded_size, (case, on_device), 60)
            if self.no_nvenc and not self.absent:
                yield replace(other, absent=self.no_nvenc)
            else:
                yield self._measure_on_gpu(other, work, self._encoder_comparison(case, on_device))

    def _mean_jpeg_bytes(self, case: Case) -> int:
        sizes = [len(image) for image in self.sources[case.source]]
        return sum(sizes) // len(sizes)

    def _encoder_comparison(self, case: Case, on_device: bool) -> Callable[[WorkerPool], Parity]:
        def gate(gpu: WorkerPool) -> Parity:
            seen = self.clock.call_first(gpu, gpu_tasks.encode_segment, case, on_device, COMPARED_FRAMES)
            rival = self.clock.call_first(self.cpu, cpu_tasks.encode_segment, case, COMPARED_FRAMES)
            given = self.clock.call_first(self.cpu, cpu_tasks.transformed_lumas, case, COMPARED_FRAMES)
            return encoder_parity(decode_lumas(seen), decode_lumas(rival), given)

        return gate

    def _measure_on_gpu(
        self, figure: Measurement, work: TimedTask, gate: Callable[[WorkerPool], Parity] | None = None
    ) -> Measurement:
        gpu = self.gpu
        if gpu is None:
            return replace(figure, absent=self.absent)
        return self.clock.measure(gpu, figure, work, (lambda: gate(gpu)) if gate else None)

    def _luma_parity(self, gpu: WorkerPool, task: Task, case: Case) -> Parity:
        seen = self.clock.call_first(gpu, task, case, COMPARED_FRAMES)
        return parity(seen, self.clock.call_first(self.cpu, cpu_tasks.transformed_lumas, case, COMPARED_FRAMES))

    def _kernel_parity(self, gpu: WorkerPool, operation: Operation) -> Parity:
        seen, meant = self.clock.call_first(gpu, kernel_tasks.kernel_and_reference_lumas, operation)
        return parity(seen, meant)
