"""Frames of source videos on a device: the exact frames, and the CPU for videos that a device would show wrongly."""

import io
from typing import Any

import pytest

from service.pipeline.cuda.demux import nal_units
from service.pipeline.cuda.errors import CudaCallFailed, CudaOutOfMemory, CudaUnsupported, DeviceLost
from service.pipeline.cuda.video_frames import split_into_runs
from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import SegmentResult
from service.pipeline.probe import probe_video
from service.pipeline.segment import render_segment
from service.plan.render_plan import FrameRef, SegmentPlan
from tests.pipeline.cuda.rendering import CUDA, NVENC, PreparedSlotDevice
from tests.pipeline.rendering import MemoryObjects, options, read_numbers
from tests.pipeline.videos.ffmpeg_reference import make_numbered_video
from tests.pipeline.videos.test_source_containers import make_with_ffmpeg, make_with_pyav
from tests.support.cuda_doubles.driver import DriverDouble, Faults, HostImage, SoftwareDecoder
from tests.support.data import media
from tests.support.data.ffmpeg_command import make_video

SOURCES = {
    name: media.video([media.numbered_picture(i) for i in range(60)], codec=name) for name in ("libx264", "libx265")
}


def render_video(
    device: DriverDouble | None, source: bytes, wanted: list[int | None], name: str = "v.mp4", **changes: Any
) -> SegmentResult:
    facts = probe_video(io.BytesIO(source))
    refs = tuple(FrameRef(i, name, pts=facts.pts[at] if at is not None else 10**9) for i, at in enumerate(wanted))
    store = MemoryObjects({name: source})
    family = {"family": CUDA} if device else {}
    plan = SegmentPlan(0, 0, "bucket", options(source_kind="video", **(family | changes)), refs)
    return render_segment(plan, store, store, FrameWatch(), PreparedSlotDevice(device) if device else None)


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(
    "wanted",
    [list(range(60)), list(range(7, 60, 9)), [11, 12, 13], [59], [30, 3, 45, 44], [5, 5, 5], [23, 24, 25, 35, 36, 37]],
    ids=str,
)
def test_the_wanted_pictures_and_the_same_bytes_as_by_the_cpu(name: str, wanted: list[Any]) -> None:
    result = render_video(DriverDouble(), SOURCES[name], wanted)
    assert read_numbers(result.data) == wanted
    assert result.fallbacks == {}
    assert {report.decoder for report in result.reports} == {f"cuda-nvdec-{'h264' if name == 'libx264' else 'hevc'}"}
    assert result.data == render_video(None, SOURCES[name], wanted).data


def test_from_decoder_to_encoder_without_leaving_the_device() -> None:
    wanted: list[Any] = list(range(0, 60, 3))
    assert read_numbers(render_video(DriverDouble(), SOURCES["libx264"], wanted, family=NVENC).data) == wanted


def test_a_picture_that_is_not_there_follows_its_policy() -> None:
    result = render_video(DriverDouble(), SOURCES["libx264"], [1, None, 3], corrupt="hold")
    assert read_numbers(result.data) == [1, 1, 3]
    assert result.reports[1].outcome == "held"


def test_what_is_no_video_ends_as_by_the_cpu() -> None:
    store = MemoryObjects({"v.mp4": b"nonsense" * 100})
    refs = (FrameRef(0, "v.mp4", pts=0), FrameRef(1, None, pts=1), FrameRef(2, "gone.mp4", pts=2))
    plan = SegmentPlan(0, 0, "b", options(source_kind="video", family=CUDA, corrupt="skip", missing="skip"), refs)
    result = render_segment(plan, store, store, FrameWatch(), PreparedSlotDevice(DriverDouble()))
    assert [report.outcome for report in result.reports] == ["skipped"] * 3
    assert result.fallbacks == {}


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (CudaUnsupported("10-bit H.264"), "unsupported"),
        (CudaOutOfMemory("full"), "out_of_memory"),
        (CudaCallFailed("no session"), "device_failed"),
    ],
)
def test_a_decoder_that_cannot_be_had_is_a_fallback(fault: Exception, code: str) -> None:
    class Refusing(DriverDouble):
        def open_decoder(self, codec: str) -> SoftwareDecoder:
            raise fault

    result = render_video(Refusing(), SOURCES["libx264"], [3, 4, 5])
    assert read_numbers(result.data) == [3, 4, 5]
    assert result.fallbacks == {("decode", code): 3}


def test_a_decoder_that_stops_midway_leaves_the_rest_to_the_cpu() -> None:
    class Stopping(SoftwareDecoder):
        fed = 0

        def decode(self, packet: bytes, pts: int) -> list[tuple[int, HostImage]]:
            self.fed += 1
            if self.fed > 20:
                raise CudaCallFailed("it stopped")
            return super().decode(packet, pts)

    class Device(DriverDouble):
        def open_decoder(self, codec: str) -> SoftwareDecoder:
            return Stopping(codec)

    wanted: list[Any] = list(range(40))
    result = render_video(Device(), SOURCES["libx264"], wanted)
    assert read_numbers(result.data) == wanted
    assert 0 < result.fallbacks["decode", "device_failed"] < 40


def test_where_timestamps_do_not_tell_pictures_apart_the_cpu_decodes() -> None:
    recording = make_numbered_video(".ts", "-c:v", "libx264", count=20)
    facts = probe_video(io.BytesIO(recording + recording))
    packets = facts.packets or ()
    refs = tuple(FrameRef(at, "v.ts", pts=at, packet=packets[at]) for at in range(18, 24))
    store = MemoryObjects({"v.ts": recording + recording})
    plan = SegmentPlan(0, 0, "bucket", options(source_kind="video", family=CUDA), refs)
    result = render_segment(plan, store, store, FrameWatch(), PreparedSlotDevice(DriverDouble()))
    assert read_numbers(result.data) == [18, 19, 0, 1, 2, 3]
    assert sum(result.fallbacks.values()) == 6
    assert "timestamps do not tell" in (result.reports[0].fallback or "")


