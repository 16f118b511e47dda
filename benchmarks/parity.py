"""The correctness gate: what the outputs hold is looked at before any speed is told."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import tifffile
from av import VideoFrame

from benchmarks.cases import Case
from benchmarks.record import Run
from benchmarks.script import window
from benchmarks.ssim import Plane, ssim
from service.pipeline.planes import view

SAMPLES = 20
LOWEST_SSIM = 0.85
"""Under this the pictures are other ones, or in another order."""
GOP_SSIM, GOP_BYTES = 0.003, 1.10
"""With the same encoder settings Reelmill may lose this much SSIM, or take this many times the bytes."""
LUMA, CHROMA = (219 / 255, 16.0), (224 / 255, 128 - 128 * 224 / 255)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a video holds: every frame is decoded and counted, some are compared with their source."""

    frames: int
    width: int
    height: int
    ssim: float
    bytes: int
    sha256: str


NOTHING = Seen(0, 0, 0, 0.0, 0, "")


class Examiner:
    """Compares videos with the source frames at fixed positions, the same for every contender."""

    def __init__(self, frames: Sequence[Path]) -> None:
        positions = np.linspace(0, len(frames) - 1, min(SAMPLES, len(frames))).round().astype(int)
        limits = window(frames) if frames[0].suffix == ".tif" else None
        self._sources = {int(position): _source(frames[position], limits) for position in positions}
        self._known: dict[str, Seen] = {}

    def look(self, video: Path) -> Seen:
        """A file with the same bytes as an earlier one is not decoded again; what is no video has 0 frames."""
        if not video.exists():
            return NOTHING
        digest = hashlib.sha256(video.read_bytes()).hexdigest()
        if digest not in self._known:
            try:
                self._known[digest] = self._examined(video, digest)
            except (av.FFmpegError, IndexError):
                self._known[digest] = NOTHING
        return self._known[digest]

    def _examined(self, video: Path, digest: str) -> Seen:
        values, count, size = [], 0, (0, 0)
        with av.open(video) as container:
            container.streams.video[0].thread_type = "AUTO"
            for count, frame in enumerate(container.decode(video=0), 1):
                size = (frame.width, frame.height)
                if (source := self._sources.get(count - 1)) is not None:
                    values.append(ssim(_planes(frame), expected(source, size)))
        mean = float(np.mean(values)) if values else 0.0
        return Seen(count, *size, round(mean, 5), video.stat().st_size, digest)


def _source(path: Path, limits: tuple[float, float] | None = None) -> list[np.ndarray[Any, Any]]:
    """The JPEG's own YCbCr samples, full range, 4:2:0; of a 16-bit TIFF, its place within `limits`, not rounded."""
    if limits is not None:
        share = (tifffile.imread(path).astype(np.float32) - limits[0]) / (limits[1] - limits[0])
        neutral = np.full((share.shape[0] // 2, share.shape[1] // 2), 128, np.float32)
        return [share.clip(0, 1) * 255, neutral, neutral]
    with av.open(path) as container:
        frame = next(container.decode(video=0))
    if frame.format.name != "yuvj420p":
        frame = frame.reformat(format="yuvj420p")
    return [view(plane).copy() for plane in frame.planes]


def expected(source: Sequence[np.ndarray[Any, Any]], size: tuple[int, int]) -> list[Plane]:
    """The source at (width, height) by area average, limited range, not rounded."""
    planes = []
    for number, plane in enumerate(source):
        wanted = (size[0] // 2, size[1] // 2) if number else size
        gain, offset = CHROMA if number else LUMA
        scaled = cv2.resize(plane.astype(np.float32), wanted, interpolation=cv2.INTER_AREA)
        planes.append((scaled * gain + offset).astype(np.float32))
    return planes


def _planes(frame: VideoFrame) -> list[Plane]:
    return [view(plane).astype(np.float32) for plane in frame.planes]


def faults(case: Case, footage: tuple[int, int, int], runs: Sequence[Run]) -> list[str]:
    """Why the runs of a case must not be compared; empty when they may. `footage` is (frames, width, height)."""
    found = [fault for run in runs if (fault := _own_fault(case, footage, run))]
    if found:
        return found
    by_repetition: dict[int, dict[str, Run]] = {}
    for run in runs:
        by_repetition.setdefault(run.repetition, {})[run.contender] = run
    return [fault for together in by_repetition.values() for fault in _quality_faults(case, together)]


def _own_fault(case: Case, footage: tuple[int, int, int], run: Run) -> str | None:
    who = f"{case.name}: {run.contender}, repetition {run.repetition}"
    size = case.size(*footage[1:])
    if run.frames != footage[0]:
        return f"{who}: {run.frames} frames instead of {footage[0]}"
    if (run.width, run.height) != size:
        return f"{who}: {run.width}x{run.height} instead of {size[0]}x{size[1]}"
    if run.ssim < LOWEST_SSIM:
        return f"{who}: SSIM {run.ssim:.4f}, below {LOWEST_SSIM}: these are not the source's pictures"
    return None


def _quality_faults(case: Case, by_name: dict[str, Run]) -> list[str]:
    """Of the runs of one repetition."""
    ours, found = by_name["reelmill"], []
    if (ffmpeg := by_name.get("ffmpeg")) is not None:
        lowest, most = (ffmpeg.ssim, ffmpeg.bytes) if case.strict else _allowed(ffmpeg)
        if ours.ssim < lowest:
            found.append(f"{case.name}: SSIM {ours.ssim:.4f} against ffmpeg's {ffmpeg.ssim:.4f}")
        if ours.bytes > most:
            found.append(f"{case.name}: {ours.bytes} bytes against ffmpeg's {ffmpeg.bytes}")
    rivals = [run for name, run in by_name.items() if name in ("old way", "script")]
    worse = [rival for rival in rivals if quality_per_megabyte(ours) <= quality_per_megabyte(rival)]
    return found + [f"{case.name}: no better quality per byte than the {rival.contender}" for rival in worse]


def _allowed(ffmpeg: Run) -> tuple[float, float]:
    return ffmpeg.ssim - GOP_SSIM, ffmpeg.bytes * GOP_BYTES


def quality_per_megabyte(run: Run) -> float:
    """SSIM in decibels, -10 log10(1 - SSIM), per million bytes: plain SSIM would hardly look at quality."""
    return float(-10 * np.log10(max(1 - run.ssim, 1e-9)) / (run.bytes / 1e6))
