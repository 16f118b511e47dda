"""Bins that a device makes as a whole, and those that it leaves to the CPU: the bytes are the CPU's either way."""

from typing import Any

import numpy as np
import pytest

from service.pipeline.cuda.faults import CudaFailed, DeviceLost
from service.pipeline.frames import SegmentResult
from service.plan.geometry import Bins
from service.plan.tone import Tone
from tests.pipeline.cuda.rendering import NVENC, render_on
from tests.pipeline.cuda.test_videos import SOURCES, render_pictures
from tests.pipeline.rendering import numbered_jpegs, render
from tests.support import media
from tests.support.cuda_doubles.driver import Double, Faults

MEAN, MAX = Bins("mean", 3, 128, 96), Bins("max", 3, 128, 96)
Objects = list[bytes | None]


def gray_jpegs(count: int) -> Objects:
    return [media.jpeg(media.numbered(number)[..., 1]) for number in range(count)]


def deep(count: int) -> Objects:
    ramp = np.linspace(0, 4000, 96 * 128).reshape(96, 128)
    return [media.tiff((ramp + 10 * number).astype("uint16")) for number in range(count)]


def told(result: SegmentResult) -> list[Any]:
    """What receipts say of the bins, but for the decoder and why it was another."""
    members = [[(one.source, one.sha256, one.outcome) for one in report.members or ()] for report in result.reports]
    return [members, [(report.outcome, report.reason, report.clipped) for report in result.reports]]


def same_as_by_the_cpu(double: Double, frames: Objects, **changes: Any) -> SegmentResult:
    result, cpu = render_on(double, frames, **changes), render(frames, **changes)
    assert result.data == cpu.data
    assert told(result) == told(cpu)
    return result


def decoders(result: SegmentResult) -> list[set[str | None]]:
    return [{member.decoder for member in report.members or ()} for report in result.reports]


