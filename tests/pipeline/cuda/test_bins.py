"""Bins that a device merges and bins that fall back to the CPU: the bytes are those of the CPU path either way."""

from typing import Any

import numpy as np
import pytest

from service.pipeline.cuda.errors import CudaCallFailed, DeviceLost
from service.pipeline.frames import SegmentResult
from service.plan.geometry import Bins
from service.plan.tone import Tone
from tests.pipeline.cuda.rendering import NVENC, render_on
from tests.pipeline.cuda.test_videos import SOURCES, render_video
from tests.pipeline.rendering import numbered_jpegs, render
from tests.support.cuda_doubles.driver import DriverDouble, Faults
from tests.support.data import media

MEAN, MAX = Bins("mean", 3, 128, 96), Bins("max", 3, 128, 96)
Objects = list[bytes | None]


def gray_jpegs(count: int) -> Objects:
    return [media.jpeg(media.numbered_picture(number)[..., 1]) for number in range(count)]


def deep_tiffs(count: int) -> Objects:
    ramp = np.linspace(0, 4000, 96 * 128).reshape(96, 128)
    return [media.tiff((ramp + 10 * number).astype("uint16")) for number in range(count)]


def bin_reports(result: SegmentResult) -> list[Any]:
    """The receipt of the bins, without decoders and fallbacks."""
    members = [[(one.source, one.sha256, one.outcome) for one in report.members or ()] for report in result.reports]
    return [members, [(report.outcome, report.reason, report.clipped) for report in result.reports]]


def render_and_compare(double: DriverDouble, frames: Objects, **changes: Any) -> SegmentResult:
    result, cpu = render_on(double, frames, **changes), render(frames, **changes)
    assert result.data == cpu.data
    assert bin_reports(result) == bin_reports(cpu)
    return result


def decoders(result: SegmentResult) -> list[set[str | None]]:
    return [{member.decoder for member in report.members or ()} for report in result.reports]


