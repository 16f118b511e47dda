"""CPU stages, single-threaded in each process. A task processes the given number of frames; with 0 it only prepares
its inputs.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.devices.cases import BIN_FRAMES, CAMERA_TONE, PARITY_QUALITY, QUALITY, Case, Operation
from benchmarks.devices.parity import Luma
from benchmarks.devices.tasks.workbench import CACHED_PICTURES, Workbench
from service.pipeline import planes
from service.pipeline.colour import DEFAULT_VIDEO_COLOUR, IMAGE_COLOUR
from service.pipeline.composites.bins import Binning, member_options
from service.pipeline.encode.encoder import SegmentEncoder
from service.pipeline.frame_context import FrameContext
from service.pipeline.picture import Picture
from service.pipeline.transform.frame_transform import FrameTransform
from service.plan.geometry import Bins
from service.plan.render_plan import FrameRef, RenderOptions

# More than a CPU cache holds.
COPY_BYTES = 64 << 20
# Called with a frame number; the output is discarded.
MakeFrame = Callable[[int], object]


def copy_blocks(bench: Workbench, blocks: int) -> None:
    if "copy" not in bench.cache:
        bench.cache["copy"] = (np.ones(COPY_BYTES, np.uint8), np.ones(COPY_BYTES, np.uint8))
    source, target = bench.cache["copy"]
    for _ in range(blocks):
        np.copyto(target, source)


def decode_jpegs(bench: Workbench, case: Case, frames: int) -> None:
    for data in bench.jpegs(case.source, frames):
        bench.decoder.decode(data)


def decode_and_transform(bench: Workbench, case: Case, frames: int) -> None:
    key = ("chain", case)
    transform = bench.cache.setdefault(key, FrameTransform(case.options(), IMAGE_COLOUR))
    for data in bench.jpegs(case.source, frames):
        transform.apply(bench.decoder.decode(data))


def transformed_lumas(bench: Workbench, case: Case, count: int) -> list[Luma]:
    """Luma of the transformed frames."""
    return [planes.plane_views(frame)[0].copy() for frame in bench.output_frames(case, count)]


def run_transform(bench: Workbench, operation: Operation, frames: int) -> None:
    key = ("transform", operation)
    if key not in bench.cache:
        bench.cache[key] = _frame_maker(bench, operation)
    make: MakeFrame = bench.cache[key]
    for number in range(frames):
        make(number)


def encoded_size(bench: Workbench, case: Case, frames: int) -> int:
    """Bytes of an encoded segment."""
    return len(encode_segment(bench, case, frames, QUALITY))


def encode_segment(bench: Workbench, case: Case, frames: int, quality: int = PARITY_QUALITY) -> bytes:
    key = ("shown", case)
    shown = bench.cache.get(key) or bench.cache.setdefault(key, bench.output_frames(case))
    encoder = SegmentEncoder(case.options(quality=quality), IMAGE_COLOUR)
    for number in range(frames):
        encoder.add(shown[number % CACHED_PICTURES])
    return encoder.finish()


def _frame_maker(bench: Workbench, operation: Operation) -> MakeFrame:
    case, options = operation.case, operation.case.options()
    match operation.kernel:
        case "nv12_scale":
            whole = Case(case.source, case.source)
            sources = [Picture(frame, "made") for frame in bench.output_frames(whole)]
            return _single_frame_maker(FrameTransform(options, DEFAULT_VIDEO_COLOUR), sources)
        case "tone":
            return _single_frame_maker(
                FrameTransform(replace(options, tone=CAMERA_TONE), IMAGE_COLOUR), bench.deep_pictures(case.source)
            )
        case "mean" | "max":
            width, height = case.size if operation.kernel == "mean" else case.source  # see service.plan.geometry
            bins = Bins(operation.kernel, BIN_FRAMES, width, height)
            return _bin_maker(replace(options, bins=bins), bench, case)
        case _:
            return _single_frame_maker(FrameTransform(options, IMAGE_COLOUR), bench.decoded_pictures(case.source))


def _single_frame_maker(transform: FrameTransform, sources: list[Picture]) -> MakeFrame:
    return lambda number: transform.apply(sources[number % len(sources)])[0]


def _bin_maker(options: RenderOptions, bench: Workbench, case: Case) -> MakeFrame:
    """A maker that returns the picture of a bin for its first frame, None for the others."""
    sources, transform = bench.decoded_pictures(case.source), FrameTransform(member_options(options), IMAGE_COLOUR)

    def member(ref: FrameRef) -> FrameContext:
        context = FrameContext(ref)
        context.frame, context.reason = transform.apply(sources[ref.index % len(sources)])
        return context

    assert options.bins is not None
    binning = Binning(options, options.bins, IMAGE_COLOUR, member)

    def make(number: int) -> object:
        if number % BIN_FRAMES:
            return None
        return binning.render_bin([FrameRef(number + place, "") for place in range(BIN_FRAMES)]).frame

    return make
