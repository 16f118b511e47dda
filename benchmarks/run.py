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
from benchmarks.old_way import OldWay
from benchmarks.parity import Examiner
from benchmarks.record import Run
from benchmarks.script import Script
from benchmarks.stopwatch import Timing

Told = Callable[[str], None]


class Renderer(Protocol):
    """Makes the video of a case and says how long it took."""

    def render(self, case: Case, output: Path) -> Timing: ...


@dataclass(frozen=True, slots=True)
class Measurement:
    """What to run, and who hears how it goes."""

    footage: Footage
    cases: Sequence[Case]
    repetitions: int
    told: Told

    def runs(self) -> list[Run]:
        """All runs, each output examined, in the order they were made."""
        with tempfile.TemporaryDirectory(prefix="reelmill-bench-") as name:
            folder = Path(name)
            frames = numbered(self.footage, folder / "frames")
            self.told("reading sample frames; starting the service; ingesting")
            examiner = Examiner(self.footage.frames)
            with contenders(self.footage, frames, folder / "home") as known:
                return list(self._all(known, examiner, folder / "out.mp4"))

    def _all(self, known: Mapping[Contender, Renderer], examiner: Examiner, output: Path) -> Iterator[Run]:
        for repetition in range(1, self.repetitions + 1):
            for case in self.cases:
                for name in case.contenders:
                    timing = known[name].render(case, output)
                    seen = asdict(examiner.look(output))
                    told = (timing.wall, timing.cpu)
                    run = Run(case.name, name, repetition, *told, **seen, stages=timing.stages)
                    self.told(f"{repetition}/{self.repetitions} {case.name:8} {name:9} {run.seconds:6.2f} s")
                    yield run
                    output.unlink(missing_ok=True)


def numbered(footage: Footage, folder: Path) -> Path:
    """A folder where the frames are called 00000.jpg, 00001.jpg, …, as ffmpeg wants them."""
    folder.mkdir()
    for number, path in enumerate(footage.frames):
        (folder / f"{number:05d}{path.suffix.lower()}").symlink_to(path.resolve())
    return folder


@contextmanager
def contenders(footage: Footage, frames: Path, home: Path) -> Iterator[Mapping[Contender, Renderer]]:
    """All that know what to do with such frames, ready to render them."""
    size = (footage.width, footage.height)
    with reelmill.own_environment(home) as settings, reelmill.started(settings, frames) as ours:
        if footage.frames[0].suffix == ".tif":
            yield {"reelmill": ours, "script": Script(footage.frames)}
            return
        keys = ours.keys([path.name for path in sorted(frames.iterdir())])
        yield {
            "reelmill": ours,
            "ffmpeg": Ffmpeg(frames, size),
            "old way": OldWay(objects.reader(settings), keys, size),
        }
