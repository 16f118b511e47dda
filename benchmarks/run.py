"""Everybody renders everything in turn, A B C A B C …, so that a machine that slows down slows them all."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from benchmarks import objects, reelmill
from benchmarks.cases import Case, Contender
from benchmarks.ffmpeg import Ffmpeg
from benchmarks.footage import Footage
from benchmarks.old_way import OpenCvBaseline
from benchmarks.parity import VideoInspector
from benchmarks.record import RenderRun
from benchmarks.script import TiffScript
from benchmarks.stopwatch import Timing

ProgressCallback = Callable[[str], None]


class Renderer(Protocol):
    """Makes the video of a case and says how long it took."""

    def render(self, case: Case, output: Path) -> Timing: ...


@dataclass(frozen=True, slots=True)
class Measurement:
    """What to run, and who hears how it goes."""

    footage: Footage
    cases: Sequence[Case]
    repetitions: int
    on_progress: ProgressCallback

    def runs(self) -> list[RenderRun]:
        """All runs, each output examined, in the order they were made."""
        with tempfile.TemporaryDirectory(prefix="reelmill-bench-") as name:
            folder = Path(name)
            frames = link_numbered(self.footage, folder / "frames")
            self.on_progress("reading sample frames; starting the service; ingesting")
            examiner = VideoInspector(self.footage.frames)
            with contenders(self.footage, frames, folder / "home") as known:
                return list(self._run_all(known, examiner, folder / "out.mp4"))

    def _run_all(
        self, known: Mapping[Contender, Renderer], examiner: VideoInspector, output: Path
    ) -> Iterator[RenderRun]:
        for repetition in range(1, self.repetitions + 1):
            for case in self.cases:
                for name in case.contenders:
                    timing = known[name].render(case, output)
                    seen = asdict(examiner.inspect(output))
                    told = (timing.wall, timing.cpu)
                    run = RenderRun(case.name, name, repetition, *told, **seen, stages=timing.stages)
                    self.on_progress(f"{repetition}/{self.repetitions} {case.name:8} {name:9} {run.seconds:6.2f} s")
                    yield run
                    output.unlink(missing_ok=True)


def link_numbered(footage: Footage, folder: Path) -> Path:
    """A folder where the frames are called 00000.jpg, 00001.jpg, …, as ffmpeg wants them."""
    folder.mkdir()
    for number, path in enumerate(footage.frames):
        (folder / f"{number:05d}{path.suffix.lower()}").symlink_to(path.resolve())
    return folder


@contextmanager
def contenders(footage: Footage, frames: Path, home: Path) -> Iterator[Mapping[Contender, Renderer]]:
    """All that know what to do with such frames, ready to render them."""
    size = (footage.width, footage.height)
    with reelmill.isolated_environment(home) as settings, reelmill.running_service(settings, frames) as ours:
        if footage.frames[0].suffix == ".tif":
            yield {"reelmill": ours, "script": TiffScript(footage.frames)}
            return
        keys = ours.object_keys([path.name for path in sorted(frames.iterdir())])
        yield {
            "reelmill": ours,
            "ffmpeg": Ffmpeg(frames, size),
            "old way": OpenCvBaseline(objects.object_reader(settings), keys, size),
        }
