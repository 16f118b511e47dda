"""Checks that the outputs are comparable: frame count, size, SSIM and bytes."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import tifffile

from benchmarks.cases import Case
from benchmarks.footage import FootageShape
from benchmarks.record import RenderRun
from benchmarks.render.rivals import percentile_window
from benchmarks.ssim import Plane, ssim
from service.pipeline.planes import plane_view

SAMPLE_COUNT = 20
# Below this, the pictures are different ones or in another order.
MIN_SSIM = 0.85
# With the same encoder settings, Reelmill may lose this much SSIM.
GOP_SSIM_LOSS = 0.003
LUMA, CHROMA = (219 / 255, 16.0), (224 / 255, 128 - 128 * 224 / 255)


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """Facts of a video: all frames are decoded and counted, some are compared with their source."""

    frames: int
    width: int
    height: int
    ssim: float
    bytes: int
    sha256: str


NO_VIDEO = VideoFacts(0, 0, 0, 0.0, 0, "")


class VideoInspector:
    """Compares videos with the source frames at fixed positions, the same for every contender."""

    def __init__(self, frames: Sequence[Path]) -> None:
        positions = np.linspace(0, len(frames) - 1, min(SAMPLE_COUNT, len(frames))).round().astype(int)
        limits = percentile_window(frames) if frames[0].suffix == ".tif" else None
        self._sources = {int(position): _read_source(frames[position], limits) for position in positions}
        self._facts_by_digest: dict[str, VideoFacts] = {}

    def inspect(self, video: Path) -> VideoFacts:
        """Facts of a file, cached by digest; a file that is not a video has 0 frames."""
        if not video.exists():
            return NO_VIDEO
        digest = hashlib.sha256(video.read_bytes()).hexdigest()
        if digest not in self._facts_by_digest:
            try:
                self._facts_by_digest[digest] = self._decode(video, digest)
            except (av.FFmpegError, IndexError):
                self._facts_by_digest[digest] = NO_VIDEO
        return self._facts_by_digest[digest]

    def _decode(self, video: Path, digest: str) -> VideoFacts:
        values, count, size = [], 0, (0, 0)
        with av.open(video) as container:
            container.streams.video[0].thread_type = "AUTO"
            for count, frame in enumerate(container.decode(video=0), 1):
                size = (frame.width, frame.height)
                if (source := self._sources.get(count - 1)) is not None:
                    planes = [plane_view(plane).astype(np.float32) for plane in frame.planes]
                    values.append(ssim(planes, expected_planes(source, size)))
        mean = float(np.mean(values)) if values else 0.0
        return VideoFacts(count, *size, round(mean, 5), video.stat().st_size, digest)


def _read_source(path: Path, limits: tuple[float, float] | None = None) -> list[np.ndarray[Any, Any]]:
    """The JPEG's YCbCr planes, full range, 4:2:0; of a 16-bit TIFF, levels 0 to 255 within `limits`, not rounded."""
    if limits is not None:
        share = (tifffile.imread(path).astype(np.float32) - limits[0]) / (limits[1] - limits[0])
        neutral = np.full((share.shape[0] // 2, share.shape[1] // 2), 128, np.float32)
        return [share.clip(0, 1) * 255, neutral, neutral]
    with av.open(path) as container:
        frame = next(container.decode(video=0))
    if frame.format.name != "yuvj420p":
        frame = frame.reformat(format="yuvj420p")
    return [plane_view(plane).copy() for plane in frame.planes]


def expected_planes(source: Sequence[np.ndarray[Any, Any]], size: tuple[int, int]) -> list[Plane]:
    """The source planes scaled to (width, height) by area average, limited range, not rounded."""
    planes = []
    for number, plane in enumerate(source):
        wanted = (size[0] // 2, size[1] // 2) if number else size
        gain, offset = CHROMA if number else LUMA
        scaled = cv2.resize(plane.astype(np.float32), wanted, interpolation=cv2.INTER_AREA)
        planes.append((scaled * gain + offset).astype(np.float32))
    return planes


def find_faults(case: Case, shape: FootageShape, runs: Sequence[RenderRun]) -> list[str]:
    """Why the runs of a case are not comparable; empty if they are."""
    found = [fault for run in runs if (fault := _find_run_fault(case, shape, run))]
    if found:
        return found
    by_repetition: dict[int, dict[str, RenderRun]] = {}
    for run in runs:
        by_repetition.setdefault(run.repetition, {})[run.contender] = run
    return [fault for by_contender in by_repetition.values() for fault in _find_quality_faults(case, by_contender)]


def _find_run_fault(case: Case, shape: FootageShape, run: RenderRun) -> str | None:
    who = f"{case.name}: {run.contender}, repetition {run.repetition}"
    width, height = case.size(shape.width, shape.height)
    if run.frames != shape.frames:
        return f"{who}: {run.frames} frames instead of {shape.frames}"
    if (run.width, run.height) != (width, height):
        return f"{who}: {run.width}x{run.height} instead of {width}x{height}"
    if run.ssim < MIN_SSIM:
        return f"{who}: SSIM {run.ssim:.4f}, below {MIN_SSIM}: these are not the source's pictures"
    return None


def _find_quality_faults(case: Case, runs: dict[str, RenderRun]) -> list[str]:
    """Quality faults of the runs of one repetition."""
    ours, found = runs["reelmill"], []
    if (ffmpeg := runs.get("ffmpeg")) is not None:
        least_ssim = ffmpeg.ssim if case.strict else ffmpeg.ssim - GOP_SSIM_LOSS
        most_bytes = ffmpeg.bytes * case.most_bytes
        if ours.ssim < least_ssim:
            found.append(f"{case.name}: SSIM {ours.ssim:.4f} against ffmpeg's {ffmpeg.ssim:.4f}")
        if ours.bytes > most_bytes:
            found.append(f"{case.name}: {ours.bytes} bytes against ffmpeg's {ffmpeg.bytes}")
    rivals = [run for name, run in runs.items() if name in ("old way", "script") and math.isfinite(case.most_bytes)]
    worse = [rival for rival in rivals if quality_per_megabyte(ours) <= quality_per_megabyte(rival)]
    return found + [f"{case.name}: no better quality per byte than the {rival.contender}" for rival in worse]


def quality_per_megabyte(run: RenderRun) -> float:
    """SSIM in dB, -10 log10(1 - SSIM), per 10**6 bytes: with plain SSIM, quality would hardly count."""
    return float(-10 * np.log10(max(1 - run.ssim, 1e-9)) / (run.bytes / 1e6))
