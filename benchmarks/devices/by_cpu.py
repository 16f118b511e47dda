"""The CPU's stages, one thread of one process each. Every task makes so many frames; with none it makes its inputs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from av import VideoFrame

from benchmarks.devices.bench import KEPT, Bench
from benchmarks.devices.gate import Luma
from benchmarks.devices.operations import BIN, TONE, Operation
from benchmarks.devices.request import PLAIN_QUALITY, QUALITY, Case
from service.pipeline import planes
from service.pipeline.bins import Binning, member_options
from service.pipeline.colour import IMAGE_COLOUR, VIDEO_COLOUR
from service.pipeline.encode import SegmentEncoder
from service.pipeline.picture import Picture
from service.pipeline.transform import Transform
from service.pipeline.work import Work
from service.plan.geometry import Bins
from service.plan.render_plan import FrameRef, RenderOptions

COPIED = 64 << 20
"""Bytes of a block: more than a cache holds."""
Make = Callable[[int], VideoFrame | None]


def copy(bench: Bench, blocks: int) -> None:
    if "copy" not in bench.kept:
        bench.kept["copy"] = (np.ones(COPIED, np.uint8), np.ones(COPIED, np.uint8))
    source, target = bench.kept["copy"]
    for _ in range(blocks):
        np.copyto(target, source)


def decode(bench: Bench, case: Case, frames: int) -> None:
    for data in bench.jpegs(case.source, frames):
        bench.decoder.decode(data)


def chain(bench: Bench, case: Case, frames: int) -> None:
    """Decode and transform."""
    key = ("chain", case)
    transform = bench.kept.setdefault(key, Transform(case.options(), IMAGE_COLOUR))
    for data in bench.jpegs(case.source, frames):
        transform.apply(bench.decoder.decode(data))


def chained(bench: Bench, case: Case, count: int) -> list[Luma]:
    """The luma that they come to."""
    return [planes.views(frame)[0].copy() for frame in bench.shown(case, count)]


def transform(bench: Bench, operation: Operation, frames: int) -> None:
    key = ("transform", operation)
    if key not in bench.kept:
        bench.kept[key] = _maker(bench, operation)
    make: Make = bench.kept[key]
    for number in range(frames):
        make(number)


def encode(bench: Bench, case: Case, frames: int) -> int:
    """Bytes of a segment."""
    return len(encoded(bench, case, frames, QUALITY))


def encoded(bench: Bench, case: Case, frames: int, quality: int = PLAIN_QUALITY) -> bytes:
    key = ("shown", case)
    shown = bench.kept.get(key) or bench.kept.setdefault(key, bench.shown(case))
    encoder = SegmentEncoder(case.options(quality=quality), IMAGE_COLOUR)
    for number in range(frames):
        encoder.add(shown[number % KEPT])
    return encoder.finish()


def _maker(bench: Bench, operation: Operation) -> Make:
    case, options = operation.case, operation.case.options()
    match operation.kernel:
        case "nv12_scale":
            whole = Case(case.source, case.source)
            sources = [Picture(frame, "made") for frame in bench.shown(whole)]
            return _each(Transform(options, VIDEO_COLOUR), sources)
        case "tone":
            return _each(Transform(replace(options, tone=TONE), IMAGE_COLOUR), bench.deep(case.source))
        case "mean" | "max":
            return _binned(replace(options, bins=Bins(operation.kernel, BIN, *_laid(operation))), bench, case)
        case _:
            return _each(Transform(options, IMAGE_COLOUR), bench.decoded(case.source))


def _each(transform: Transform, sources: list[Picture]) -> Make:
    return lambda number: transform.apply(sources[number % len(sources)])[0]


def _laid(operation: Operation) -> tuple[int, int]:
    """The size at which frames of a bin are laid over one another: see `service.plan.geometry`."""
    return operation.case.size if operation.kernel == "mean" else operation.case.source


def _binned(options: RenderOptions, bench: Bench, case: Case) -> Make:
    """Every fourth frame makes the picture of a whole bin."""
    sources, fit = bench.decoded(case.source), Transform(member_options(options), IMAGE_COLOUR)

    def member(ref: FrameRef) -> Work:
        work = Work(ref)
        work.frame, work.reason = fit.apply(sources[ref.index % len(sources)])
        return work

    assert options.bins is not None
    binning: Any = Binning(options, options.bins, IMAGE_COLOUR, member)

    def make(number: int) -> VideoFrame | None:
        if number % BIN:
            return None
        frame: VideoFrame = binning.prepare([FrameRef(number + place, "") for place in range(BIN)]).frame
        return frame

    return make
