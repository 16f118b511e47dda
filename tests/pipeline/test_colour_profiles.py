"""Renders of pictures with colour profiles: what each codec, device and still shows, and what the receipt says."""

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from service.pipeline.encode.assemble import assemble
from service.pipeline.images.header import DecodeOptions
from service.pipeline.stills.artifacts import poster
from service.pipeline.stills.preview import PreviewOptions, image_preview
from service.plan.geometry import Bins
from service.plan.render_plan import FrameRef
from service.plan.tone import Tone
from tests.pipeline.cuda.rendering import render_on
from tests.pipeline.images.test_colour_conversion import ADOBE_WORDS, as_srgb
from tests.pipeline.images.test_stated_colours import exif_of
from tests.pipeline.rendering import MemoryObjects, decode_pictures, options, render
from tests.support.cuda_doubles.driver import DriverDouble
from tests.support.data import media
from tests.support.data.colour_profiles import GRAY_PROFILES, PROFILES, SRGB_PROFILES

ADOBE = PROFILES["Adobe"]
KEPT_WORDS = ("samples are kept as stored, in the profile 'Adobe RGB (1998)'",)
RED, GREEN = (200, 60, 50), (60, 170, 90)
SHOWN_RED = np.array([231, 57, 46])


def picture(colour: tuple[int, int, int] = RED) -> media.Pixels:
    return media.flat_picture(colour, 128, 96)


def mean_of(pixels: Any) -> Any:
    return np.asarray(pixels).reshape(-1, 3).mean(axis=0)


def split_jpegs(file: Any) -> list[bytes]:
    with av.open(file) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


FRAMES = {
    "jpeg": media.jpeg(picture(), icc_profile=ADOBE),
    "jpeg of a camera": media.jpeg(picture(), exif=exif_of(0xFFFF, "R03")),
    "png": media.png(picture(), icc_profile=ADOBE),
    "tiff": media.tiff(picture(), iccprofile=ADOBE),
}


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
@pytest.mark.parametrize("kind", FRAMES)
def test_videos_show_srgb(kind: str, codec: str) -> None:
    result = render([FRAMES[kind]] * 2, codec=codec, quality=90)
    for shown in decode_pictures(result.data):
        assert np.abs(mean_of(shown) - SHOWN_RED).max() <= 3
    assert [len(report.conversions) for report in result.reports] == [1, 1]
    assert "Adobe RGB (1998)" in result.reports[0].conversions[0]
    assert result.reports[0].outcome == "ok"


def test_16_bit_frames_are_converted_before_their_tone() -> None:
    deep = picture().astype(np.uint16) * 257
    result = render([media.tiff(deep, iccprofile=ADOBE)], tone=Tone(0, 65535, 1.0), quality=90)
    assert np.abs(mean_of(decode_pictures(result.data)[0]) - SHOWN_RED).max() <= 3
    assert result.reports[0].conversions == ADOBE_WORDS


@pytest.mark.parametrize("name", SRGB_PROFILES)
def test_a_render_of_srgb_profiles_has_the_same_bytes(name: str) -> None:
    images = [Image.fromarray(picture(colour)) for colour in (RED, GREEN)]
    if name == "gray":
        images = [image.convert("L") for image in images]

    def encode(image: Image.Image, **more: Any) -> bytes:
        return media._encode_picture(np.asarray(image), "JPEG", quality=90, **more)

    plain: list[bytes | None] = [encode(image) for image in images]
    told: list[bytes | None] = [encode(image, icc_profile=SRGB_PROFILES[name]) for image in images]
    assert render(told).data == render(plain).data


def test_a_bin_tells_of_all_its_members() -> None:
    frames: list[bytes | None] = [FRAMES["png"], media.png(picture(GREEN), icc_profile=PROFILES["Display P3"])]
    result = render(frames, bins=Bins("mean", 2, 128, 96), quality=90)
    expected = (SHOWN_RED + mean_of(as_srgb(picture(GREEN), PROFILES["Display P3"]))) / 2
    assert np.abs(mean_of(decode_pictures(result.data)[0]) - expected).max() <= 3
    assert len(result.reports[0].conversions) == 2


@pytest.mark.parametrize("container", ["avi", "mov", "mkv"])
def test_a_copied_jpeg_keeps_its_profile(container: str, tmp_path: Path) -> None:
    frames: list[bytes | None] = [FRAMES["jpeg"], media.jpeg(picture(GREEN))]
    settings: dict[str, Any] = {"codec": "mjpeg", "form": "yuvj420p"}
    result = render(frames, **settings)
    path = tmp_path / f"out.{container}"
    assemble(iter([result.data]), options(container=container, **settings), path)
    assert split_jpegs(str(path)) == frames
    with Image.open(io.BytesIO(split_jpegs(str(path))[0])) as copied:
        assert copied.info["icc_profile"] == ADOBE
    assert [report.decoder for report in result.reports] == ["copied", "copied"]
    assert [report.conversions for report in result.reports] == [KEPT_WORDS, ()]


