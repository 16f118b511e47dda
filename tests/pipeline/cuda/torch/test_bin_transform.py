"""Bins as a device transforms them, with the kernels' references if there is no device, against the CPU path."""

from typing import Any

import numpy as np
import pytest
import torch

from service.pipeline import planes
from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.composites.bins import Binning, member_options
from service.pipeline.cuda.device_frame import frame_to_nv12, i420_to_frame
from service.pipeline.cuda.eligibility import Candidate, CandidateSelector
from service.pipeline.cuda.geometry import SourceGeometry, plan_bin_transform
from service.pipeline.cuda.torch.memory import TensorImage, stack_images
from service.pipeline.cuda.torch.transform import KernelTransformer, nv12_to_i420
from service.pipeline.frame_context import FrameContext
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.pipeline.picture import Picture
from service.pipeline.stages import RawSampleStage
from service.pipeline.tone.window import Window
from service.pipeline.transform.frame_transform import FrameTransform
from service.plan.geometry import Bins
from service.plan.render_plan import FrameRef, RenderOptions
from service.plan.tone import Tone
from tests.pipeline.cuda.torch.test_transform import psnr, scene, to_device_image, transform_on_cpu
from tests.pipeline.rendering import options
from tests.support.data import media

COUNT = 3
SIZES = {"as it is": (192, 128), "half": (96, 64), "any factor": (122, 82)}


def shifted_scenes(channels: Any = slice(None)) -> list[np.ndarray[Any, Any]]:
    """Scenes shifted by a few pixels."""
    return [np.roll(scene(192, 128)[..., channels], 3 * number, 1) for number in range(COUNT)]


def bin_options(mode: Any, size: tuple[int, int], **changes: Any) -> RenderOptions:
    canvas = size if mode == "mean" else (192, 128)
    return options(width=size[0], height=size[1], bins=Bins(mode, COUNT, *canvas), **changes)


def merge_on_cpu(pictures: list[Picture], settings: RenderOptions, colour: Any) -> FrameContext:
    assert settings.bins is not None
    measure = RawSampleStage(FrameTransform(member_options(settings), colour))

    def one(ref: FrameRef) -> FrameContext:
        work = FrameContext(ref, picture=pictures[ref.index])
        measure(work)
        return work

    refs = [FrameRef(number, f"{number}") for number in range(COUNT)]
    return Binning(settings, settings.bins, colour, one).render_bin(refs)


def transform_bin_on_both(data: list[bytes], settings: RenderOptions) -> tuple[Any, Any, FrameContext]:
    """(picture of the device, its counts, bin of the CPU path)."""
    candidates = [CandidateSelector(settings, device_counts_clipped=True).select(one) for one in data]
    images = [
        to_device_image(one, found) for one, found in zip(data, candidates, strict=True) if isinstance(found, Candidate)
    ]
    assert len(images) == COUNT
    assert isinstance(candidates[0], Candidate)
    spec = candidates[0].transform_for(in_bin=True).spec
    packed, clipped = KernelTransformer().transform(stack_images(images), images[0].kind, spec)
    assert len(packed) == 1
    nv12_to_i420(packed)
    window = Window(settings.tone.low, settings.tone.high) if settings.tone else None
    decoded = [ImageDecoder(DecodeOptions(10**8, window=window)).decode(one) for one in data]
    return i420_to_frame(packed[0].numpy()), clipped, merge_on_cpu(decoded, settings, IMAGE_COLOUR)


def assert_alike(actual: Any, expected: Any) -> None:
    luma, *chroma = zip(planes.plane_views(actual), planes.plane_views(expected), strict=True)
    assert psnr(*luma) >= 45
    assert min(psnr(*pair) for pair in chroma) >= 38


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_means_of_jpegs(size: tuple[int, int]) -> None:
    frame, _, cpu = transform_bin_on_both(
        [media.jpeg(pixels) for pixels in shifted_scenes()], bin_options("mean", size)
    )
    assert_alike(frame, cpu.frame)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("mode", ["mean", "max"])
def test_gray_jpegs(mode: Any, size: tuple[int, int]) -> None:
    frame, _, cpu = transform_bin_on_both([media.jpeg(pixels) for pixels in shifted_scenes(0)], bin_options(mode, size))
    assert_alike(frame, cpu.frame)


def test_the_brightest_of_colours_is_not_the_device_s() -> None:
    found = CandidateSelector(bin_options("max", (96, 64)), device_counts_clipped=True).select(
        media.jpeg(scene(192, 128))
    )
    assert isinstance(found, Candidate)
    assert (found.bin_transform, found.allowed_unbinned) == (None, True)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("mode", ["mean", "max"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_deep_frames_and_what_is_cut_off(dtype: str, mode: Any, size: tuple[int, int]) -> None:
    data = [media.tiff((pixels.astype(np.float64) * 13).astype(dtype)) for pixels in shifted_scenes(0)]
    frame, clipped, cpu = transform_bin_on_both(data, bin_options(mode, size, tone=Tone(300, 2900, 0.8, "viridis")))
    if size == SIZES["as it is"]:
        assert_alike(frame, cpu.frame)
    else:
        assert psnr(planes.plane_views(frame)[0], planes.plane_views(cpu.frame)[0]) >= 40, (
            "cut off before or after the average"
        )
    assert [tuple(map(int, row)) for row in clipped] == [cpu.clip_counts]


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("mode", ["mean", "max"])
def test_pictures_of_a_video(mode: Any, size: tuple[int, int]) -> None:
    settings = bin_options(mode, size, source_kind="video")
    frames = [transform_on_cpu(media.jpeg(pixels), options(width=192, height=128)) for pixels in shifted_scenes()]
    images = [TensorImage(torch.from_numpy(frame_to_nv12(frame)), (192, 128), "nv12") for frame in frames]
    plan = plan_bin_transform(settings, SourceGeometry((192, 128), 1))
    assert plan is not None
    packed, _ = KernelTransformer().transform(stack_images(images), "nv12", plan.spec)
    nv12_to_i420(packed)
    cpu = merge_on_cpu([Picture(frame, "x") for frame in frames], settings, IMAGE_COLOUR)
    assert_alike(i420_to_frame(packed[0].numpy()), cpu.frame)
