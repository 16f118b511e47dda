"""The real driver from end to end on the CPU.

Torch without CUDA has no streams, events or pinned memory, so those do nothing here. Pillow decodes instead of
torchvision, and the kernels' references run. Everything else is as on a GPU.
"""

import io
import sys
from contextlib import nullcontext
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from service.pipeline.cuda.driver import DeviceMemory, load_driver
from service.pipeline.cuda.errors import CudaCallFailed, CudaOutOfMemory, CudaUnavailable, CudaUnsupported, DeviceLost
from service.pipeline.cuda.slot_device import DeviceConfig, SlotDevice
from service.pipeline.cuda.torch import driver as real
from service.pipeline.cuda.torch.memory import PinnedDoubleBuffer
from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import SegmentResult
from service.pipeline.segment import render_segment
from service.plan.geometry import Crop
from service.plan.render_plan import FrameRef, SegmentPlan
from service.plan.tone import Tone
from tests.pipeline.cuda.rendering import CUDA
from tests.pipeline.cuda.torch.test_transform import psnr, scene
from tests.pipeline.rendering import MemoryObjects, decode_pictures, numbered_jpegs, options, read_numbers, render
from tests.support.data import media


class Stream:
    cuda_stream = 5

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def wait_event(self, event: Any) -> None: ...


class Event:
    def __init__(self, **kind: Any) -> None: ...

    def record(self, stream: Stream) -> None: ...

    def synchronize(self) -> None: ...

    def query(self) -> bool:
        return True


def decode_with_pillow(images: list[torch.Tensor], device: Any) -> list[torch.Tensor]:
    return [_decode(bytes(image.numpy())) for image in images]


def _decode(data: bytes) -> torch.Tensor:
    try:
        pixels = np.array(PIL.Image.open(io.BytesIO(data)))
    except Exception as error:
        raise RuntimeError(f"Error while decoding JPEG images: {error}") from error
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(planes))


class CpuSlotDevice(SlotDevice):
    def __init__(self, driver: Any, memory: int = 1 << 30) -> None:
        super().__init__(DeviceConfig("cpu"))
        self._driver = driver
        driver.memory = lambda: DeviceMemory(memory, memory)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> real.TorchDriver:
    monkeypatch.setattr(real, "_new_stream", Stream)
    monkeypatch.setattr(real, "_new_event", Event)
    monkeypatch.setattr(real, "PinnedDoubleBuffer", lambda: PinnedDoubleBuffer(pin=False))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: None)
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, **kind: empty(*size, **(kind | {"pin_memory": False})))
    module: Any = ModuleType("torchvision.io")
    module.decode_jpeg = decode_with_pillow
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.io", module)
    torch_driver = real.TorchDriver(torch.device("cpu"))
    monkeypatch.setattr(torch_driver, "_check_context", lambda: None)
    return torch_driver


def render_through(device: SlotDevice, frames: list[bytes | None], **changes: Any) -> SegmentResult:
    store = MemoryObjects({f"{index}.jpg": data for index, data in enumerate(frames) if data is not None})
    refs = tuple(FrameRef(index, f"{index}.jpg") for index in range(len(frames)))
    plan = SegmentPlan(0, 0, "b", options(**({"family": CUDA} | changes)), refs)
    return render_segment(plan, store, store, FrameWatch(), device)


def test_every_frame_in_its_place_over_many_batches(driver: real.TorchDriver) -> None:
    result = render_through(CpuSlotDevice(driver, 2_000_000), numbered_jpegs(100))
    assert read_numbers(result.data) == list(range(100))
    assert result.fallbacks == {}
    assert {report.decoder for report in result.reports} == {"cuda-nvjpeg"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"width": 96, "height": 64},
        {"width": 96, "height": 96},
        {"width": 64, "height": 96, "rotate": 90},
        {"width": 60, "height": 40, "crop": Crop(11, 21, 60, 40, 192, 128)},
    ],
    ids=str,
)
def test_the_pictures_of_the_cpu(driver: real.TorchDriver, changes: dict[str, Any]) -> None:
    frames: list[bytes | None] = [media.jpeg(np.roll(scene(192, 128), 7 * number, 1)) for number in range(6)]
    settings = {"width": 192, "height": 128, "quality": 100} | changes
    actual, expected = (
        decode_pictures(result.data)
        for result in (render_through(CpuSlotDevice(driver), frames, **settings), render(frames, **settings))
    )
    assert min(psnr(*pair) for pair in zip(actual, expected, strict=True)) > 38, "in R'G'B', after two encodes"