def test_groups_of_pictures_that_nobody_wants_are_not_decoded() -> None:
    class Device(DriverDouble):
        fed = 0

        def open_decoder(self, codec: str) -> SoftwareDecoder:
            device = self

            class Counting(SoftwareDecoder):
                def decode(self, packet: bytes, pts: int) -> list[tuple[int, HostImage]]:
                    device.fed += 1
                    return super().decode(packet, pts)

            return Counting(codec)

    device = Device()
    result = render_video(device, SOURCES["libx264"], [1, 26, 49])
    assert read_numbers(result.data) == [1, 26, 49]
    assert result.fallbacks == {}
    assert device.fed < 40, "of 60, in groups of 12"


def test_a_sticky_error_while_decoding_is_told_to_the_slot() -> None:
    class Lost(DriverDouble):
        def open_decoder(self, codec: str) -> SoftwareDecoder:
            raise DeviceLost("gone")

    with pytest.raises(DeviceLost):
        render_video(Lost(), SOURCES["libx264"], [1, 2])


def test_pictures_are_batched_and_halved_like_images() -> None:
    double = DriverDouble(faults=Faults(max_images=5))
    wanted: list[Any] = list(range(40))
    assert read_numbers(render_video(double, SOURCES["libx265"], wanted).data) == wanted
    assert 2 <= max(double.batch_sizes) <= 5


def test_avi_keeps_no_times_and_is_the_cpu_s() -> None:
    result = render_video(DriverDouble(), make_with_pyav("libx264", "avi"), [0, 1, 2], name="v.avi")
    assert read_numbers(result.data) == [0, 1, 2]
    assert result.fallbacks == {("decode", "unsupported"): 3}


@pytest.mark.parametrize(
    ("options", "inputs", "stage", "code", "reason"),
    [
        (("-vf", "setsar=4/3"), (), "decode", "unsupported", "pixels that are not square run on the CPU"),
        (("-c", "copy"), ("-display_hflip",), "decode", "mirrored", "mirrored orientations run on the CPU"),
    ],
    ids=["not-square", "mirrored"],
)
def test_what_only_the_cpu_shows_right_is_told(
    options: tuple[str, ...], inputs: tuple[str, ...], stage: str, code: str, reason: str
) -> None:
    source = make_video("v.mp4", *options, source=SOURCES["libx264"], inputs=inputs)
    size = {"width": 170 if code == "unsupported" else 128}
    result = render_video(DriverDouble(), source, [0, 30], **size)
    assert result.fallbacks == {(stage, code): 2}
    assert reason in (result.reports[0].fallback or "")
    assert result.data == render_video(None, source, [0, 30], **size).data


def test_interlaced_pictures_are_left_to_the_cpu() -> None:
    source = SOURCES["libx264"]
    pts = probe_video(io.BytesIO(source)).pts
    refs = tuple(FrameRef(i, "v.mp4", pts=pts[i], field_order="top", pts_after=pts[i + 1]) for i in range(3))
    changes = {"source_kind": "video", "family": CUDA, "deinterlace": "auto"}
    store = MemoryObjects({"v.mp4": source})
    plan = SegmentPlan(0, 0, "bucket", options(**changes), refs)
    result = render_segment(plan, store, store, FrameWatch(), PreparedSlotDevice(DriverDouble()))
    assert result.fallbacks == {("decode", "unsupported"): 3}
    assert result.reports[0].conversions == ("deinterlaced (bwdif, top field first)",)


CONTAINERS = {
    "H.264 in Matroska": lambda: make_with_ffmpeg("h264", "mkv"),
    "H.264 in a transport stream": lambda: make_with_ffmpeg("h264", "ts"),
    "H.264 with open groups": lambda: make_with_ffmpeg("h264-open-gop", "mkv"),
    "H.264 that recovers slowly": lambda: make_with_ffmpeg("h264-intra-refresh", "mkv"),
    "HEVC with open groups": lambda: make_with_ffmpeg("hevc-open-gop", "mkv"),
    "HEVC in Matroska": lambda: make_with_pyav("libx265", "mkv"),
    "AV1": lambda: make_with_pyav("libsvtav1", "mp4"),
}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("wanted", [list(range(14, 30)), [13, 25], [0]], ids=str)
def test_the_right_pictures_of_every_container(name: str, wanted: list[Any]) -> None:
    source = CONTAINERS[name]()
    result = render_video(DriverDouble(), source, wanted)
    assert read_numbers(result.data) == wanted
    assert result.data == render_video(None, source, wanted).data


def test_runs_are_of_one_source_and_rising_times() -> None:
    def ref(key: str | None, pts: int | None) -> FrameRef:
        return FrameRef(0, key, pts=pts)

    listed = [ref("a", 1), ref("a", 1), ref("a", 5), ref("a", 3), ref("b", 4), ref(None, None), ref("b", 9)]
    assert [len(run) for run in split_into_runs(listed)] == [3, 1, 1, 1, 1]
    assert split_into_runs([]) == []
    assert [one for run in split_into_runs(listed) for one in run] == listed


def test_nal_types() -> None:
    h264 = b"\0\0\0\1\x67aa\0\0\1\x68b\0\0\1\x65ccc"
    assert [kind for kind, _ in nal_units(h264, "h264")] == [7, 8, 5]
    assert [kind for kind, _ in nal_units(b"\0\0\1\x40\1\0\0\1\x26\1xx", "hevc")] == [32, 19]
    assert list(nal_units(h264, "av1")) == []
