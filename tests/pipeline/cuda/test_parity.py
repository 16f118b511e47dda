"""A render on a device has the bytes of the CPU path: the double computes pixels with the functions of that path."""

import io
from typing import Any

import av
import numpy as np
import pytest

from service.plan.geometry import Bins, Crop
from service.plan.tone import Tone
from tests.pipeline.cuda.rendering import NVENC, render_on
from tests.pipeline.rendering import decode_pictures, numbered_jpegs, read_numbers, render
from tests.support.cuda_doubles.driver import DriverDouble
from tests.support.data import media

SHAPES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "half": {"width": 64, "height": 48},
    "padded": {"width": 96, "height": 96},
    "stretched": {"width": 64, "height": 96, "mismatch": "scale"},
    "turned": {"width": 96, "height": 128, "rotate": 90},
    "upside down": {"rotate": 180},
    "cropped": {"width": 40, "height": 30, "crop": Crop(10, 20, 40, 30, 128, 96)},
    "cropped and turned": {"width": 30, "height": 40, "rotate": 270, "crop": Crop(11, 21, 40, 30, 128, 96)},
    "mean of three": {"bins": Bins("mean", 3, 128, 96)},
    "brightest of three, half": {"bins": Bins("max", 3, 128, 96), "width": 64, "height": 48},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_bytes_as_by_the_cpu(shape: str) -> None:
    double, frames = DriverDouble(), numbered_jpegs(9)
    result, cpu = render_on(double, frames, **SHAPES[shape]), render(frames, **SHAPES[shape])
    assert result.data == cpu.data
    assert double.decode_count == 9
    assert result.fallbacks == {}


def test_the_receipt_names_the_device_and_is_else_the_cpu_s() -> None:
    ours, theirs = (
        rendered.reports for rendered in (render_on(DriverDouble(), numbered_jpegs(4)), render(numbered_jpegs(4)))
    )
    assert {report.decoder for report in ours} == {"cuda-nvjpeg"}
    assert [report.sha256 for report in ours] == [report.sha256 for report in theirs]
    assert [report.outcome for report in ours] == ["ok"] * 4