def test_deep_frames_with_their_counts(driver: real.TorchDriver) -> None:
    frames: list[bytes | None] = [
        media.tiff(scene(192, 128)[..., 0].astype(np.uint16) * 13 + number) for number in range(9)
    ]
    changes = {"width": 192, "height": 128, "tone": Tone(300, 2900, 0.8, "viridis")}
    result, cpu = render_through(CpuSlotDevice(driver, 1_000_000), frames, **changes), render(frames, **changes)
    assert [report.clipped for report in result.reports] == [report.clipped for report in cpu.reports]
    assert {report.decoder for report in result.reports} == {"cuda-tifffile"}
    assert min(psnr(*pair) for pair in zip(decode_pictures(result.data), decode_pictures(cpu.data), strict=True)) > 38


def test_kinds_and_sizes_mixed(driver: real.TorchDriver) -> None:
    frames = numbered_jpegs(24)
    frames[3] = media.jpeg(media.numbered_picture(3)[..., 0])
    frames[5], frames[6] = media.jpeg(media.numbered_picture(5, 131, 98)), media.png(media.numbered_picture(6))
    frames[9] = media.tiff(media.numbered_picture(9)[..., 0])
    frames[11] = media.tiff(media.numbered_picture(11))
    assert read_numbers(render_through(CpuSlotDevice(driver), frames).data) == list(range(24))


def test_one_bad_image(driver: real.TorchDriver) -> None:
    frames = numbered_jpegs(8)
    assert frames[4] is not None
    at = frames[4].index(b"\xff\xda")
    frames[4] = frames[4][: at + 12] + frames[4][-2:]
    result, cpu = render_through(CpuSlotDevice(driver), frames, corrupt="skip"), render(frames, corrupt="skip")
    expected = ["ok"] * 4 + ["skipped"] + ["ok"] * 3
    assert [report.outcome for report in result.reports] == [report.outcome for report in cpu.reports] == expected
    assert result.fallbacks == {("decode", "not_decoded"): 1}


def test_a_library_that_is_not_there_costs_only_what_it_is_for(
    driver: real.TorchDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.io", None)
    frames = [*numbered_jpegs(3), media.tiff(media.numbered_picture(3)[..., 0])]
    result = render_through(CpuSlotDevice(driver), frames)
    assert read_numbers(result.data) == [0, 1, 2, 3]
    assert result.fallbacks == {("decode", "unsupported"): 3}
    with pytest.raises(CudaUnsupported, match="PyNvVideoCodec"):
        driver.open_decoder("h264")


@pytest.mark.parametrize(
    ("error", "alive", "fault"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True, CudaOutOfMemory),
        (torch.AcceleratorError("CUDA error: out of memory"), True, CudaOutOfMemory),
        (torch.AcceleratorError("CUDA error: invalid configuration argument"), True, CudaCallFailed),
        (RuntimeError("Codec not supported on this GPU"), True, CudaUnsupported),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), False, DeviceLost),
    ],
    ids=str,
)
def test_what_torch_raises_is_named(
    driver: real.TorchDriver, monkeypatch: pytest.MonkeyPatch, error: Exception, alive: bool, fault: type[Exception]
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    def probe() -> None:
        if not alive:
            raise error

    monkeypatch.setattr(driver._transformer, "transform", fail)
    monkeypatch.setattr(driver, "_check_context", probe)
    images = driver.decode_jpegs([media.jpeg(media.numbered_picture(1))])
    with pytest.raises(fault):
        driver.transform(images, None)  # type: ignore[arg-type]


def test_a_machine_without_a_device_says_so() -> None:
    """cuda:99 is a device that no machine has."""
    said = r"cuda:99: (torch .* (is built without CUDA|sees no CUDA device)|this process sees \d+ devices)"
    with pytest.raises(CudaUnavailable, match=said):
        load_driver("cuda:99")
