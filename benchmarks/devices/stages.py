"""Measurements of single stages: copy, decode, decode with transform, each kernel operation, encode."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from benchmarks.devices.cases import (
    PARITY_FRAMES,
    Case,
    Cases,
    Operation,
    Size,
    all_operations,
    cpu_bytes_per_frame,
)
from benchmarks.devices.measurement import Measurement
from benchmarks.devices.parity import Parity, encoder_parity, parity
from benchmarks.devices.tasks import cpu_tasks, gpu_tasks, kernel_tasks
from benchmarks.devices.tasks.render_tasks import decode_lumas
from benchmarks.devices.timer import BenchmarkTimer, BudgetExceededError, TimedTask
from benchmarks.devices.worker_pool import Task, WorkerPool, WorkerPoolError

NO_DOWNLOAD_REASON = "pictures decoded on the GPU are transformed there: the driver cannot download them before"


@dataclass(frozen=True, slots=True)
class StageBenchmarks:
    """`cpu` has one process per worker, `gpu` one process that has the device to itself; `sources` are JPEGs."""

    sources: Mapping[Size, tuple[bytes, ...]]
    timer: BenchmarkTimer
    cpu: WorkerPool
    gpu: WorkerPool | None
    absent_reason: str | None
    nvenc_unavailable_reason: str | None

    def measure_copies(self) -> Iterator[Measurement]:
        """Copy bandwidth; a block, read once and written once, counts as a frame."""
        size = cpu_tasks.COPY_BYTES
        host = Measurement("copy", "blocks of 64 MiB", "cpu", bytes_in=size, bytes_out=size)
        yield self.timer.measure(self.cpu, host, TimedTask(cpu_tasks.copy_blocks, (), 1))
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
        """JPEG decoding, to each decoder's own output: 4:2:0 on the CPU, R'G'B' on the device."""
        pixels = case.source[0] * case.source[1]
        name = "x".join(map(str, case.source))
        one = Measurement("decode", name, "cpu", bytes_in=self._mean_jpeg_bytes(case), bytes_out=pixels * 3 // 2)
        yield self.timer.measure(self.cpu, one, TimedTask(cpu_tasks.decode_jpegs, (case,)))
        work = TimedTask(gpu_tasks.decode_jpegs, (case,), gpu_tasks.BATCH_FRAMES)
        other = replace(one, path="gpu", bytes_out=pixels * 3)
        yield self._measure_on_gpu(other, work, lambda gpu: self._luma_parity(gpu, gpu_tasks.transformed_lumas, case))

    def _measure_decode_and_transform(self, case: Case) -> Iterator[Measurement]:
        out = case.canvas[0] * case.canvas[1] * 3 // 2
        one = Measurement(
            "decode + transform", case.name, "cpu > cpu", bytes_in=self._mean_jpeg_bytes(case), bytes_out=out
        )
        yield self.timer.measure(self.cpu, one, TimedTask(cpu_tasks.decode_and_transform, (case,)))
        work = TimedTask(gpu_tasks.decode_and_transform, (case,), gpu_tasks.BATCH_FRAMES)
        yield self._measure_on_gpu(
            replace(one, path="gpu > gpu"), work, lambda gpu: self._luma_parity(gpu, gpu_tasks.transformed_lumas, case)
        )
        mixed = TimedTask(gpu_tasks.transform_cpu_decoded, (case, len(self.cpu)), gpu_tasks.BATCH_FRAMES)
        yield self._measure_on_gpu(
            replace(one, path="cpu > gpu"), mixed, lambda gpu: self._luma_parity(gpu, gpu_tasks.cpu_decoded_lumas, case)
        )
        yield replace(one, path="gpu > cpu", absent_reason=self.absent_reason or NO_DOWNLOAD_REASON)

    def _measure_transform(self, operation: Operation) -> Iterator[Measurement]:
        into, out = cpu_bytes_per_frame(operation)
        one = Measurement("transform", operation.name, "cpu", bytes_in=into, bytes_out=out)
        yield self.timer.measure(self.cpu, one, TimedTask(cpu_tasks.run_transform, (operation,)))
        other = replace(one, path="gpu")
        if self.gpu is None:
            yield replace(other, absent_reason=self.absent_reason)
            return
        try:
            step, into, out = self.timer.call_first(self.gpu, kernel_tasks.launch_facts, operation)
        except (BudgetExceededError, WorkerPoolError) as reason:
            yield replace(other, absent_reason=str(reason))
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
        yield self.timer.measure(self.cpu, one, TimedTask(cpu_tasks.encoded_size, (case,), 60))
        for path, on_device in (("gpu", True), ("cpu memory > gpu", False)):
            other, work = replace(one, path=path), TimedTask(gpu_tasks.encoded_size, (case, on_device), 60)
            if self.nvenc_unavailable_reason and not self.absent_reason:
                yield replace(other, absent_reason=self.nvenc_unavailable_reason)
            else:
                yield self._measure_on_gpu(other, work, self._encoder_comparison(case, on_device))

    def _mean_jpeg_bytes(self, case: Case) -> int:
        sizes = [len(image) for image in self.sources[case.source]]
        return sum(sizes) // len(sizes)

    def _encoder_comparison(self, case: Case, on_device: bool) -> Callable[[WorkerPool], Parity]:
        def compare(gpu: WorkerPool) -> Parity:
            actual = self.timer.call_first(gpu, gpu_tasks.encode_segment, case, on_device, PARITY_FRAMES)
            cpu_encoded = self.timer.call_first(self.cpu, cpu_tasks.encode_segment, case, PARITY_FRAMES)
            source = self.timer.call_first(self.cpu, cpu_tasks.transformed_lumas, case, PARITY_FRAMES)
            return encoder_parity(decode_lumas(actual), decode_lumas(cpu_encoded), source)

        return compare

    def _measure_on_gpu(
        self, measurement: Measurement, work: TimedTask, compare: Callable[[WorkerPool], Parity] | None = None
    ) -> Measurement:
        gpu = self.gpu
        if gpu is None:
            return replace(measurement, absent_reason=self.absent_reason)
        return self.timer.measure(gpu, measurement, work, (lambda: compare(gpu)) if compare else None)

    def _luma_parity(self, gpu: WorkerPool, task: Task, case: Case) -> Parity:
        actual = self.timer.call_first(gpu, task, case, PARITY_FRAMES)
        return parity(actual, self.timer.call_first(self.cpu, cpu_tasks.transformed_lumas, case, PARITY_FRAMES))

    def _kernel_parity(self, gpu: WorkerPool, operation: Operation) -> Parity:
        actual, expected = self.timer.call_first(gpu, kernel_tasks.kernel_and_reference_lumas, operation)
        return parity(actual, expected)
