"""The stages and the encoder of a segment that run on the device, or the reason why there are none."""

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
from service.plan.render_plan import RenderOptions, SegmentPlan

NO_GPU_REASON = "this slot has no GPU"


class NoDeviceStage:
    """Stands in for a missing device: records the reason for the CPU fallback on every frame."""

    name = "decode"

    def __init__(self, reason: str) -> None:
        self._fallback = Fallback("decode", "no_device", reason)

    def __call__(self, context: FrameContext) -> None:
        context.fallback = self._fallback


@contextmanager
def device_stages(plan: SegmentPlan, reader: FrameReader, device: SlotDevice | None) -> Iterator[list[Stage]]:
    """The stages before the CPU stages for image frames; empty for a render that is planned on the CPU."""
    with _open_stages(plan, device, lambda _: fetch_frames(plan.frames, reader)) as stages:
        yield stages


@contextmanager
def device_video_stages(
    plan: SegmentPlan, sources: SourceReader, colour: ColourTags, device: SlotDevice | None
) -> Iterator[list[Stage]]:
    """As `device_stages`, for frames of source videos."""
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
    except CudaError as error:
        yield [NoDeviceStage(error.reason)]
        return
    options = plan.options
    # With NVENC, pictures stay on the device unless the CPU has to see them.
    download = options.family.encoder != "nvenc" or bool(options.bins or options.overlay or options.outputs)
    selector = CandidateSelector(options, device_counts_clipped=download)
    batcher = Batcher(selector, open_frames(driver), budget)
    with closing(DevicePrefetcher(driver, batcher, download)) as prefetcher:
        yield [DeviceFrameStage(iter(prefetcher), plan.frames)]


def segment_encoder(options: RenderOptions, colour: ColourTags, device: SlotDevice | None) -> SegmentEncoder:
    """The encoder that the render is planned with. Raises EncoderLost if this slot does not have it."""
    if options.family.encoder == "cpu":
        return SegmentEncoder(options, colour)
    if device is None:
        raise EncoderLost(NO_GPU_REASON)
    try:
        return DeviceEncoder(options, colour, device.driver())
    except DeviceLost:
        raise
    except CudaError as error:
        raise EncoderLost(error.reason) from error


def encoder_label(options: RenderOptions, device: SlotDevice | None) -> str | None:
    """The name of the GPU encoder and its environment for the receipt; None for an encoder on the CPU."""
    if options.family.encoder == "cpu" or device is None:
        return None
    facts = device.driver().facts()
    return f"nvenc {options.codec} ({', '.join(f'{name} {value}' for name, value in facts.items())})"
