"""Each error of the GPU stack has the documented consequence: a fallback with a reason, or one of two exceptions."""

import pytest

from service.pipeline.cuda.errors import CudaCallFailed, CudaOutOfMemory, DeviceLost, EncoderLost
from service.pipeline.cuda.slot_device import DeviceConfig, SlotDevice
from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import FrameMissing, RenderFailed
from service.pipeline.segment import render_segment
from service.plan.render_plan import FrameRef, SegmentPlan
from tests.pipeline.cuda.rendering import CUDA, NVENC, PreparedSlotDevice, render_on
from tests.pipeline.rendering import MemoryObjects, numbered_jpegs, options, read_numbers, render
from tests.support.cuda_doubles.driver import DriverDouble, Faults
from tests.support.data import media


def test_one_bad_image_in_a_batch_costs_no_other() -> None:
    double = DriverDouble(faults=Faults(undecodable_images=frozenset({3})))
    result = render_on(double, numbered_jpegs(8))
    assert result.data == render(numbered_jpegs(8)).data
    assert [report.decoder for report in result.reports].count("ffmpeg-mjpeg") == 1
    assert result.reports[3].fallback == "decode: the double refuses this one"
    assert result.fallbacks == {("decode", "not_decoded"): 1}


def test_an_image_that_comes_back_in_another_size_is_not_shown() -> None:
    double = DriverDouble(faults=Faults(resized_images=frozenset({0, 5})))
    result = render_on(double, numbered_jpegs(8))
    assert result.data == render(numbered_jpegs(8)).data
    assert result.fallbacks == {("decode", "not_decoded"): 2}


def test_a_truncated_frame_follows_its_policy_as_by_the_cpu() -> None:
    frames = numbered_jpegs(6)
    assert frames[2] is not None
    frames[2] = frames[2][: len(frames[2]) // 2]
    frames[4] = b"no picture at all"
    result, cpu = render_on(DriverDouble(), frames), render(frames)
    assert result.data == cpu.data
    assert [report.outcome for report in result.reports] == [report.outcome for report in cpu.reports]
    assert [report.reason for report in result.reports] == [report.reason for report in cpu.reports]


def test_holes_and_lost_objects_follow_their_policies() -> None:
    frames = numbered_jpegs(6)
    frames[0] = None
    result, cpu = render_on(DriverDouble(), frames, missing="hold", lead=0), render(frames, missing="hold")
    assert result.data == cpu.data
    assert [report.outcome for report in result.reports] == ["black"] + ["ok"] * 5


def test_a_lead_frame_is_fetched_by_the_cpu_when_the_first_is_missing() -> None:
    frames = numbered_jpegs(5)
    frames[1] = None
    result, cpu = (render_on(DriverDouble(), frames, lead=1, missing="hold"), render(frames, lead=1, missing="hold"))
    assert result.data == cpu.data
    assert result.reports[0].outcome == "held"


def test_a_policy_of_fail_still_fails() -> None:
    with pytest.raises(RenderFailed):
        render_on(DriverDouble(), [media.jpeg(media.numbered_picture(1, 200, 50))], mismatch="fail")
    with pytest.raises(RenderFailed):
        render_on(DriverDouble(), [*numbered_jpegs(2), b"junk"], corrupt="fail")


@pytest.mark.parametrize("most", [1, 3, 8])
def test_out_of_memory_halves_the_batch(most: int) -> None:
    double = DriverDouble(faults=Faults(max_images=most))
    result = render_on(double, numbered_jpegs(40))
    assert result.data == render(numbered_jpegs(40)).data
    assert max(double.batch_sizes) <= most
    assert result.fallbacks == {}


def test_what_does_not_fit_alone_is_the_cpu_s() -> None:
    result = render_on(DriverDouble(faults=Faults(max_images=0)), numbered_jpegs(5))
    assert result.data == render(numbered_jpegs(5)).data
    assert result.fallbacks == {("transform", "out_of_memory"): 5}


def test_a_failed_batch_is_the_cpu_s_and_the_next_is_the_device_s_again() -> None:
    double = DriverDouble(faults=Faults(transform_errors={0: CudaCallFailed("a kernel did not start")}))
    result = render_on(double, numbered_jpegs(50))
    assert result.data == render(numbered_jpegs(50)).data
    failed = sum(report.fallback is not None for report in result.reports)
    assert 0 < failed < 50, "no fallback is permanent"
    assert result.fallbacks == {("decode", "device_failed"): failed}


def test_a_failed_download_is_the_cpu_s() -> None:
    double = DriverDouble(faults=Faults(download_errors={0: CudaCallFailed("the copy failed")}))
    result = render_on(double, numbered_jpegs(50))
    assert result.data == render(numbered_jpegs(50)).data
    assert 0 < result.fallbacks["decode", "device_failed"] < 50


@pytest.mark.parametrize("fault", ["transform_errors", "download_errors"])
def test_a_sticky_error_is_told_to_the_slot(fault: str) -> None:
    double = DriverDouble(faults=Faults(**{fault: {0: DeviceLost("an illegal memory access")}}))
    with pytest.raises(DeviceLost, match="illegal"):
        render_on(double, numbered_jpegs(8))


def test_a_slot_without_a_device_renders_by_the_cpu_and_says_so() -> None:
    result = render_on(None, numbered_jpegs(5))
    assert result.data == render(numbered_jpegs(5)).data
    assert result.fallbacks == {("decode", "no_device"): 5}
    assert result.reports[0].fallback == "decode: this slot has no GPU"


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("tests.support.cuda_doubles.not_importable", "RuntimeError: libnvidia-encode.so.1"),
        ("tests.support.cuda_doubles.none_here", "no CUDA device"),
        ("service.pipeline.cuda.torch.driver", "cuda:99"),
    ],
)
def test_a_stack_that_cannot_be_imported_is_a_reason(module: str, said: str) -> None:
    """The last one is the real driver with a device that no machine has."""
    plan = SegmentPlan(0, 0, "b", options(family=CUDA), tuple(FrameRef(i, f"{i}") for i in range(3)))
    store = MemoryObjects({str(i): data for i, data in enumerate(numbered_jpegs(3)) if data})
    device = SlotDevice(DeviceConfig("cuda:99", driver_module=module))
    result = render_segment(plan, store, store, FrameWatch(), device)
    assert result.data == render(numbered_jpegs(3)).data
    assert said in (result.reports[0].fallback or "")
    assert "TROUBLESHOOTING" not in (result.reports[0].fallback or ""), "one line is enough"


