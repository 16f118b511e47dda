"""Decoding of source videos: the CPU's processes, one session of the device, and as many as a data-centre card has
decoders."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from benchmarks.devices import by_video
from benchmarks.devices.budget import Spent
from benchmarks.devices.clock import Clock, Work
from benchmarks.devices.crew import Crew, CrewFault
from benchmarks.devices.figure import Figure
from benchmarks.devices.gate import Parity, parity
from benchmarks.devices.request import Case
from service.pipeline.cuda.driver import VideoCodec

SESSIONS = 7
"""NVDEC engines of an H100 and of an H200; a session uses one."""
COMPARED = 8


@dataclass(frozen=True, slots=True)
class Videos:
    """`fresh` opens so many processes that share the device, a session each."""

    clock: Clock
    cpu: Crew
    fresh: Callable[[int], AbstractContextManager[Crew]]
    absent: str | None

    def figures(self, case: Case) -> Iterator[Figure]:
        for codec in by_video.CODECS:
            yield from self._of(case, codec)

    def _of(self, case: Case, codec: VideoCodec) -> Iterator[Figure]:
        width, height = case.source
        figure = Figure("decode", f"{codec} video, {width}x{height}", "cpu", bytes_out=width * height * 3 // 2)
        try:
            figure = replace(figure, bytes_in=self.clock.ask(self.cpu, by_video.size_of, case, codec))
        except (Spent, CrewFault) as reason:
            yield replace(figure, absent=str(reason))
            return
        yield self.clock.measured(self.cpu, figure, Work(by_video.by_cpu, (case, codec), by_video.FRAMES))
        one = self._by_gpu(replace(figure, path="gpu"), 1, case, codec)
        yield one
        many = self._by_gpu(replace(figure, path=f"gpu, {SESSIONS} sessions"), SESSIONS, case, codec)
        yield replace(many, notes={"times_one_session": round(many.fps / one.fps, 3)}) if one.fps else many

    def _by_gpu(self, figure: Figure, sessions: int, case: Case, codec: VideoCodec) -> Figure:
        if self.absent:
            return replace(figure, absent=self.absent)
        with self.fresh(sessions) as crew:
            work = Work(by_video.by_gpu, (case, codec), by_video.FRAMES)
            return self.clock.measured(crew, figure, work, lambda: self._shown(crew, case, codec))

    def _shown(self, crew: Crew, case: Case, codec: VideoCodec) -> Parity:
        seen = self.clock.ask(crew, by_video.gpu_lumas, case, codec, COMPARED)
        return parity(seen, self.clock.ask(self.cpu, by_video.cpu_lumas, case, codec, COMPARED))
