"""The device's part in a segment: its stage before the CPU's, its encoder instead of the CPU's, or why it has none."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from service.pipeline.colour import Colour
from service.pipeline.cuda.ahead import Ahead, fetched_ahead
from service.pipeline.cuda.candidate import Candidates
from service.pipeline.cuda.driver import CudaDriver
from service.pipeline.cuda.encode import DeviceEncoder
from service.pipeline.cuda.faults import CudaFault, DeviceLost, EncoderLost
from service.pipeline.cuda.gather import Frames, Gatherer
from service.pipeline.cuda.slot_device import SlotDevice
from service.pipeline.cuda.stage import FromDevice
from service.pipeline.cuda.video import VideoPictures
from service.pipeline.encode import SegmentEncoder
from service.pipeline.frames import Fallback, FrameReader, SourceReader
from service.pipeline.work import Stage, Work
from service.plan.render_plan import FrameRef, RenderOptions, SegmentPlan

NO_DEVICE = "this slot has no GPU"


class NoDevice:
    """In the device's place: says of each planned frame why the CPU does it."""

    name = "decode"

    def __init__(self, reason: str) -> None:
        self._fallback = Fallback("decode", "no_device", reason)

    def __call__(self, work: Work) -> None:
        work.fallback = self._fallback


@contextmanager
def device_stages(plan: SegmentPlan, reader: FrameReader, device: SlotDevice | None) -> Iterator[list[Stage]]:
    """What comes before the CPU's stages for image frames; nothing when the render is the CPU's."""
    with _stages(plan, device, lambda _: fetched_ahead(plan.frames, reader)) as stages:
        yield stages


@contextmanager
def device_video_stages(
    plan: SegmentPlan, sources: SourceReader, colour: Colour, device: SlotDevice | None
) -> Iterator[list[Stage]]:
    """The same for pictures of source videos."""
    options = plan.options
    with _stages(
        plan, device, lambda driver: VideoPictures(driver, sources, options, colour).of(plan.frames)
    ) as stages:
        yield stages


@contextmanager
def _stages(
    plan: SegmentPlan, device: SlotDevice | None, frames: Callable[[CudaDriver], Frames]
) -> Iterator[list[Stage]]:
    if plan.options.family.pixels == "cpu" or plan.options.form != "yuv420p":
        yield []
        return
    if device is None:
        yield [NoDevice(NO_DEVICE)]
        return
    try:
        driver, budget = device.driver(), device.budget()
    except DeviceLost:
        raise
    except CudaFault as fault:
        yield [NoDevice(fault.reason)]
        return
    stays = _stays(plan.options)
    candidates = Candidates(plan.options, counts_itself=not stays)
    gatherer = Gatherer(candidates, frames(driver), budget)
    with closing(Ahead(driver, gatherer, download=not stays)) as ahead:
        yield [FromDevice(iter(ahead), plan.frames)]


def segment_encoder(options: RenderOptions, colour: Colour, device: SlotDevice | None) -> SegmentEncoder:
    """Raises EncoderLost when the render's encoder is one that this slot does not have."""
    if options.family.encoder == "cpu":
        return SegmentEncoder(options, colour)
    if device is None:
        raise EncoderLost(NO_DEVICE)
    try:
        return DeviceEncoder(options, colour, device.driver())
    except DeviceLost:
        raise
    except CudaFault as fault:
        raise EncoderLost(fault.reason) from fault


def made_by(options: RenderOptions, device: SlotDevice | None) -> str | None:
    """The GPU encoder's name and what it ran on; None for the CPU's."""
    if options.family.encoder == "cpu" or device is None:
        return None
    facts = device.driver().facts()
    return f"nvenc {options.codec} ({', '.join(f'{name} {value}' for name, value in facts.items())})"


def counted(one: Callable[[FrameRef], Work], counts: "Counter[tuple[str, str]]") -> Callable[[FrameRef], Work]:
    """The same, and its fallbacks are counted by (stage, code)."""

    def prepared(ref: FrameRef) -> Work:
        work = one(ref)
        if work.fallback is not None:
            counts[work.fallback.stage, work.fallback.code] += 1
        return work

    return prepared


def _stays(options: RenderOptions) -> bool:
    """Whether pictures go from the device's memory into its encoder: nothing on the CPU needs to see them."""
    return options.family.encoder == "nvenc" and not (options.bins or options.overlay or options.outputs)
