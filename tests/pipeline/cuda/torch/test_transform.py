"""Transforms of the device, with the kernels' references if there is no device, against the CPU path."""

import io
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from service.pipeline import planes
from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.cuda.device_frame import frame_to_nv12, i420_to_frame
from service.pipeline.cuda.eligibility import Candidate, CandidateSelector
from service.pipeline.cuda.torch.memory import TensorImage, stack_images
from service.pipeline.cuda.torch.transform import KernelTransformer, nv12_to_i420
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.pipeline.tone.window import Window
from service.pipeline.transform.frame_transform import FrameTransform
from service.plan.geometry import Crop
from service.plan.render_plan import RenderOptions
from service.plan.tone import Tone
from tests.pipeline.rendering import options
from tests.support.data import media

Planes = np.ndarray[Any, Any]


def scene(width: int, height: int) -> Planes:
    """Smooth colours with some edges, as from a camera: parity is promised for pictures, not for noise."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 17 + channel) + np.cos(y / 23 - channel) for channel in range(3)]
    pixels = np.stack([127 + 60 * wave for wave in waves], -1)
    pixels[height // 4 : height // 2, width // 3 : width // 2] = (200, 60, 90)
    return pixels.clip(0, 255).astype(np.uint8)


def psnr(actual: Planes, expected: Planes) -> float:
    error = np.square(actual.astype(float) - expected.astype(float)).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def transform_on_cpu(data: bytes, settings: RenderOptions) -> Any:
    window = Window(settings.tone.low, settings.tone.high) if settings.tone else None
    picture = ImageDecoder(DecodeOptions(settings.max_pixels, window=window)).decode(data)
    return FrameTransform(settings, IMAGE_COLOUR).apply(picture)[0]


def to_device_image(data: bytes, candidate: Candidate) -> TensorImage:
    """The decoded image as the device would have it."""
    if candidate.samples is not None:
        tensor = torch.from_numpy(candidate.samples.astype(candidate.samples.dtype.newbyteorder("=")))
        tensor = tensor.permute(2, 0, 1) if tensor.ndim == 3 else tensor
        return TensorImage(tensor, candidate.size, "gray" if tensor.ndim == 2 else "rgb")
    frame = ImageDecoder(DecodeOptions(10**8)).decode(data).frame
    if candidate.channels == 1:
        return TensorImage(torch.from_numpy(frame.to_ndarray(format="gray").copy()), candidate.size, "gray")
    rgb = torch.from_numpy(np.array(PIL.Image.open(io.BytesIO(data)).convert("RGB")))  # libjpeg-turbo's conversion
    return TensorImage(rgb.permute(2, 0, 1).contiguous(), candidate.size, "rgb")


def transform_on_device(data: bytes, settings: RenderOptions) -> tuple[Any, Any]:
    candidate = CandidateSelector(settings, device_counts_clipped=True).select(data)
    assert isinstance(candidate, Candidate)
    image = to_device_image(data, candidate)
    packed, clipped = KernelTransformer().transform(stack_images([image, image]), image.kind, candidate.transform.spec)
    nv12_to_i420(packed)
    return i420_to_frame(packed[1].numpy()), clipped


SHAPES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "half": {"width": 96, "height": 64},
    "any factor": {"width": 122, "height": 82},
    "padded": {"width": 96, "height": 96},
    "padded beside": {"width": 160, "height": 64},
    "stretched": {"width": 64, "height": 96, "mismatch": "scale"},
    "turned": {"width": 128, "height": 192, "rotate": 90},
    "turned back, half": {"width": 64, "height": 96, "rotate": 270},
    "cropped": {"width": 80, "height": 60, "crop": Crop(11, 21, 80, 60, 192, 128)},
    "cropped and over": {"width": 40, "height": 30, "rotate": 180, "crop": Crop(10, 20, 80, 60, 192, 128)},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_parity_with_the_cpu(shape: str) -> None:
    settings = options(**({"width": 192, "height": 128} | SHAPES[shape]))
    data = media.jpeg(scene(192, 128))
    frame, _ = transform_on_device(data, settings)
    cpu = transform_on_cpu(data, settings)
    assert (frame.width, frame.height) == (settings.width, settings.height)
    luma, *chroma = zip(planes.plane_views(frame), planes.plane_views(cpu), strict=True)
    assert psnr(*luma) >= 45
    assert min(psnr(*pair) for pair in chroma) >= 38


def test_what_is_beside_a_padded_picture_is_black() -> None:
    frame, _ = transform_on_device(media.jpeg(scene(192, 128)), options(width=96, height=96))
    luma, blue, red = planes.plane_views(frame)
    assert set(luma[:16].ravel()) | set(luma[-16:].ravel()) == {16}
    assert set(blue[:8].ravel()) | set(red[-8:].ravel()) == {128}


@pytest.mark.parametrize("size", [(191, 127), (190, 127), (191, 128)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    settings = options(width=192 if size[0] > 190 else 190, height=128)
    data = media.jpeg(scene(*size))
    frame, _ = transform_on_device(data, settings)
    assert psnr(planes.plane_views(frame)[0], planes.plane_views(transform_on_cpu(data, settings))[0]) >= 45


def test_a_gray_jpeg() -> None:
    data = media.jpeg(scene(192, 128)[..., 0])
    settings = options(width=96, height=64)
    frame, _ = transform_on_device(data, settings)
    assert psnr(planes.plane_views(frame)[0], planes.plane_views(transform_on_cpu(data, settings))[0]) >= 45
    assert {int(level) for plane in planes.plane_views(frame)[1:] for level in np.unique(plane)} == {128}


@pytest.mark.parametrize("dtype", ["uint16", ">u2", "float32"])
@pytest.mark.parametrize("colormap", ["gray", "viridis"])
@pytest.mark.parametrize("inverse", [False, True])
def test_deep_frames_at_their_own_size(dtype: str, colormap: Any, inverse: bool) -> None:
    samples = (scene(192, 128)[..., 0].astype(np.float64) * 13).astype(dtype)
    data = media.tiff(samples)
    settings = options(width=192, height=128, tone=Tone(300, 2900, 0.8, colormap, inverse))
    frame, clipped = transform_on_device(data, settings)
    cpu = transform_on_cpu(data, settings)
    assert psnr(planes.plane_views(frame)[0], planes.plane_views(cpu)[0]) >= 45
    counts = Window(300, 2900).count_clipped(samples)
    assert [tuple(map(int, row)) for row in clipped] == [tuple(counts)] * 2


@pytest.mark.parametrize("size", [(96, 64), (122, 82)])
def test_deep_frames_made_smaller(size: tuple[int, int]) -> None:
    """Averaged in their own unit, before gamma and colormap, as on the CPU."""
    samples = (scene(192, 128)[..., 0].astype(np.uint16) * 13).clip(300, 2900)
    settings = options(width=size[0], height=size[1], tone=Tone(300, 2900, 0.5, "viridis"))
    data = media.tiff(samples)
    frame, _ = transform_on_device(data, settings)
    assert psnr(planes.plane_views(frame)[0], planes.plane_views(transform_on_cpu(data, settings))[0]) >= 45


def test_deep_colours() -> None:
    samples = scene(192, 128).astype(np.uint16) * 13
    settings = options(width=192, height=128, tone=Tone(300, 2900, 0.8))
    data = media.tiff(samples)
    frame, _ = transform_on_device(data, settings)
    assert psnr(planes.plane_views(frame)[0], planes.plane_views(transform_on_cpu(data, settings))[0]) >= 45


def test_video_pictures_keep_their_levels() -> None:
    frame = transform_on_cpu(media.jpeg(scene(192, 128)), options(width=192, height=128))
    image = TensorImage(torch.from_numpy(frame_to_nv12(frame)), (192, 128), "nv12")
    candidate = CandidateSelector(options(width=192, height=128), True).select(media.jpeg(scene(192, 128)))
    assert isinstance(candidate, Candidate)
    packed, _ = KernelTransformer().transform(stack_images([image]), "nv12", candidate.transform.spec)
    nv12_to_i420(packed)
    again = i420_to_frame(packed[0].numpy())
    for actual, expected in zip(planes.plane_views(again), planes.plane_views(frame), strict=True):
        assert np.array_equal(actual, expected)


def test_a_block_that_was_uploaded_together_is_not_copied() -> None:
    block = torch.zeros((3, 4, 6), dtype=torch.uint16)
    images = [TensorImage(one, (6, 4), "gray", block, place) for place, one in enumerate(block)]
    assert stack_images(images) is block
    assert stack_images(images[::-1]) is not block, "the order of the images counts"
    assert stack_images(images[1:]).shape == (2, 4, 6)
    assert stack_images(images[1:]).dtype == torch.uint16
