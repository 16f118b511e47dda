"""Measurements of video decoding: CPU processes, one NVDEC session, and one session per NVDEC engine."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from benchmarks.devices.cases import PARITY_FRAMES, Case
from benchmarks.devices.measurement import Measurement
from benchmarks.devices.parity import Parity, parity
from benchmarks.devices.tasks import video_tasks
from benchmarks.devices.timer import BenchmarkTimer, BudgetExceededError, TimedTask
from benchmarks.devices.worker_pool import WorkerPool, WorkerPoolError
from service.pipeline.cuda.driver import VideoCodec

# NVDEC engines of an H100 or H200; a session uses one.
DECODER_SESSIONS = 7


@dataclass(frozen=True, slots=True)
class VideoBenchmarks:
    """`fresh_pool` starts a number of processes that share the device, one session each."""

    timer: BenchmarkTimer
    cpu: WorkerPool
    fresh_pool: Callable[[int], AbstractContextManager[WorkerPool]]
    absent_reason: str | None

    def run(self, case: Case) -> Iterator[Measurement]:
        for codec in video_tasks.CODECS:
            yield from self._measure_codec(case, codec)

    def _measure_codec(self, case: Case, codec: VideoCodec) -> Iterator[Measurement]:
        width, height = case.source
        measurement = Measurement(
            "decode", f"{codec} video, {width}x{height}", "cpu", bytes_out=width * height * 3 // 2
        )
        try:
            measurement = replace(
                measurement, bytes_in=self.timer.call_first(self.cpu, video_tasks.bytes_per_picture, case, codec)
            )
        except (BudgetExceededError, WorkerPoolError) as reason:
            yield replace(measurement, absent_reason=str(reason))
            return
        yield self.timer.measure(
            self.cpu, measurement, TimedTask(video_tasks.decode_on_cpu, (case, codec), video_tasks.VIDEO_FRAMES)
        )
        one = self._measure_on_gpu(replace(measurement, path="gpu"), 1, case, codec)
        yield one
        many = self._measure_on_gpu(
            replace(measurement, path=f"gpu, {DECODER_SESSIONS} sessions"), DECODER_SESSIONS, case, codec
        )
        yield replace(many, notes={"times_one_session": round(many.fps / one.fps, 3)}) if one.fps else many

    def _measure_on_gpu(self, measurement: Measurement, sessions: int, case: Case, codec: VideoCodec) -> Measurement:
        if self.absent_reason:
            return replace(measurement, absent_reason=self.absent_reason)
        with self.fresh_pool(sessions) as pool:
            work = TimedTask(video_tasks.decode_on_gpu, (case, codec), video_tasks.VIDEO_FRAMES)
            return self.timer.measure(pool, measurement, work, lambda: self._luma_parity(pool, case, codec))

    def _luma_parity(self, pool: WorkerPool, case: Case, codec: VideoCodec) -> Parity:
        actual = self.timer.call_first(pool, video_tasks.gpu_lumas, case, codec, PARITY_FRAMES)
        return parity(actual, self.timer.call_first(self.cpu, video_tasks.cpu_lumas, case, codec, PARITY_FRAMES))
