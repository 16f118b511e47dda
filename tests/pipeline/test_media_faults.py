"""What a library raises unexpectedly about one frame is a fault of that frame, with a name; other errors go on."""

import struct

import av
import pytest

from service.errors import Interruption
from service.pipeline.frame_context import FrameContext, MediaStage, Stopwatch, run_stages
from service.plan.render_plan import FrameRef
from service.store.objects.object_store import ObjectStoreError
from service.worker.slots.child import CommandCancelled

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


@pytest.mark.parametrize(
    "error", [ObjectStoreError("down"), CommandCancelled(), MemoryError(), KeyboardInterrupt()], ids=repr
)
def test_what_is_not_the_frames_fault_passes(error: BaseException) -> None:
    with pytest.raises(type(error)):
        run_stages(FrameRef(3, "a.jpg"), [Raising(error)], Stopwatch("decode"))
    assert isinstance(ObjectStoreError("x"), Interruption)


def test_an_error_of_another_stage_ends_the_segment_and_names_the_stage() -> None:
    with pytest.raises(ValueError, match="nonsense") as caught:
        run_stages(FrameRef(3, "a.jpg"), [DeviceStage()], Stopwatch("decode"))
    assert caught.value.__notes__ == ["during decode"]
