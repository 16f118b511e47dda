"""Bins of high-bit-depth frames: raw samples are reduced before the tone, as in the kernels; faults are reported."""

from typing import Any

import numpy as np
import pytest

from service.pipeline.frames import SegmentResult
from service.pipeline.tone.colormaps import colormap
from service.plan.geometry import Bins, Crop
from service.plan.tone import Colormap, Tone
from tests.pipeline.rendering import decode_pictures, render
from tests.support.data import media

Array = np.ndarray[Any, Any]
SIZE = (96, 128)


def bins(mode: Any, size: int) -> Bins:
    return Bins(mode, size, 128, 96)


def flat_tiff(value: float, dtype: Any = np.uint16) -> bytes:
    return media.tiff(np.full(SIZE, value, dtype))


def centre_levels(result: SegmentResult) -> list[int]:
    return [int(picture[48, 64, 0]) for picture in decode_pictures(result.data)]


def render_lossless(frames: list[bytes | None], **changes: Any) -> SegmentResult:
    return render(frames, codec="ffv1", container="mkv", form="yuv420p", corrupt="fail", **changes)


def decode_planes(result: SegmentResult) -> list[list[Array]]:
    """Y, Cb and Cr of each frame of a lossless render."""
    import io

    import av

    from service.pipeline.planes import plane_view

    with av.open(io.BytesIO(result.data)) as container:
        return [[plane_view(plane).astype(int) for plane in frame.planes] for frame in container.decode(video=0)]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_means_are_of_what_was_measured_before_gamma(dtype: Any) -> None:
    """Alternating dark and bright frames average to one half: level 180 with gamma 0.5, not 128, the mean of the levels."""
    blinking: list[bytes | None] = [flat_tiff(0, dtype), flat_tiff(1000, dtype)]
    result = render(blinking, bins=bins("mean", 2), tone=Tone(0, 1000, 0.5), quality=95)
    assert centre_levels(result) == pytest.approx([180], abs=2)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_means_are_taken_before_the_window(dtype: Any) -> None:
    """Noise around the window's limit is not clipped before averaging, and only clipped means are counted."""
    noisy: list[bytes | None] = [flat_tiff(value, dtype) for value in (0, 200, 400, 600)]
    result = render(noisy, bins=bins("mean", 2), tone=Tone(100, 300), quality=95)
    assert centre_levels(result) == pytest.approx([0, 255], abs=1)
    assert [report.clipped for report in result.reports] == [(0, 0, 0), (0, SIZE[0] * SIZE[1], 0)]


def test_a_mean_is_not_rounded_to_whole_samples() -> None:
    """In a window of four values, 16 dithered frames give 16 times as many levels."""
    frames: list[bytes | None] = [flat_tiff(1001 + (number < 4)) for number in range(16)]
    result = render(frames, bins=bins("mean", 16), tone=Tone(1000, 1004), quality=95)
    assert centre_levels(result) == pytest.approx([round(255 * 1.25 / 4)], abs=2)


def test_the_maximum_is_of_what_was_measured() -> None:
    """With an inverted tone the brightest sample has the darkest level; a maximum of levels would give the other frame."""
    result = render([flat_tiff(100), flat_tiff(900)], bins=bins("max", 2), tone=Tone(0, 1000, inverse=True), quality=95)
    assert centre_levels(result) == pytest.approx([26], abs=2)