def jpeg_with_orientation(orientation: int) -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    return media.jpeg(media.numbered_picture(5, 96, 128), exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations_are_honoured_and_mirrored_ones_left_to_the_cpu(orientation: int) -> None:
    size = {"width": 128, "height": 96} if orientation >= 5 else {"width": 96, "height": 128}
    frames: list[bytes | None] = [jpeg_with_orientation(orientation)] * 3
    result = render_on(DriverDouble(), frames, **size)
    assert result.data == render(frames, **size).data
    mirrored = orientation in (2, 4, 5, 7)
    assert result.fallbacks == ({("transform", "mirrored"): 3} if mirrored else {})


@pytest.mark.parametrize("width", [127, 126, 125])
@pytest.mark.parametrize("height", [95, 94])
def test_odd_sizes_grow_by_a_replicated_edge(width: int, height: int) -> None:
    frames: list[bytes | None] = [media.jpeg(media.numbered_picture(3, width, height))]
    canvas = {"width": width + width % 2, "height": height + height % 2}
    assert render_on(DriverDouble(), frames, **canvas).data == render(frames, **canvas).data


def test_frames_of_several_sizes_and_kinds_keep_their_order() -> None:
    frames: list[bytes | None] = []
    for number in range(24):
        pixels = media.numbered_picture(number, *((128, 96), (256, 192), (130, 98))[number // 2 % 3])
        frames.append(media.png(pixels) if number % 5 == 4 else media.jpeg(pixels))
    result = render_on(DriverDouble(), frames)
    assert read_numbers(result.data) == list(range(24))
    assert result.data == render(frames).data
    assert {report.decoder for report in result.reports} == {"cuda-nvjpeg", "ffmpeg-png"}
    assert result.fallbacks == {}, "PNG is never planned for the device"


def deep_tiffs(count: int, dtype: str = "uint16") -> list[bytes | None]:
    ramp = np.linspace(0, 4000, 96 * 128).reshape(96, 128)
    return [media.tiff((ramp + 10 * number).astype(dtype)) for number in range(count)]


@pytest.mark.parametrize("tone", [Tone(500, 3500), Tone(500, 3500, 0.7, "viridis"), Tone(500, 3500, 1, "gray", True)])
def test_deep_frames_are_uploaded_toned_and_counted(tone: Tone) -> None:
    double, frames = DriverDouble(), deep_tiffs(5)
    result, cpu = render_on(double, frames, tone=tone), render(frames, tone=tone)
    assert result.data == cpu.data
    assert [report.clipped for report in result.reports] == [report.clipped for report in cpu.reports]
    assert {report.decoder for report in result.reports} == {"cuda-tifffile"}
    assert double.batch_sizes


@pytest.mark.parametrize("mode", ["mean", "max"])
@pytest.mark.parametrize("shape", [{}, {"width": 64, "height": 48}, {"width": 96, "height": 128, "rotate": 90}])
def test_bins_of_deep_frames_are_made_whole(mode: Any, shape: dict[str, Any]) -> None:
    size = (shape.get("width", 128), shape.get("height", 96)) if mode == "mean" else (128, 96)
    size = (96, 128) if "rotate" in shape else size
    changes = {"tone": Tone(500, 3500), "bins": Bins(mode, 3, *size)} | shape
    double = DriverDouble()
    result, cpu = render_on(double, deep_tiffs(8), **changes), render(deep_tiffs(8), **changes)
    assert result.data == cpu.data
    assert [report.clipped for report in result.reports] == [report.clipped for report in cpu.reports]
    assert [report.members and len(report.members) for report in result.reports] == [3, 3, 2]
    assert double.batch_sizes == [8], "one launch for three pictures"
    assert result.fallbacks == {}


def test_a_crop_of_binned_deep_frames_is_the_cpu_s_which_counts_what_it_cuts_off() -> None:
    crop = {"crop": Crop(0, 0, 64, 48, 128, 96), "width": 64, "height": 48}
    changes = {"tone": Tone(500, 3500), "bins": Bins("mean", 3, 64, 48)} | crop
    double = DriverDouble()
    result, cpu = render_on(double, deep_tiffs(6), **changes), render(deep_tiffs(6), **changes)
    assert result.data == cpu.data
    assert [report.clipped for report in result.reports] == [report.clipped for report in cpu.reports]
    assert double.batch_sizes == []


def test_what_a_crop_leaves_out_is_counted_all_the_same() -> None:
    changes = {"tone": Tone(500, 3500), "crop": Crop(0, 0, 64, 48, 128, 96), "width": 64, "height": 48}
    result, cpu = render_on(DriverDouble(), deep_tiffs(3), **changes), render(deep_tiffs(3), **changes)
    assert [report.clipped for report in result.reports] == [report.clipped for report in cpu.reports]


def test_samples_that_no_kernel_takes_are_the_cpu_s() -> None:
    frames = deep_tiffs(3, "int32")
    double = DriverDouble()
    result = render_on(double, frames, tone=Tone(500, 3500))
    assert result.data == render(frames, tone=Tone(500, 3500)).data
    assert double.batch_sizes == []


def test_an_enlargement_is_the_cpu_s() -> None:
    result = render_on(DriverDouble(), numbered_jpegs(3), width=256, height=192)
    assert result.data == render(numbered_jpegs(3), width=256, height=192).data
    assert result.fallbacks == {("transform", "enlarged"): 3}
    assert result.reports[0].fallback == "transform: enlarging runs on the CPU"


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_pictures_go_from_the_device_into_its_encoder(codec: str) -> None:
    double = DriverDouble()
    result = render_on(double, numbered_jpegs(40), codec=codec, family=NVENC)
    assert read_numbers(result.data) == list(range(40))
    assert (result.frames, double.open_sessions) == (40, 0), "the session is given back"
    assert result.encoder == f"nvenc {codec} (device double)"
    with av.open(io.BytesIO(result.data)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.codec_tag == {"h264": "avc1", "hevc": "hvc1", "av1": "av01"}[codec]
        frame = next(container.decode(stream))
        assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (6, 1, 13, 1)
        keys = [packet.is_keyframe for packet in container.demux(stream) if packet.size]
    assert sum(keys) <= 1


def test_the_encoder_takes_what_the_cpu_made_too() -> None:
    frames = numbered_jpegs(8)
    frames[2], frames[5] = media.png(media.numbered_picture(2)), None
    result = render_on(DriverDouble(), frames, family=NVENC, missing="black")
    shown = decode_pictures(result.data)
    assert [media.read_number(shown[place]) for place in (0, 1, 2, 3, 4, 6, 7)] == [0, 1, 2, 3, 4, 6, 7]
    assert int(shown[5].max()) < 5
