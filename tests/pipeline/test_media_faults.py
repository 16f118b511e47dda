"""What a library raises unexpectedly about one frame is a fault of that frame, with a name; other errors go on."""

import io
import struct
from contextlib import closing
from typing import BinaryIO

import av
import numpy as np
import pytest

from service.errors import Interruption
from service.pipeline.frame_context import FrameContext, MediaStage, Stopwatch, run_stages
from service.pipeline.probe import probe_video
from service.pipeline.stages import VideoDecodeStage
from service.plan.render_plan import FrameRef
from service.store.objects.object_store import ObjectStoreError
from service.worker.slots.child import CommandCancelled
from tests.support.data import media

FAULTS = [
    ValueError("bad"),
    KeyError("x"),
    struct.error("short"),
    OverflowError("big"),
    RuntimeError("lost"),
    av.error.InvalidDataError(1, "no"),
    av.error.EOFError(1, "end"),
    NotImplementedError(),
]


class Raising(MediaStage):
    name, verb = "decode", "decoded"

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __call__(self, context: FrameContext) -> None:
        raise self._error


class DeviceStage:
    """A stage that is not about one frame's bytes, such as a GPU's."""

    name = "decode"

    def __call__(self, context: FrameContext) -> None:
        raise ValueError("the device answered nonsense")


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_a_frame_is_corrupt_and_the_log_has_the_traceback(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    context = run_stages(FrameRef(3, "a.jpg"), [Raising(error)], Stopwatch("decode"))
    assert context.fault == "corrupt"
    assert context.reason is not None and context.reason.startswith(f"it cannot be decoded ({type(error).__name__}:")
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]
    caplog.clear()


@pytest.mark.parametrize("error", [ObjectStoreError("down"), CommandCancelled(), KeyboardInterrupt()], ids=repr)
def test_what_is_not_the_frames_fault_passes(error: BaseException) -> None:
    with pytest.raises(type(error)):
        run_stages(FrameRef(3, "a.jpg"), [Raising(error)], Stopwatch("decode"))
    assert isinstance(ObjectStoreError("x"), Interruption)


def test_a_frame_that_takes_all_memory_is_corrupt_for_this_slot() -> None:
    context = run_stages(FrameRef(3, "a.jpg"), [Raising(MemoryError())], Stopwatch("decode"))
    assert context.fault == "corrupt" and "more memory than a slot may use" in (context.reason or "")
    assert context.transient, "a slot with more memory may show it"


class Away(Exception):
    """An error of a store, of a class that the pipeline does not know."""


class AwayFile(io.BytesIO):
    def __init__(self, data: bytes, reads: int) -> None:
        super().__init__(data)
        self._reads = reads

    def read(self, size: int | None = -1) -> bytes:
        self._reads -= 1
        if self._reads < 0:
            raise Away
        return super().read(size)


@pytest.mark.parametrize("reads", [None, 0, 2])
def test_a_source_that_cannot_be_read_is_no_damaged_video(reads: int | None) -> None:
    """It cannot be opened, or reading fails at once or later."""

    class Store:
        def open(self, ref: FrameRef) -> BinaryIO:
            if reads is None:
                raise Away
            return AwayFile(VIDEO, reads)

    with closing(VideoDecodeStage(Store(), 10**8)) as stage, pytest.raises(Away):
        run_stages(FrameRef(0, "v.mp4", pts=pts_of(VIDEO)[-1]), [stage], Stopwatch("decode"))


def pts_of(data: bytes) -> tuple[int, ...]:
    return probe_video(io.BytesIO(data)).pts


VIDEO = media.video(np.random.default_rng(n).integers(0, 255, (96, 128, 3), np.uint8) for n in range(40))


def test_an_error_of_another_stage_ends_the_segment_and_names_the_stage() -> None:
    with pytest.raises(ValueError, match="nonsense") as caught:
        run_stages(FrameRef(3, "a.jpg"), [DeviceStage()], Stopwatch("decode"))
    assert caught.value.__notes__ == ["during decode"]