def test_memory_that_cannot_be_read_is_no_device() -> None:
    result = render_on(DriverDouble(faults=Faults(memory_error=CudaCallFailed("no answer"))), numbered_jpegs(3))
    assert result.fallbacks == {("decode", "no_device"): 3}


def test_no_nvenc_means_another_plan() -> None:
    with pytest.raises(EncoderLost, match="no NVENC"):
        render_on(DriverDouble(faults=Faults(has_nvenc=False)), numbered_jpegs(3), family=NVENC)
    with pytest.raises(EncoderLost, match="this slot has no GPU"):
        render_on(None, numbered_jpegs(3), family=NVENC)


@pytest.mark.parametrize("fault", [CudaCallFailed("it stopped"), CudaOutOfMemory("full")])
def test_an_encoder_that_stops_midway_means_another_plan(fault: Exception) -> None:
    double = DriverDouble(faults=Faults(encode_errors={4: fault}))  # type: ignore[dict-item]
    with pytest.raises(EncoderLost):
        render_on(double, numbered_jpegs(8), family=NVENC)
    assert double.open_sessions == 0, "the session is given back"


def test_what_the_store_raises_comes_where_its_frame_would() -> None:
    class Away(MemoryObjects):
        def read(self, ref: FrameRef) -> bytes:
            if ref.index == 20:
                raise ConnectionError("the store is away")
            return super().read(ref)

    done: list[int] = []
    store = Away({f"{i}": data for i, data in enumerate(numbered_jpegs(30)) if data})
    plan = SegmentPlan(0, 0, "b", options(family=CUDA), tuple(FrameRef(i, f"{i}") for i in range(30)))
    with pytest.raises(ConnectionError):
        render_segment(plan, store, store, FrameWatch(done.append), PreparedSlotDevice(DriverDouble()))
    assert done[-1] == 20


def test_an_object_that_is_gone_is_missing() -> None:
    class Gone(MemoryObjects):
        def read(self, ref: FrameRef) -> bytes:
            if ref.index == 1:
                raise FrameMissing
            return super().read(ref)

    store = Gone({f"{i}": data for i, data in enumerate(numbered_jpegs(3)) if data})
    plan = SegmentPlan(0, 0, "b", options(family=CUDA), tuple(FrameRef(i, f"{i}") for i in range(3)))
    result = render_segment(plan, store, store, FrameWatch(), PreparedSlotDevice(DriverDouble()))
    assert read_numbers(result.data) == [0, 2]
    assert [report.outcome for report in result.reports] == ["ok", "skipped", "ok"]
