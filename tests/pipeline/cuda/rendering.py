"""Renders a segment with a double of a GPU."""

from typing import Any

from service.pipeline.cuda.slot_device import DeviceConfig, SlotDevice
from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import SegmentResult
from service.pipeline.segment import render_segment
from service.plan.render_plan import Backend, FrameRef, SegmentPlan
from tests.pipeline.rendering import MemoryObjects, options
from tests.support.cuda_doubles.driver import DriverDouble

CUDA = Backend("cuda", "cpu")
NVENC = Backend("cuda", "nvenc")


class PreparedSlotDevice(SlotDevice):
    """A slot with this driver."""

    def __init__(self, driver: DriverDouble) -> None:
        super().__init__(DeviceConfig("cuda:0"))
        self._driver = driver


def render_on(double: DriverDouble | None, objects: list[bytes | None], lead: int = 0, **changes: Any) -> SegmentResult:
    """As `tests.pipeline.rendering.render`, on a device; None: the slot has no device."""
    store = {f"{index}.jpg": data for index, data in enumerate(objects) if data is not None}
    refs = tuple(FrameRef(i, None if data is None else f"{i}.jpg") for i, data in enumerate(objects))
    settings = options(**({"family": CUDA} | changes))
    plan = SegmentPlan(0, 0, "bucket", settings, refs[lead:], refs[:lead])
    reader = MemoryObjects(store)
    return render_segment(plan, reader, reader, FrameWatch(), PreparedSlotDevice(double) if double else None)
