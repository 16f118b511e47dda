"""Decoding is refused before it is begun if its memory would not fit, and only then: estimates against real peaks."""

import re
from typing import NamedTuple

import pytest

from service.pipeline.frame_context import FrameContext, Stopwatch, run_stages
from service.pipeline.frames import FrameTooLarge
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.pipeline.stages import ImageDecodeStage
from service.pipeline.tone.window import Window
from service.plan.render_plan import FrameRef
from tests.pipeline.images.large_images import KINDS
from tests.support.processes.peak_memory import in_new_process, memory_left, peak_bytes

SMALL, LARGE = (96, 64), (1900, 1500)
OPTIONS = DecodeOptions(10**8, background="#102030", window=Window(0, 1))
MIB = 1 << 20
# Tables, rows, and what the allocator rounds up: of large pictures it is nothing.
SLACK = 24 * MIB
REFUSAL = re.compile(
    r"decoding it takes about (\d+) MiB, and the slot has (\d+) MiB left: raise REELMILL_SLOT_MEMORY_MB"
)


class Decoding(NamedTuple):
    """`needed` is what a slot without memory says, in bytes; `peak` what is measured where there is enough."""

    needed: int
    peak: int


def measure(images: tuple[bytes, bytes]) -> Decoding:
    small, large = images
    decoder = ImageDecoder(OPTIONS)
    decoder.decode(small)
    peak = peak_bytes(decoder.decode, large)
    needed = needed_for(large)
    with memory_left(needed + 2 * MIB):
        ImageDecoder(OPTIONS).decode(large)
    return Decoding(needed, peak)


def needed_for(image: bytes) -> int:
    with memory_left(MIB):
        try:
            ImageDecoder(OPTIONS).decode(image)
        except FrameTooLarge as error:
            refusal = REFUSAL.fullmatch(error.reason)
            assert refusal and int(refusal[2]) <= 1, error.reason
            return int(refusal[1]) * MIB
    raise AssertionError("it was decoded")


@pytest.mark.parametrize("kind", KINDS)
def test_estimates_are_never_below_and_at_most_twice_what_decoding_takes(kind: str) -> None:
    make = KINDS[kind]
    decoding = in_new_process(measure, (make(SMALL), make(LARGE)))
    assert decoding.peak <= decoding.needed <= 2 * decoding.peak + SLACK, decoding


class Given:
    """A stage that has fetched these bytes."""

    name = "fetch"

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __call__(self, context: FrameContext) -> None:
        context.data = self._data


def run_in_little_memory(image: bytes) -> tuple[str | None, str | None, bool]:
    with memory_left(48 * MIB):
        context = run_stages(
            FrameRef(3, "a.png"), [Given(image), ImageDecodeStage(OPTIONS)], Stopwatch("fetch", "decode")
        )
    return context.fault, context.reason, context.transient


def test_a_frame_that_does_not_fit_is_corrupt_for_this_slot() -> None:
    fault, reason, transient = in_new_process(run_in_little_memory, KINDS["PNG 16-bit RGB"](LARGE))
    assert fault == "corrupt" and REFUSAL.fullmatch(reason or ""), reason
    assert transient, "a slot with more memory may show it"


def decode_twice(image: bytes) -> None:
    """A decoder keeps the buffers of the picture before."""
    decoder = ImageDecoder(OPTIONS)
    with memory_left(needed_for(image) + 6 * MIB):
        for _ in range(3):
            assert decoder.decode(image).frame.width == LARGE[0]


def test_what_a_decoder_keeps_is_no_reason_to_refuse_the_next_frame() -> None:
    in_new_process(decode_twice, KINDS["JPEG 4:4:4, progressive"](LARGE))