@pytest.mark.parametrize("count", [9, 8, 7, 2])
def test_means_come_back_as_one_picture_a_bin(count: int) -> None:
    double = Double()
    result = same_as_by_the_cpu(double, numbered_jpegs(count), bins=MEAN)
    assert (double.calls, double.downloaded) == ([count], -(-count // 3))
    assert decoders(result) == [{"cuda-nvjpeg"}] * -(-count // 3)
    assert result.fallbacks == {}


def test_many_bins_share_a_launch_and_none_is_cut_in_two() -> None:
    double = Double()
    same_as_by_the_cpu(double, numbered_jpegs(80), bins=Bins("mean", 5, 128, 96))
    assert double.calls == [30, 30, 20]


def test_the_brightest_of_gray_is_made_whole_and_that_of_colours_by_the_cpu() -> None:
    gray, colours = Double(), Double()
    same_as_by_the_cpu(gray, gray_jpegs(6), bins=MAX, width=64, height=48)
    same_as_by_the_cpu(colours, numbered_jpegs(6), bins=MAX, width=64, height=48)
    assert (gray.downloaded, colours.downloaded) == (2, 6)


@pytest.mark.parametrize("bins", [MEAN, MAX], ids=["mean", "max"])
def test_gray_jpegs_with_a_window_are_binned_before_it(bins: Bins) -> None:
    double = Double()
    tone = Tone(60, 200, 0.8, "viridis", shallow=True)
    result = same_as_by_the_cpu(double, gray_jpegs(7), bins=bins, tone=tone)
    assert (double.downloaded, result.fallbacks) == (3, {})


@pytest.mark.parametrize("mode", ["mean", "max"])
@pytest.mark.parametrize("size", [(128, 96), (64, 48)])
def test_bins_of_pictures_of_a_video(mode: Any, size: tuple[int, int]) -> None:
    wanted: list[int | None] = [*range(10, 34)]
    bins = Bins(mode, 4, *(size if mode == "mean" else (128, 96)))
    double = Double()
    changes: dict[str, Any] = {"bins": bins, "width": size[0], "height": size[1]}
    result = render_pictures(double, SOURCES["libx264"], wanted, **changes)
    cpu = render_pictures(None, SOURCES["libx264"], wanted, **changes)
    assert result.data == cpu.data
    assert told(result) == told(cpu)
    assert double.downloaded == 6
    assert result.fallbacks == {}


@pytest.mark.parametrize("frames", [numbered_jpegs(9), deep(9)], ids=["jpeg", "deep"])
@pytest.mark.parametrize("hole", [0, 4, 8])
def test_a_bin_with_a_hole_is_the_cpu_s_and_the_others_are_not(frames: Objects, hole: int) -> None:
    holed: Objects = [None if number == hole else data for number, data in enumerate(frames)]
    tone = {"tone": Tone(500, 3500)} if frames[0] and frames[0][:2] == b"II" else {}
    double = Double()
    result = same_as_by_the_cpu(double, holed, bins=MEAN, missing="skip", **tone)
    assert [report.outcome for report in result.reports].count("partial") == 1
    assert len([made for made in decoders(result) if len(made) == 1]) == 2
    expected = {("transform", "unsupported"): 2} if tone else {}
    assert result.fallbacks == expected, "JPEGs of a broken bin still go through the device, one by one"


@pytest.mark.parametrize("bad", [0, 4, 8])
def test_a_bin_of_which_one_image_is_not_decoded_is_the_cpu_s(bad: int) -> None:
    double = Double(faults=Faults(undecodable=frozenset({bad})))
    result = same_as_by_the_cpu(double, numbered_jpegs(9), bins=MEAN)
    assert result.fallbacks == {("decode", "not_decoded"): 3}
    assert double.downloaded == 2


def test_bins_of_several_kinds_keep_their_order() -> None:
    frames = numbered_jpegs(18)
    frames[4] = media.png(media.numbered(4))
    frames[9:12] = [media.jpeg(media.numbered(number, 256, 192)) for number in range(9, 12)]
    frames[13] = media.jpeg(media.numbered(13, 256, 192))
    result = same_as_by_the_cpu(Double(), frames, bins=MEAN, mismatch="scale")
    assert decoders(result)[1] == {"cuda-nvjpeg", "ffmpeg-png"}


@pytest.mark.parametrize("most", [1, 2, 3, 7])
@pytest.mark.parametrize("frames", [numbered_jpegs(12), deep(12)], ids=["jpeg", "deep"])
def test_bins_that_do_not_fit_are_made_of_single_frames(frames: Objects, most: int) -> None:
    tone = {"tone": Tone(500, 3500)} if frames[0] and frames[0][:2] == b"II" else {}
    double = Double(faults=Faults(most=most))
    result = same_as_by_the_cpu(double, frames, bins=MEAN, **tone)
    whole = most >= 3
    assert result.fallbacks == ({("transform", "unsupported"): 12} if tone and not whole else {})


def test_a_failure_costs_the_bins_of_its_batch() -> None:
    shaping, waiting = Faults(shaping={0: CudaFailed("once")}), Faults(waiting={1: CudaFailed("once")})
    for faults in (shaping, waiting):
        result = same_as_by_the_cpu(Double(faults=faults), numbered_jpegs(80), bins=Bins("mean", 5, 128, 96))
        assert result.fallbacks == {("decode", "device_failed"): 30}


def test_a_lost_device_ends_the_segment() -> None:
    with pytest.raises(DeviceLost):
        render_on(Double(faults=Faults(shaping={0: DeviceLost("gone")})), numbered_jpegs(9), bins=MEAN)


def test_the_gpu_s_encoder_takes_bins_too() -> None:
    double = Double()
    result = render_on(double, numbered_jpegs(12), bins=MEAN, family=NVENC)
    assert (result.frames, double.downloaded, double.sessions) == (4, 4, 0)


@pytest.mark.parametrize("frames", [numbered_jpegs(80), deep(80)], ids=["jpeg", "deep"])
def test_a_bin_larger_than_a_batch_is_never_gathered(frames: Objects) -> None:
    """It may have thousands of frames: they go through one by one, or by the CPU where only a whole bin makes sense."""
    toned = frames[0] is not None and frames[0][:2] == b"II"
    double, bins = Double(), Bins("mean", 40, 128, 96)
    result = same_as_by_the_cpu(double, frames, bins=bins, **({"tone": Tone(500, 3500)} if toned else {}))
    assert double.calls == ([] if toned else [32, 32, 16])
    assert result.fallbacks == {}
