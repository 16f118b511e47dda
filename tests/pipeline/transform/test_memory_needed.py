"""What a transform says that it needs for a picture is never below, and at most twice, what it takes."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from av import VideoFrame

from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.frame_context import FrameContext, Stopwatch, run_stages
from service.pipeline.picture import Picture
from service.pipeline.stages import TransformStage
from service.pipeline.transform.frame_transform import FrameTransform
from service.plan.geometry import Crop
from service.plan.render_plan import FrameRef, RenderOptions
from service.plan.tone import Tone
from tests.support.processes.peak_memory import in_new_process, memory_left, peak_bytes

SIZE = (2400, 2000)
OPTIONS = RenderOptions("h264", 70, Fraction(1), 640, 480, mismatch="scale")
TONED = replace(OPTIONS, tone=Tone(100, 60_000))
CROPPED = replace(OPTIONS, crop=Crop(3, 3, SIZE[0] - 7, SIZE[1] - 7, *SIZE))
# The picture of the output, swscale's tables, and what the allocator rounds up.
SLACK = 16 << 20
Case = tuple[str, RenderOptions]


def picture(pixel_format: str, size: tuple[int, int]) -> Picture:
    frame = VideoFrame(*size, pixel_format)
    for plane in frame.planes:
        np.frombuffer(memoryview(plane), np.uint8)[:] = 100
    return Picture(frame, "test")


def measure(case: Case) -> tuple[int, int]:
    pixel_format, options = case
    transform = FrameTransform(options, IMAGE_COLOUR)
    transform.apply(picture(pixel_format, (96, 80)))
    large = picture(pixel_format, SIZE)
    return transform.memory_needed(large), peak_bytes(transform.apply, large)


@pytest.mark.parametrize(
    ("pixel_format", "options"),
    [
        ("yuvj420p", CROPPED),
        ("rgb48le", CROPPED),
        ("rgb48le", TONED),
        ("rgb48le", replace(TONED, width=SIZE[0], height=SIZE[1])),
        ("gray16le", TONED),
    ],
)
def test_what_is_needed_is_what_is_taken(pixel_format: str, options: RenderOptions) -> None:
    needed, peak = in_new_process(measure, (pixel_format, options))
    assert peak - SLACK <= needed <= 2 * peak, (needed, peak)


class Decoded:
    """A stage that has decoded this picture."""

    name = "decode"

    def __init__(self, found: Picture) -> None:
        self._found = found

    def __call__(self, context: FrameContext) -> None:
        context.set_picture(self._found)


def transform_in_little_memory(case: Case) -> tuple[str | None, str, bool]:
    stages = [Decoded(picture(case[0], SIZE)), TransformStage(FrameTransform(case[1], IMAGE_COLOUR))]
    with memory_left(16 << 20):
        context = run_stages(FrameRef(3, "a.png"), stages, Stopwatch("decode", "transform"))
    return context.fault, context.reason or "", context.transient


def test_a_picture_that_does_not_fit_while_it_is_converted_is_corrupt_for_this_slot() -> None:
    fault, reason, transient = in_new_process(transform_in_little_memory, ("rgb48le", TONED))
    assert (fault, transient) == ("corrupt", True)
    assert "converting it takes about 69 MiB" in reason and reason.endswith("raise REELMILL_SLOT_MEMORY_MB"), reason