@pytest.mark.parametrize("changes", [{"width": 64, "height": 48}, {"form": "yuvj444p"}])
def test_mjpeg_that_is_encoded_is_srgb(changes: dict[str, Any]) -> None:
    result = render([FRAMES["jpeg"]], codec="mjpeg", quality=95, **({"form": "yuvj420p"} | changes))
    (jpeg,) = split_jpegs(io.BytesIO(result.data))
    with Image.open(io.BytesIO(jpeg)) as encoded:
        assert "icc_profile" not in encoded.info
        assert np.abs(mean_of(encoded) - SHOWN_RED).max() <= 3
    assert result.reports[0].conversions == ADOBE_WORDS


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (FRAMES["png"], "bgr0"),
        (FRAMES["tiff"], "bgr0"),
        (media.tiff(picture().astype(np.uint16) * 257, iccprofile=ADOBE), "gbrp16le"),
    ],
)
def test_ffv1_keeps_what_is_stored_and_says_its_profile(data: bytes, form: str) -> None:
    result = render([data], codec="ffv1", form=form)
    difference = np.abs(decode_pictures(result.data)[0].astype(int) - picture()).max()
    assert difference <= (1 if form == "gbrp16le" else 0)
    assert result.reports[0].conversions == KEPT_WORDS


def test_ffv1_keeps_the_samples_of_a_jpeg() -> None:
    plain, told = (
        render([media.jpeg(picture(), icc_profile=one)], codec="ffv1", form="yuvj420p") for one in (None, ADOBE)
    )
    assert told.data == plain.data
    assert (told.reports[0].conversions, plain.reports[0].conversions) == (KEPT_WORDS, ())


def test_ffv1_with_a_tone_shows_srgb() -> None:
    """A tone makes levels of a screen of samples: nothing is kept as it is."""
    deep = picture().astype(np.uint16) * 257
    result = render([media.tiff(deep, iccprofile=ADOBE)], codec="ffv1", form="bgr0", tone=Tone(0, 65535, 1.0))
    assert np.abs(mean_of(decode_pictures(result.data)[0]) - SHOWN_RED).max() <= 1
    assert result.reports[0].conversions == ADOBE_WORDS


@pytest.mark.parametrize("kind", FRAMES)
def test_previews_show_srgb(kind: str) -> None:
    objects = MemoryObjects({"a": FRAMES[kind]})
    preview = image_preview(FrameRef(0, "a"), objects, objects, PreviewOptions(64, 1_000_000))
    with Image.open(io.BytesIO(preview)) as image:
        assert np.abs(mean_of(image) - SHOWN_RED).max() <= 3


@pytest.mark.parametrize("kind", ["jpeg", "jpeg of a camera"])
def test_stills_of_copied_jpegs_show_srgb(kind: str) -> None:
    result = render([FRAMES[kind]] * 2, codec="mjpeg", form="yuvj420p", outputs=("preview_strip", "keogram"))
    assert result.reports[0].decoder == "copied"
    for still in (*result.artifacts.values(), poster(result.data)):
        with Image.open(io.BytesIO(still)) as image:
            assert np.abs(mean_of(image.convert("RGB")) - SHOWN_RED).max() <= 4


def test_stills_of_copied_gray_jpegs_show_srgb() -> None:
    data = media._encode_picture(picture()[..., 0], "JPEG", quality=95, icc_profile=GRAY_PROFILES["linear"])
    result = render([data] * 2, codec="mjpeg", form="gray", outputs=("preview_strip", "keogram"))
    for still in (*result.artifacts.values(), poster(result.data)):
        with Image.open(io.BytesIO(still)) as image:
            assert np.abs(mean_of(image.convert("RGB")) - 229).max() <= 2


@pytest.mark.parametrize("kind", ["jpeg", "jpeg of a camera", "png"])
def test_a_device_leaves_profiles_to_the_cpu(kind: str) -> None:
    double = DriverDouble()
    ours, theirs = render_on(double, [FRAMES[kind]] * 3), render([FRAMES[kind]] * 3)
    assert ours.data == theirs.data
    assert [report.conversions for report in ours.reports] == [report.conversions for report in theirs.reports]
    assert double.decode_count == 0
    if kind != "png":
        assert ours.fallbacks == {("decode", "unsupported"): 3}
        assert ours.reports[0].fallback == "decode: its colours are converted from a profile, which the CPU does"


def test_a_device_tells_of_profiles_that_need_no_conversion_there() -> None:
    """sRGB and damaged profiles are decoded on the device; TIFF is decoded, and converted, before it is uploaded."""
    damaged = media.jpeg(picture(), icc_profile=b"no profile" * 50)
    frames: list[bytes | None] = [media.jpeg(picture(), icc_profile=SRGB_PROFILES["v2"]), damaged, FRAMES["tiff"]]
    double = DriverDouble()
    ours, theirs = render_on(double, frames), render(frames)
    assert ours.data == theirs.data
    assert [report.conversions for report in ours.reports] == [report.conversions for report in theirs.reports]
    assert [bool(report.conversions) for report in ours.reports] == [False, True, True]
    assert double.decode_count == 2
    assert ours.fallbacks == {}
    assert [report.decoder for report in ours.reports] == ["cuda-nvjpeg", "cuda-nvjpeg", "cuda-tifffile"]


def test_renders_keep_colours_only_for_archives() -> None:
    tone = Tone(0, 255, 1.0)
    assert DecodeOptions.of_render(options(codec="ffv1")).keep_colours
    assert not DecodeOptions.of_render(options(codec="ffv1", tone=tone)).keep_colours
    assert not DecodeOptions.of_render(options(codec="mjpeg")).keep_colours
