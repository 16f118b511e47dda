"""The real driver on a real device: parity with the CPU path, damage, and whole segments. Skipped without a GPU."""

import io
from typing import Any

import av
import numpy as np
import pytest

from service.pipeline import planes
from service.pipeline.cuda.driver import EncoderSettings, load_driver
from service.pipeline.cuda.errors import CudaUnsupported
from service.pipeline.cuda.slot_device import DeviceConfig, SlotDevice
from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import SegmentResult
from service.pipeline.probe import probe_video
from service.pipeline.segment import render_segment
from service.plan.geometry import Bins, Crop
from service.plan.render_plan import FrameRef, SegmentPlan
from service.plan.tone import Tone
from tests.pipeline.cuda.rendering import CUDA, NVENC
from tests.pipeline.cuda.torch.test_transform import psnr, scene
from tests.pipeline.rendering import MemoryObjects, options, read_numbers, render
from tests.support.data import media

pytestmark = pytest.mark.cuda
HD = (1920, 1080)
SHAPES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "half": {"width": 960, "height": 540},
    "any factor": {"width": 1234, "height": 694},
    "padded": {"width": 800, "height": 800},
    "turned": {"width": 540, "height": 960, "rotate": 90},
    "cropped": {"width": 300, "height": 200, "crop": Crop(101, 203, 600, 400, *HD)},
    "mean": {"bins": Bins("mean", 4, *HD), "width": 960, "height": 540},
    "brightest": {"bins": Bins("max", 4, *HD), "width": 960, "height": 540},
}


@pytest.fixture(scope="module")
def device() -> SlotDevice:
    return SlotDevice(DeviceConfig("cuda:0", 0.2))


def render_on_device(device: SlotDevice, frames: list[bytes], **changes: Any) -> SegmentResult:
    store = MemoryObjects({f"{index}.jpg": data for index, data in enumerate(frames)})
    refs = tuple(FrameRef(index, f"{index}.jpg") for index in range(len(frames)))
    plan = SegmentPlan(0, 0, "b", options(**({"family": CUDA} | changes)), refs)
    return render_segment(plan, store, store, FrameWatch(), device)


def lumas(data: bytes) -> list[Any]:
    with av.open(io.BytesIO(data)) as container:
        return [planes.plane_views(frame)[0].copy() for frame in container.decode(video=0)]


def assert_alike(actual: SegmentResult, expected: SegmentResult, least: float) -> None:
    pairs = list(zip(lumas(actual.data), lumas(expected.data), strict=True))
    assert min(psnr(*pair) for pair in pairs) >= least


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:2:2", "4:4:4"])
def test_jpegs(device: SlotDevice, shape: str, subsampling: str) -> None:
    frames = [media.jpeg(np.roll(scene(*HD), 9 * number, 1), subsampling=subsampling) for number in range(40)]
    changes = {"width": HD[0], "height": HD[1], "quality": 100} | SHAPES[shape]
    result = render_on_device(device, frames, **changes)
    assert result.fallbacks == {}
    assert_alike(result, render([*frames], **changes), 45)


@pytest.mark.parametrize("more", [{"progressive": True}, {"restart_marker_blocks": 4}, {"optimize": True}], ids=str)
def test_jpegs_of_every_kind(device: SlotDevice, more: dict[str, Any]) -> None:
    frames = [media.jpeg(media.numbered_picture(number, 640, 480), **more) for number in range(20)]
    result = render_on_device(device, frames, width=640, height=480)
    assert read_numbers(result.data) == list(range(20))
    assert result.fallbacks == {}