@pytest.mark.parametrize("count", [9, 8, 7, 2])
def test_means_come_back_as_one_picture_a_bin(count: int) -> None:
    double = DriverDouble()
    result = render_and_compare(double, numbered_jpegs(count), bins=MEAN)
    assert (double.batch_sizes, double.download_count) == ([count], -(-count // 3))
    assert decoders(result) == [{"cuda-nvjpeg"}] * -(-count // 3)
    assert result.fallbacks == {}


def test_many_bins_share_a_launch_and_none_is_cut_in_two() -> None:
    double = DriverDouble()
    render_and_compare(double, numbered_jpegs(80), bins=Bins("mean", 5, 128, 96))
    assert double.batch_sizes == [30, 30, 20]


def test_the_brightest_of_gray_is_made_whole_and_that_of_colours_by_the_cpu() -> None:
    gray, colours = DriverDouble(), DriverDouble()
    render_and_compare(gray, gray_jpegs(6), bins=MAX, width=64, height=48)
    render_and_compare(colours, numbered_jpegs(6), bins=MAX, width=64, height=48)
    assert (gray.download_count, colours.download_count) == (2, 6)


@pytest.mark.parametrize("bins", [MEAN, MAX], ids=["mean", "max"])
def test_gray_jpegs_with_a_window_are_binned_before_it(bins: Bins) -> None:
    double = DriverDouble()
    tone = Tone(60, 200, 0.8, "viridis", shallow=True)
    result = render_and_compare(double, gray_jpegs(7), bins=bins, tone=tone)
    assert (double.download_count, result.fallbacks) == (3, {})


@pytest.mark.parametrize("mode", ["mean", "max"])
@pytest.mark.parametrize("size", [(128, 96), (64, 48)])
def test_bins_of_pictures_of_a_video(mode: Any, size: tuple[int, int]) -> None:
    wanted: list[int | None] = [*range(10, 34)]
    bins = Bins(mode, 4, *(size if mode == "mean" else (128, 96)))
    double = DriverDouble()
    changes: dict[str, Any] = {"bins": bins, "width": size[0], "height": size[1]}
    result = render_video(double, SOURCES["libx264"], wanted, **changes)
    cpu = render_video(None, SOURCES["libx264"], wanted, **changes)
    assert result.data == cpu.data
    assert bin_reports(result) == bin_reports(cpu)
    assert double.download_count == 6
    assert result.fallbacks == {}


@pytest.mark.parametrize("frames", [numbered_jpegs(9), deep_tiffs(9)], ids=["jpeg", "deep"])
@pytest.mark.parametrize("hole", [0, 4, 8])
def test_a_bin_with_a_hole_is_the_cpu_s_and_the_others_are_not(frames: Objects, hole: int) -> None:
    holed: Objects = [None if number == hole else data for number, data in enumerate(frames)]
    tone = {"tone": Tone(500, 3500)} if frames[0] and frames[0][:2] == b"II" else {}
    double = DriverDouble()
    result = render_and_compare(double, holed, bins=MEAN, missing="skip", **tone)
    assert [report.outcome for report in result.reports].count("partial") == 1
    assert len([made for made in decoders(result) if len(made) == 1]) == 2
    expected = {("transform", "unsupported"): 2} if tone else {}
    assert result.fallbacks == expected, "JPEGs of an incomplete bin are still processed on the device, one by one"


@pytest.mark.parametrize("bad", [0, 4, 8])
def test_a_bin_of_which_one_image_is_not_decoded_is_the_cpu_s(bad: int) -> None:
    double = DriverDouble(faults=Faults(undecodable_images=frozenset({bad})))
    result = render_and_compare(double, numbered_jpegs(9), bins=MEAN)
    assert result.fallbacks == {("decode", "not_decoded"): 3}
    assert double.download_count == 2


def test_bins_of_several_kinds_keep_their_order() -> None:
    frames = numbered_jpegs(18)
    frames[4] = media.png(media.numbered_picture(4))
    frames[9:12] = [media.jpeg(media.numbered_picture(number, 256, 192)) for number in range(9, 12)]
    frames[13] = media.jpeg(media.numbered_picture(13, 256, 192))
    result = render_and_compare(DriverDouble(), frames, bins=MEAN, mismatch="scale")
    assert decoders(result)[1] == {"cuda-nvjpeg", "ffmpeg-png"}


@pytest.mark.parametrize("most", [1, 2, 3, 7])
@pytest.mark.parametrize("frames", [numbered_jpegs(12), deep_tiffs(12)], ids=["jpeg", "deep"])
def test_bins_that_do_not_fit_are_made_of_single_frames(frames: Objects, most: int) -> None:
    tone = {"tone": Tone(500, 3500)} if frames[0] and frames[0][:2] == b"II" else {}
    double = DriverDouble(faults=Faults(max_images=most))
    result = render_and_compare(double, frames, bins=MEAN, **tone)
    whole = most >= 3
    assert result.fallbacks == ({("transform", "unsupported"): 12} if tone and not whole else {})


def test_a_failure_costs_the_bins_of_its_batch() -> None:
    shaping, waiting = (
        Faults(transform_errors={0: CudaCallFailed("once")}),
        Faults(download_errors={1: CudaCallFailed("once")}),
    )
    for faults in (shaping, waiting):
        result = render_and_compare(DriverDouble(faults=faults), numbered_jpegs(80), bins=Bins("mean", 5, 128, 96))
        assert result.fallbacks == {("decode", "device_failed"): 30}


def test_a_lost_device_ends_the_segment() -> None:
    with pytest.raises(DeviceLost):
        render_on(DriverDouble(faults=Faults(transform_errors={0: DeviceLost("gone")})), numbered_jpegs(9), bins=MEAN)


def test_the_gpu_s_encoder_takes_bins_too() -> None:
    double = DriverDouble()
    result = render_on(double, numbered_jpegs(12), bins=MEAN, family=NVENC)
    assert (result.frames, double.download_count, double.open_sessions) == (4, 4, 0)


@pytest.mark.parametrize("frames", [numbered_jpegs(80), deep_tiffs(80)], ids=["jpeg", "deep"])
def test_a_bin_larger_than_a_batch_is_never_gathered(frames: Objects) -> None:
    """It may have thousands of frames: they are processed one by one, or on the CPU if only a whole bin makes sense."""
    toned = frames[0] is not None and frames[0][:2] == b"II"
    double, bins = DriverDouble(), Bins("mean", 40, 128, 96)
    result = render_and_compare(double, frames, bins=bins, **({"tone": Tone(500, 3500)} if toned else {}))
    assert double.batch_sizes == ([] if toned else [32, 32, 16])
    assert result.fallbacks == {}
