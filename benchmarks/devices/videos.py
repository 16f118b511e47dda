"""Measurements of video decoding: CPU processes, one decoder session, and one session per NVDEC engine of a data-
centre card.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from benchmarks.devices.cases import Case
from benchmarks.devices.measurement import Measurement
from benchmarks.devices.parity import Parity, parity
from benchmarks.devices.tasks import video_tasks
from benchmarks.devices.timer import BenchmarkTimer, BudgetExceededError, TimedTask
from benchmarks.devices.worker_pool import WorkerPool, WorkerPoolError
from service.pipeline.cuda.driver import VideoCodec

# NVDEC engines of an H100 and of an H200; a session uses one.
DECODER_SESSIONS = 7
COMPARED_FRAMES = 8


@dataclass(frozen=True, slots=True)
class VideoBenchmarks:
    """`fresh` opens so many processes that share the device, a session each."""

    clock: BenchmarkTimer
    cpu: WorkerPool
    fresh: Callable[[int], AbstractContextManager[WorkerPool]]
    absent: str | None

    def run(self, case: Case) -> Iterator[Measurement]:
        for codec in video_tasks.CODECS:
            yield from self._measure_codec(case, codec)

    def _measure_codec(self, case: Case, codec: VideoCodec) -> Iterator[Measurement]:
        width, height = case.source
        figure = Measurement("decode", f"{codec} video, {width}x{height}", "cpu", bytes_out=width * height * 3 // 2)
        try:
            figure = replace(
                figure, bytes_in=self.clock.call_first(self.cpu, video_tasks.bytes_per_picture, case, codec)
            )
        except (BudgetExceededError, WorkerPoolError) as reason:
            yield replace(figure, absent=str(reason))
            return
        yield self.clock.measure(
            self.cpu, figure, TimedTask(video_tasks.decode_on_cpu, (case, codec), video_tasks.VIDEO_FRAMES)
        )
        one = self._measure_on_gpu(replace(figure, path="gpu"), 1, case, codec)
        yield one
        many = self._measure_on_gpu(
            replace(figure, path=f"gpu, {DECODER_SESSIONS} sessions"), DECODER_SESSIONS, case, codec
        )
        yield replace(many, notes={"times_one_session": round(many.fps / one.fps, 3)}) if one.fps else many

    def _measure_on_gpu(self, figure: Measurement, sessions: int, case: Case, codec: VideoCodec) -> Measurement:
        if self.absent:
            return replace(figure, absent=self.absent)
        with self.fresh(sessions) as crew:
            work = TimedTask(video_tasks.decode_on_gpu, (case, codec), video_tasks.VIDEO_FRAMES)
            return self.clock.measure(crew, figure, work, lambda: self._luma_parity(crew, case, codec))

    def _luma_parity(self, crew: WorkerPool, case: Case, codec: VideoCodec) -> Parity:
        seen = self.clock.call_first(crew, video_tasks.gpu_lumas, case, codec, COMPARED_FRAMES)
        return parity(seen, self.clock.call_first(self.cpu, video_tasks.cpu_lumas, case, codec, COMPARED_FRAMES))