def test_gray_jpegs_and_many_sizes(device: SlotDevice) -> None:
    sizes = [(640, 480), (641, 479), (320, 240), (1920, 1080)]
    frames = [media.jpeg(media.numbered_picture(number, *sizes[number % 4])) for number in range(40)]
    frames[7] = media.jpeg(media.numbered_picture(7, 640, 480)[..., 0])
    assert read_numbers(render_on_device(device, frames, width=160, height=120).data) == list(range(40))


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("how", ["noise", "zeros", "cut"])
def test_damage_is_found(device: SlotDevice, place: float, how: str) -> None:
    """Damage that the CPU path finds must not pass as a good picture."""
    whole = media.jpeg(scene(640, 480))
    at = int(len(whole) * place)
    damage = {"noise": bytes(range(7, 71)), "zeros": bytes(64)}.get(how, b"")
    damaged = whole[:at] + damage + (whole[at + 64 :] if damage else b"")
    frames = [whole, damaged, whole]
    cpu = render([*frames], width=640, height=480, corrupt="skip")
    result = render_on_device(device, frames, width=640, height=480, corrupt="skip")
    assert [report.outcome for report in result.reports] == [report.outcome for report in cpu.reports]


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("colormap", ["gray", "viridis"])
def test_deep_frames(device: SlotDevice, dtype: str, colormap: Any) -> None:
    samples = [(scene(*HD)[..., 0].astype(np.float64) * 13 + number).astype(dtype) for number in range(20)]
    changes = {"width": HD[0], "height": HD[1], "quality": 100, "tone": Tone(300, 2900, 0.8, colormap)}
    frames = [media.tiff(one) for one in samples]
    result, cpu = render_on_device(device, frames, **changes), render([*frames], **changes)
    assert [report.clipped for report in result.reports] == [report.clipped for report in cpu.reports]
    assert_alike(result, cpu, 45)


@pytest.mark.parametrize("mode", ["mean", "max"])
@pytest.mark.parametrize("size", [HD, (960, 540)])
def test_bins_of_deep_frames(device: SlotDevice, mode: Any, size: tuple[int, int]) -> None:
    samples = [(scene(*HD)[..., 0].astype(np.uint16) * 11 + 300 + 5 * number) for number in range(18)]
    bins = Bins(mode, 4, *(size if mode == "mean" else HD))
    changes = {"width": size[0], "height": size[1], "quality": 100, "tone": Tone(300, 3200), "bins": bins}
    frames = [media.tiff(one) for one in samples]
    result, cpu = render_on_device(device, frames, **changes), render([*frames], **changes)
    assert result.fallbacks == {}
    assert [report.clipped for report in result.reports] == [report.clipped for report in cpu.reports]
    assert_alike(result, cpu, 45)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_videos(device: SlotDevice, codec: str) -> None:
    source = media.video([media.numbered_picture(number, 640, 480) for number in range(60)], codec=codec)
    facts = probe_video(io.BytesIO(source))
    refs = tuple(FrameRef(number, "v.mp4", pts=facts.pts[number]) for number in range(5, 60, 3))
    store = MemoryObjects({"v.mp4": source})
    for width in (640, 320):
        settings = options(source_kind="video", family=CUDA, width=width, height=width * 3 // 4)
        result = render_segment(SegmentPlan(0, 0, "b", settings, refs), store, store, FrameWatch(), device)
        assert read_numbers(result.data) == list(range(5, 60, 3))
        assert result.fallbacks == {}


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_nvenc_where_the_card_has_it(device: SlotDevice, codec: Any) -> None:
    settings = EncoderSettings(codec, 640, 480, options().fps, 70, 6, 1, 13)
    try:
        device.driver().open_encoder(settings).close()
    except CudaUnsupported as reason:
        pytest.skip(reason.reason)
    frames = [media.jpeg(media.numbered_picture(number, 640, 480)) for number in range(75)]
    result = render_on_device(device, frames, codec=codec, family=NVENC, width=640, height=480)
    assert read_numbers(result.data) == list(range(75))
    with av.open(io.BytesIO(result.data)) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert keys == [True] + [False] * 74


def test_a_small_budget_makes_small_batches_and_the_same_pictures(device: SlotDevice) -> None:
    frames = [media.jpeg(media.numbered_picture(number, 640, 480)) for number in range(50)]
    tiny = SlotDevice(DeviceConfig("cuda:0", 1e-5))
    small = render_on_device(tiny, frames, width=640, height=480)
    assert small.data == render_on_device(device, frames, width=640, height=480).data
    assert small.fallbacks == {}


def test_memory_and_facts() -> None:
    driver = load_driver("cuda:0")
    assert 0 < driver.memory().free <= driver.memory().total
    assert driver.facts()["device"]
