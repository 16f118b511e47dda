"""Bins as a device shapes them, by the kernels' own references where there is no device, against the CPU path."""

from typing import Any

import numpy as np
import pytest
import torch

from service.pipeline import planes
from service.pipeline.bins import Binning, member_options
from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.cuda.batch import TensorImage, stacked
from service.pipeline.cuda.candidate import Candidate, Candidates
from service.pipeline.cuda.placing import Stored, shaped_bin
from service.pipeline.cuda.shaped import Shaper, to_planes
from service.pipeline.cuda.stage import frame_of_planes, nv12_of_frame
from service.pipeline.decode import ImageDecoder
from service.pipeline.picture import Picture
from service.pipeline.sources import MeasurePicture
from service.pipeline.transform import Transform
from service.pipeline.window import Window
from service.pipeline.work import Work
from service.plan.geometry import Bins
from service.plan.render_plan import FrameRef, RenderOptions
from service.plan.tone import Tone
from tests.pipeline.cuda.test_shaped import by_cpu, image_of, psnr, scene
from tests.pipeline.rendering import options
from tests.support import media

COUNT = 3
SIZES = {"as it is": (192, 128), "half": (96, 64), "any factor": (122, 82)}


def shifted(channels: Any = slice(None)) -> list[np.ndarray[Any, Any]]:
    """A scene that moves a little."""
    return [np.roll(scene(192, 128)[..., channels], 3 * number, 1) for number in range(COUNT)]


def binned(mode: Any, size: tuple[int, int], **changes: Any) -> RenderOptions:
    laid = size if mode == "mean" else (192, 128)
    return options(width=size[0], height=size[1], bins=Bins(mode, COUNT, *laid), **changes)


def laid_by_cpu(pictures: list[Picture], settings: RenderOptions, colour: Any) -> Work:
    assert settings.bins is not None
    measure = MeasurePicture(Transform(member_options(settings), colour))

    def one(ref: FrameRef) -> Work:
        work = Work(ref, picture=pictures[ref.index])
        measure(work)
        return work

    refs = [FrameRef(number, f"{number}") for number in range(COUNT)]
    return Binning(settings, settings.bins, colour, one).prepare(refs)


def both(data: list[bytes], settings: RenderOptions) -> tuple[Any, Any, Work]:
    """(the device's picture, its counts, the CPU's bin)."""
    candidates = [Candidates(settings, counts_itself=True).of(one) for one in data]
    images = [image_of(one, found) for one, found in zip(data, candidates, strict=True) if isinstance(found, Candidate)]
    assert len(images) == COUNT
    assert isinstance(candidates[0], Candidate)
    shaping = candidates[0].placed(in_bin=True).shaping
    packed, clipped = Shaper().shape(stacked(images), images[0].kind, shaping)
    assert len(packed) == 1
    to_planes(packed)
    window = Window(settings.tone.low, settings.tone.high) if settings.tone else None
    decoded = [ImageDecoder(10**8, window=window).decode(one) for one in data]
    return frame_of_planes(packed[0].numpy()), clipped, laid_by_cpu(decoded, settings, IMAGE_COLOUR)


def assert_alike(seen: Any, meant: Any) -> None:
    luma, *chroma = zip(planes.views(seen), planes.views(meant), strict=True)
    assert psnr(*luma) >= 45
    assert min(psnr(*pair) for pair in chroma) >= 38


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_means_of_jpegs(size: tuple[int, int]) -> None:
    frame, _, cpu = both([media.jpeg(pixels) for pixels in shifted()], binned("mean", size))
    assert_alike(frame, cpu.frame)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("mode", ["mean", "max"])
def test_gray_jpegs(mode: Any, size: tuple[int, int]) -> None:
    frame, _, cpu = both([media.jpeg(pixels) for pixels in shifted(0)], binned(mode, size))
    assert_alike(frame, cpu.frame)


def test_the_brightest_of_colours_is_not_the_device_s() -> None:
    found = Candidates(binned("max", (96, 64)), counts_itself=True).of(media.jpeg(scene(192, 128)))
    assert isinstance(found, Candidate)
    assert (found.bin, found.alone) == (None, True)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("mode", ["mean", "max"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_deep_frames_and_what_is_cut_off(dtype: str, mode: Any, size: tuple[int, int]) -> None:
    data = [media.tiff((pixels.astype(np.float64) * 13).astype(dtype)) for pixels in shifted(0)]
    frame, clipped, cpu = both(data, binned(mode, size, tone=Tone(300, 2900, 0.8, "viridis")))
    if size == SIZES["as it is"]:
        assert_alike(frame, cpu.frame)
    else:
        assert psnr(planes.views(frame)[0], planes.views(cpu.frame)[0]) >= 40, "cut off before or after the average"
    assert [tuple(map(int, row)) for row in clipped] == [cpu.clipped]


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("mode", ["mean", "max"])
def test_pictures_of_a_video(mode: Any, size: tuple[int, int]) -> None:
    settings = binned(mode, size, source_kind="video")
    frames = [by_cpu(media.jpeg(pixels), options(width=192, height=128)) for pixels in shifted()]
    images = [TensorImage(torch.from_numpy(nv12_of_frame(frame)), (192, 128), "nv12") for frame in frames]
    place = shaped_bin(settings, Stored((192, 128), 1))
    assert place is not None
    packed, _ = Shaper().shape(stacked(images), "nv12", place.shaping)
    to_planes(packed)
    cpu = laid_by_cpu([Picture(frame, "x") for frame in frames], settings, IMAGE_COLOUR)
    assert_alike(frame_of_planes(packed[0].numpy()), cpu.frame)
