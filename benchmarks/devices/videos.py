"""Decoding of source videos: the CPU's processes, one session of the device, and as many as a data-centre card has
decoders."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from benchmarks.devices import by_video
from benchmarks.devices.budget import BudgetExceededError
from benchmarks.devices.clock import BenchmarkTimer, TimedTask
from benchmarks.devices.crew import WorkerPool, WorkerPoolError
from benchmarks.devices.figure import Measurement
from benchmarks.devices.gate import Parity, parity
from benchmarks.devices.request import Case
from service.pipeline.cuda.driver import VideoCodec

DECODER_SESSIONS = 7
"""NVDEC engines of an H100 and of an H200; a session uses one."""
COMPARED_FRAMES = 8


@dataclass(frozen=True, slots=True)
class VideoBenchmarks:
    """`fresh` opens so many processes that share the device, a session each."""

    clock: BenchmarkTimer
    cpu: WorkerPool
    fresh: Callable[[int], AbstractContextManager[WorkerPool]]
    absent: str | None

    def run(self, case: Case) -> Iterator[Measurement]:
        for codec in by_video.CODECS:
            yield from self._measure_codec(case, codec)

    def _measure_codec(self, case: Case, codec: VideoCodec) -> Iterator[Measurement]:
        width, height = case.source
        figure = Measurement("decode", f"{codec} video, {width}x{height}", "cpu", bytes_out=width * height * 3 // 2)
        try:
            figure = replace(figure, bytes_in=self.clock.call_first(self.cpu, by_video.bytes_per_picture, case, codec))
        except (BudgetExceededError, WorkerPoolError) as reason:
            yield replace(figure, absent=str(reason))
            return
        yield self.clock.measure(
            self.cpu, figure, TimedTask(by_video.decode_on_cpu, (case, codec), by_video.VIDEO_FRAMES)
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
            work = TimedTask(by_video.decode_on_gpu, (case, codec), by_video.VIDEO_FRAMES)
            return self.clock.measure(crew, figure, work, lambda: self._luma_parity(crew, case, codec))

    def _luma_parity(self, crew: WorkerPool, case: Case, codec: VideoCodec) -> Parity:
        seen = self.clock.call_first(crew, by_video.gpu_lumas, case, codec, COMPARED_FRAMES)
        return parity(seen, self.clock.call_first(self.cpu, by_video.cpu_lumas, case, codec, COMPARED_FRAMES))