@pytest.mark.parametrize("colour", ["gray", "viridis"])
@pytest.mark.parametrize("mode", ["mean", "max"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_the_kernels_reference_shows_the_same(mode: Any, colour: Colormap, dtype: Any) -> None:
    import torch

    from kernels.geometry import Geometry
    from kernels.temporal import Bins as KernelBins
    from kernels.tone import Curve, tone

    random = np.random.default_rng(5)
    frames = [random.integers(0, 4096, SIZE).astype(dtype) for _ in range(5)]
    lut = None if colour == "gray" else torch.from_numpy(colormap(colour).copy())
    expected = tone(
        torch.from_numpy(np.stack(frames)), Geometry((48, 64)), Curve(300, 3500, 0.7, lut), bins=KernelBins(3, mode)
    )
    files: list[bytes | None] = [media.tiff(frame) for frame in frames]
    rendered = render_lossless(files, bins=bins(mode, 3), tone=Tone(300, 3500, 0.7, colour), width=64, height=48)
    for number, (luma, blue, red) in enumerate(decode_planes(rendered)):
        assert np.abs(luma - expected.picture.luma[number].numpy()).max() <= 2
        for plane, channel in ((blue, 0), (red, 1)):
            assert np.abs(plane - expected.picture.chroma[number, ..., channel].numpy()).max() <= 2
    assert [list(report.clipped or ()) for report in rendered.reports] == expected.clipped.tolist()


@pytest.mark.parametrize("mode", ["mean", "max"])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("shape", ["whole", "half", "crop", "colour"])
def test_a_bin_of_one_picture_is_that_picture(mode: Any, dtype: Any, shape: str) -> None:
    ramp = np.add.outer(np.arange(96) * 16, np.arange(128) * 9).astype(dtype)
    frame = np.dstack([ramp, ramp // 2, ramp // 3]) if shape == "colour" else ramp
    data = media.tiff(frame, extratags=[(274, 3, 1, 6, True)])
    of: dict[str, Any] = {
        "crop": {"crop": Crop(8, 10, 64, 100, 96, 128), "rotate": 90, "width": 100, "height": 64},
        "half": {"width": 48, "height": 64},
        "colour": {"width": 48, "height": 64},
    }.get(shape, {"width": 96, "height": 128})
    options = {"tone": Tone(100, 2000, 0.8), "mismatch": "fail"} | of
    native = Bins(mode, 3, *((100, 64) if shape == "crop" else (96, 128)))
    one = decode_planes(render_lossless([data], **options))[0]
    binned = decode_planes(render_lossless([data] * 3, bins=native, **options))[0]
    assert max(int(np.abs(a - b).max()) for a, b in zip(one, binned, strict=True)) <= 1


def test_frames_of_several_kinds_are_shown_first_and_then_averaged() -> None:
    small = media.tiff(np.full((48, 64), 1000, np.uint16))
    photo = media.jpeg(media.flat_picture((0, 0, 0), 128, 96))
    result = render(
        [flat_tiff(0), flat_tiff(1000), small, photo],
        bins=bins("mean", 4),
        tone=Tone(0, 1000),
        quality=95,
        corrupt="fail",
    )
    assert centre_levels(result) == pytest.approx([128], abs=2)
    assert result.reports[0].outcome == "ok"


def test_a_sample_that_is_no_number_makes_none_and_is_counted() -> None:
    lost = np.full(SIZE, 500, np.float32)
    lost[:, 0] = np.nan
    result = render(
        [media.tiff(lost), flat_tiff(500, np.float32)], bins=bins("mean", 2), tone=Tone(0, 1000), quality=95
    )
    assert centre_levels(result) == pytest.approx([128], abs=2)
    assert result.reports[0].clipped == (0, 0, 96)


def test_members_of_another_shape_are_named_or_refused() -> None:
    from service.pipeline.frames import RenderFailed

    wide = media.tiff(np.full((48, 200), 1000, np.uint16))
    frames = [flat_tiff(1000), flat_tiff(1000), wide]
    result = render(frames, bins=bins("mean", 3), tone=Tone(0, 1000), mismatch="pad")
    assert [member.outcome for member in result.reports[0].members or ()] == ["ok", "ok", "resized"]
    with pytest.raises(RenderFailed) as caught:
        render(frames, bins=bins("mean", 3), tone=Tone(0, 1000), mismatch="fail")
    assert caught.value.frame_index == 2


def test_colour_is_averaged_over_its_area_before_gamma() -> None:
    board = np.indices(SIZE).sum(0) % 2 * 65535
    frame = np.dstack([board, board, board]).astype(np.uint16)
    result = render([media.tiff(frame)], tone=Tone(0, 65535, 0.5), width=64, height=48, quality=95)
    assert abs(int(decode_pictures(result.data)[0][24, 32, 0]) - 180) <= 2


def test_the_same_members_give_the_same_bytes() -> None:
    random = np.random.default_rng(1)
    frames: list[bytes | None] = [media.tiff(random.integers(0, 65536, SIZE, np.uint16)) for _ in range(6)]
    rendered = {render(frames, bins=bins("mean", 3), tone=Tone(9, 50_000, 0.8, "turbo")).data for _ in range(2)}
    assert len(rendered) == 1
