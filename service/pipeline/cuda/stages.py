"""The device's part of a segment: its decode stage, its encoder, or the reason why there is none."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from service.pipeline.colour import ColourTags
from service.pipeline.cuda.batching import Batcher, FrameStream
from service.pipeline.cuda.device_frame import DeviceFrameStage
from service.pipeline.cuda.driver import CudaDriver
from service.pipeline.cuda.eligibility import CandidateSelector
from service.pipeline.cuda.encoder import DeviceEncoder
from service.pipeline.cuda.errors import CudaError, DeviceLost, EncoderLost
from service.pipeline.cuda.prefetch import DevicePrefetcher, fetch_frames
from service.pipeline.cuda.slot_device import SlotDevice
from service.pipeline.cuda.video_frames import VideoFrameSource
from service.pipeline.encode.encoder import SegmentEncoder
from service.pipeline.frame_context import FrameContext, Stage
from service.pipeline.frames import Fallback, FrameReader, SourceReader
from service.plan.render_plan import FrameRef, RenderOptions, SegmentPlan

NO_GPU_REASON = "this slot has no GPU"


class NoDeviceStage:
    """In the device's place: says of each planned frame why the CPU does it."""

    name = "decode"

    def __init__(self, reason: str) -> None:
        self._fallback = Fallback("decode", "no_device", reason)

    def __call__(self, context: FrameContext) -> None:
        context.fallback = self._fallback


@contextmanager
def device_stages(plan: SegmentPlan, reader: FrameReader, device: SlotDevice | None) -> Iterator[list[Stage]]:
    """What comes before the CPU's stages for image frames; nothing when the render is the CPU's."""
    with _open_stages(plan, device, lambda _: fetch_frames(plan.frames, reader)) as stages:
        yield stages


@contextmanager
def device_video_stages(
    plan: SegmentPlan, sources: SourceReader, colour: ColourTags, device: SlotDevice | None
) -> Iterator[list[Stage]]:
    """The same for pictures of source videos."""
    options = plan.options
    with _open_stages(
        plan, device, lambda driver: VideoFrameSource(driver, sources, options, colour).frames(plan.frames)
    ) as stages:
        yield stages


@contextmanager
def _open_stages(
    plan: SegmentPlan, device: SlotDevice | None, open_frames: Callable[[CudaDriver], FrameStream]
) -> Iterator[list[Stage]]:
    if plan.options.family.pixels == "cpu" or plan.options.form != "yuv420p":
        yield []
        return
    if device is None:
        yield [NoDeviceStage(NO_GPU_REASON)]
        return
    try:
        driver, budget = device.driver(), device.memory_budget()
    except DeviceLost:
        raise
    except CudaError as fault:
        yield [NoDeviceStage(fault.reason)]
        return
    stays = _keeps_pictures_on_device(plan.options)
    candidates = CandidateSelector(plan.options, device_counts_clipped=not stays)
    gatherer = Batcher(candidates, open_frames(driver), budget)
    with closing(DevicePrefetcher(driver, gatherer, download=not stays)) as ahead:
        yield [DeviceFrameStage(iter(ahead), plan.frames)]


def segment_encoder(options: RenderOptions, colour: ColourTags, device: SlotDevice | None) -> SegmentEncoder:
    """Raises EncoderLost when the render's encoder is one that this slot does not have."""
    if options.family.encoder == "cpu":
        return SegmentEncoder(options, colour)
    if device is None:
        raise EncoderLost(NO_GPU_REASON)
    try:
        return DeviceEncoder(options, colour, device.driver())
    except DeviceLost:
        raise
    except CudaError as fault:
        raise EncoderLost(fault.reason) from fault


def encoder_label(options: RenderOptions, device: SlotDevice | None) -> str | None:
    """The GPU encoder's name and what it ran on; None for the CPU's."""
    if options.family.encoder == "cpu" or device is None:
        return None
    facts = device.driver().facts()
    return f"nvenc {options.codec} ({', '.join(f'{name} {value}' for name, value in facts.items())})"


def count_fallbacks(
    prepare_frame: Callable[[FrameRef], FrameContext], counts: "Counter[tuple[str, str]]"
) -> Callable[[FrameRef], FrameContext]:
    """The same, and its fallbacks are counted by (stage, code)."""

    def prepared(ref: FrameRef) -> FrameContext:
        work = prepare_frame(ref)
        if work.fallback is not None:
            counts[work.fallback.stage, work.fallback.code] += 1
        return work

    return prepared


def _keeps_pictures_on_device(options: RenderOptions) -> bool:
    """Whether pictures go from the device's memory into its encoder: nothing on the CPU needs to see them."""
    return options.family.encoder == "nvenc" and not (options.bins or options.overlay or options.outputs)
