"""What is planned of an image's header is what its decoder gives, and what the video shows, for every kind of image."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import av
import numpy as np
import pytest

from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import TIFF_MAGICS, DecodeOptions
from service.pipeline.images.tiff_directory import read_directories
from service.pipeline.probe import ImageFacts, probe_image, probe_tiff_page
from service.pipeline.segment import render_segment
from service.pipeline.tone.levels import LevelSampler
from service.plan.facts import DatasetFacts, RenderFacts, RenderLimits
from service.plan.formats import Codec
from service.plan.render_plan import FrameRef, RenderOptions, SegmentPlan
from service.plan.requests.planning import plan
from service.plan.requests.request import RenderRequest
from service.plan.tone import Levels, Tone
from tests.pipeline.images.image_kinds import KINDS, Array, ImageKind, refused_tiffs
from tests.pipeline.rendering import MemoryObjects
from tests.support.data import media

LIMITS = RenderLimits.model_construct(max_frames=1000, max_pixels=10_000_000, max_queued=20)


def probe(data: bytes) -> ImageFacts:
    if data.startswith(TIFF_MAGICS):
        return probe_tiff_page(next(iter(read_directories(io.BytesIO(data)))))
    return probe_image(data, len(data))


def measure(objects: Sequence[bytes]) -> Levels | None:
    """As a scan does: the samples of the deep frames, of gray ones if there are none."""
    facts = [(data, probe(data)) for data in objects]
    deep = [pair for pair in facts if pair[1].bit_depth > 8 or "samples" in (pair[1].pixel_format or "")]
    sampler = LevelSampler()
    for data, found in deep or [pair for pair in facts if pair[1].gray]:
        samples = ImageDecoder(DecodeOptions(10**7)).decode_samples(data)
        if samples is not None:
            sampler.add(samples, found.bit_depth)
    return sampler.levels()


def planned(objects: Sequence[bytes], codec: Codec, **request: Any) -> RenderOptions:
    facts = [probe(data) for data in objects]
    names = [found.pixel_format or "" for found in facts]
    dataset = DatasetFacts(
        UUID(int=2),
        UUID(int=1),
        "d",
        "frames",
        "bucket",
        frame_count=len(objects),
        width=facts[0].width,
        height=facts[0].height,
        pixel_formats={name: names.count(name) for name in names if name},
        levels=measure(objects),
    )
    wish = {"decimation_factor": 1, "fps": 30, "quality": 95} | request
    return plan(RenderRequest(UUID(int=1), codec=codec, **wish), RenderFacts(LIMITS, datasets=(dataset,))).options


def show(objects: Sequence[bytes], options: RenderOptions) -> Array:
    """(height, width, 3) of the first frame, as float levels."""
    store = MemoryObjects({str(k): data for k, data in enumerate(objects)})
    refs = tuple(FrameRef(k, str(k)) for k in range(len(objects)))
    result = render_segment(SegmentPlan(0, 0, "b", options, refs), store, store, FrameWatch())
    assert {report.outcome for report in result.reports} == {"ok"}, result.reports[0].reason
    with av.open(io.BytesIO(result.data)) as video:
        frame = next(video.decode(video=0))
        deep = frame.format.name in ("gray16le", "gbrp16le")
        found = frame.to_ndarray(format="rgb48le" if deep else "rgb24").astype(np.float64)
    return found / 257 if deep else found


def meant(shown: Array, tone: Tone | None) -> Array:
    """(height, width, 3) as float levels: the window's formula for deep samples, without one the high byte's."""
    levels = shown.astype(np.float64)
    if tone and shown.dtype != np.uint8:
        levels = ((levels - tone.low) / (tone.high - tone.low)).clip(0, 1) * 255
    elif shown.dtype == np.uint16:
        levels /= 257
    return np.dstack([levels] * 3) if levels.ndim == 2 else levels


def colour_of(kind: ImageKind) -> str:
    return "#" + bytes(kind.background).hex()


@pytest.mark.parametrize("name", KINDS)
def test_an_archive_keeps_what_is_meant(name: str) -> None:
    kind = KINDS[name]
    options = planned([kind.data], "ffv1", background=colour_of(kind))
    is_gray = kind.shown.ndim == 2
    assert options.form in (("gray", "gray16le", "yuv420p") if is_gray else ("bgr0", "gbrp16le"))
    assert probe(kind.data).bit_depth <= 8 or options.tone or options.form.endswith("16le")
    decoded = ImageDecoder(DecodeOptions.of_render(options)).decode(kind.data).frame
    assert decoded.format.name.startswith("gray") is is_gray
    found = show([kind.data], options)
    height, width = kind.shown.shape[:2]
    tolerance = 1.5 if options.form == "yuv420p" else 1.01
    assert np.abs(found[:height, :width] - meant(kind.shown, options.tone)).max() <= tolerance


@pytest.mark.parametrize("codec", ["mjpeg", "h264"])
@pytest.mark.parametrize("name", KINDS)
def test_lossy_codecs_show_the_same(name: str, codec: Codec) -> None:
    kind = KINDS[name]
    options = planned([kind.data], codec, background=colour_of(kind))
    assert codec == "h264" or (options.form == "gray") == (kind.shown.ndim == 2)
    height, width = kind.shown.shape[:2]
    error = np.abs(show([kind.data], options)[:height, :width] - meant(kind.shown, options.tone)).mean(axis=-1)
    smooth = not any(word in name for word in ("palette", "clear", "1 bit"))
    assert np.median(error) <= (3 if smooth else 12)
    assert np.percentile(error, 95) <= (8 if smooth else 60)


@pytest.mark.parametrize("name", refused_tiffs())
def test_what_cannot_be_shown_has_no_format_and_is_refused_by_name(name: str) -> None:
    data, word = refused_tiffs()[name]
    with contextlib.suppress(MediaUnreadable):  # the scan names some of these itself
        assert probe(data).pixel_format is None
    with pytest.raises(MediaUnreadable, match=word):
        ImageDecoder(DecodeOptions(10**7)).decode(data)


def noise(dtype: str) -> Array:
    """Edges everywhere: subsampled chroma would be 100 levels off."""
    levels = np.random.default_rng(3).integers(0, 256, (24, 32, 3))
    return (levels * (1 if np.dtype(dtype).kind != "f" else 1 / 255)).astype(dtype)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u2", "i2", "u4", "i4"])
@pytest.mark.parametrize("request_fields", [{}, {"decimation_factor": 2, "decimation_mode": "mean"}])
def test_edges_of_rgb_stay_sharp_in_an_archive(dtype: str, request_fields: dict[str, Any]) -> None:
    frames = [media.tiff(noise(dtype))] * 2
    options = planned(frames, "ffv1", **request_fields)
    assert options.form in ("bgr0", "gbrp16le")
    assert np.abs(show(frames, options) - meant(noise(dtype), options.tone)).max() <= 1


def test_gray_and_rgb_in_one_dataset() -> None:
    rgb, gray = noise("f4"), noise("f4")[..., 0]
    for frames, first in (([media.tiff(rgb), media.tiff(gray)], rgb), ([media.tiff(gray), media.tiff(rgb)], gray)):
        options = planned(frames, "ffv1")
        assert options.form == "bgr0"
        assert np.abs(show(frames, options) - meant(first, options.tone)).max() <= 1.6


def test_8_bit_rgb_beside_deep_frames_has_no_tone() -> None:
    colour = noise("u1")
    frames = [media.tiff(colour), media.tiff(noise("f4"))]
    options = planned(frames, "ffv1")
    assert options.form == "bgr0" and options.tone
    np.testing.assert_array_equal(show(frames, options), colour)


def test_rgb_samples_of_an_older_scan_are_known_by_their_levels() -> None:
    found = planned([media.tiff(noise("f4"))], "ffv1")
    facts = DatasetFacts(
        UUID(int=2),
        UUID(int=1),
        "d",
        "frames",
        "bucket",
        frame_count=1,
        width=32,
        height=24,
        pixel_formats={"32-bit samples": 1},
        levels=measure([media.tiff(noise("f4"))]),
    )
    request = RenderRequest(UUID(int=1), 1, fps=30, codec="ffv1")
    assert plan(request, RenderFacts(LIMITS, datasets=(facts,))).options.form == found.form == "bgr0"
