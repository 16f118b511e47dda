"""Pictures with a colour profile show the colours that Pillow's ImageCms finds for it, relative colorimetric."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.pipeline.images.tiff_stack import TiffStack
from service.pipeline.picture import Picture, samples_view
from service.pipeline.tone.window import Window
from tests.pipeline.images.sample_images import (
    Array,
    composite_over,
    encode_tiff,
    encode_with_pillow,
    gray,
    rgb,
)
from tests.support.data import colour_profiles, media
from tests.support.data.colour_profiles import GRAY_PROFILES, PROFILES, SRGB_PROFILES

ADOBE = PROFILES["Adobe"]
ADOBE_WORDS = ("colours converted from the profile 'Adobe RGB (1998)' to sRGB",)


def decode(data: bytes, **options: Any) -> Picture:
    return ImageDecoder(DecodeOptions(10_000_000, **options)).decode(data)


def pixels_of(picture: Picture) -> Array:
    samples = samples_view(picture.frame)
    assert samples is not None, "a converted picture is gray or RGB"
    return samples


def as_srgb(pixels: Array, profile: bytes) -> Array:
    """What ImageCms makes of 8-bit gray or RGB pixels; its tables for gray are 10 levels off in the dark, so without."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    intent, target = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.createProfile("sRGB")
    flags = ImageCms.Flags.NONE if pixels.ndim == 3 else ImageCms.Flags.NOOPTIMIZE
    shown = ImageCms.profileToProfile(
        Image.fromarray(pixels), source, target, renderingIntent=intent, outputMode="RGB", flags=flags
    )
    assert shown is not None
    found = np.asarray(shown)
    return found if pixels.ndim == 3 else found[..., 1]


def difference(found: Array, expected: Array) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found.astype(np.float64) - expected).max())


LOSSLESS = {
    "png": lambda pixels, profile: encode_with_pillow(Image.fromarray(pixels), "PNG", icc_profile=profile),
    "tiff": lambda pixels, profile: encode_tiff(pixels, iccprofile=profile),
    "tiff tiles": lambda pixels, profile: encode_tiff(pixels, iccprofile=profile, tile=(32, 48), compression="deflate"),
    "tiff lzw big-endian": lambda pixels, profile: encode_tiff(
        pixels, iccprofile=profile, compression="lzw", byteorder=">"
    ),
}


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("kind", [*LOSSLESS, "webp"])
def test_colour(kind: str, name: str) -> None:
    profile = PROFILES[name]
    lossless_webp = {"lossless": True, "icc_profile": profile}
    if kind == "webp":
        picture = decode(encode_with_pillow(Image.fromarray(rgb()), "WEBP", **lossless_webp))
    else:
        picture = decode(LOSSLESS[kind](rgb(), profile))
    assert difference(pixels_of(picture), as_srgb(rgb(), profile)) <= 1
    assert len(picture.conversions) == 1
    assert picture.conversions[0].startswith("colours converted from the profile '")


@pytest.mark.parametrize("name", GRAY_PROFILES)
@pytest.mark.parametrize("kind", LOSSLESS)
def test_gray(kind: str, name: str) -> None:
    expected = as_srgb(gray(), GRAY_PROFILES[name])
    assert difference(pixels_of(decode(LOSSLESS[kind](gray(), GRAY_PROFILES[name]))), expected) <= 1


@pytest.mark.parametrize("options", [{"subsampling": name} for name in ("4:4:4", "4:2:2", "4:2:0")] + [{}])
@pytest.mark.parametrize("name", ["Adobe", "Display P3"])
def test_lossy_pictures_are_converted_after_decoding(name: str, options: dict[str, str]) -> None:
    """JPEG, and WebP without options: the decoders differ by a level or two, which a curve's steep part triples."""
    profile, kind = PROFILES[name], "JPEG" if options else "WEBP"
    data = encode_with_pillow(Image.fromarray(rgb()), kind, quality=95, icc_profile=profile, **options)
    expected = as_srgb(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), profile)
    found = pixels_of(decode(data))
    assert np.percentile(np.abs(found.astype(int) - expected), 99) <= 3
    flat = encode_with_pillow(
        Image.fromarray(media.flat_picture((200, 60, 50))), kind, quality=95, icc_profile=profile, **options
    )
    expected = as_srgb(np.asarray(Image.open(io.BytesIO(flat)).convert("RGB")), profile)
    assert difference(pixels_of(decode(flat)), expected) <= 1


def test_a_gray_jpeg() -> None:
    data = encode_with_pillow(Image.fromarray(gray()), "JPEG", quality=95, icc_profile=GRAY_PROFILES["gamma 1.8"])
    expected = as_srgb(np.asarray(Image.open(io.BytesIO(data))), GRAY_PROFILES["gamma 1.8"])
    assert difference(pixels_of(decode(data)), expected) <= 2


def test_flat_adobe_red_is_what_the_standard_computes() -> None:
    red = media.flat_picture((200, 60, 50))
    by_formula = colour_profiles.to_srgb(red / 255, colour_profiles.ADOBE, colour_profiles.ADOBE_GAMMA) * 255
    found = pixels_of(decode(LOSSLESS["png"](red, ADOBE)))
    assert difference(found, by_formula) <= 1
    assert found[0, 0].tolist() == [231, 57, 46]


@pytest.mark.parametrize(
    ("name", "primaries", "exponent"),
    [("Adobe", colour_profiles.ADOBE, colour_profiles.ADOBE_GAMMA), ("ProPhoto", colour_profiles.PROPHOTO, 461 / 256)],
)
def test_16_bit_colour_is_converted_with_16_bits(name: str, primaries: Any, exponent: float) -> None:
    y, x = np.mgrid[0:40, 0:60].astype(np.float64)
    deep = np.dstack([9000 + 700 * x + 11 * y, 12000 + 800 * y + 37 * x, 30000 + 90 * x]).astype(np.uint16)
    expected = colour_profiles.to_srgb(deep / 65535, primaries, exponent) * 65535
    for data in (
        encode_tiff(deep, iccprofile=PROFILES[name]),
        encode_tiff(deep, iccprofile=PROFILES[name], byteorder=">", compression="deflate"),
    ):
        for found in (pixels_of(decode(data)), ImageDecoder(DecodeOptions(10_000_000)).decode_samples(data)):
            assert found is not None
            assert found.dtype.itemsize == 2
            assert difference(found, expected) <= 60
            assert len(np.unique(found)) > 3000


def test_16_bit_gray_is_converted_with_16_bits() -> None:
    deep = np.arange(60 * 80, dtype=np.uint16).reshape(60, 80) * 13
    light = (deep / 65535) ** 2.2
    expected = 65535 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    found = pixels_of(decode(encode_tiff(deep, iccprofile=GRAY_PROFILES["gamma 2.2"])))
    assert difference(found, expected) <= 60
    assert len(np.unique(found)) > 4000


DEEP = rgb().astype(np.uint16) * 257
CLEAR = np.full_like(gray(), 65535, np.uint16)
LAYOUTS = {
    "tiff planes": lambda: encode_tiff(np.moveaxis(rgb(), -1, 0), planarconfig="separate", iccprofile=ADOBE),
    "bigtiff": lambda: encode_tiff(rgb(), bigtiff=True, iccprofile=ADOBE),
    "tiff 16 bits with alpha": lambda: encode_tiff(
        np.dstack([DEEP, CLEAR]), extrasamples=["unassalpha"], iccprofile=ADOBE
    ),
    "tiff 16 bits, tiles, predictor": lambda: encode_tiff(
        DEEP, compression="zstd", tile=(32, 32), byteorder=">", predictor=2, iccprofile=ADOBE
    ),
    "jpeg of RGB": lambda: encode_with_pillow(
        Image.fromarray(rgb()), "JPEG", quality=100, keep_rgb=True, icc_profile=ADOBE
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_other_layouts(name: str) -> None:
    picture = decode(LAYOUTS[name]())
    found = pixels_of(picture)
    shown = found / 257 if found.dtype == np.uint16 else found
    error = np.abs(shown - as_srgb(rgb(), ADOBE).astype(np.float64))
    assert np.percentile(error, 99) <= (2 if "jpeg" in name else 1)
    assert picture.conversions == ADOBE_WORDS


def test_white_is_zero() -> None:
    data = encode_tiff(255 - gray(), photometric="miniswhite", iccprofile=GRAY_PROFILES["dot gain"])
    assert difference(pixels_of(decode(data)), as_srgb(gray(), GRAY_PROFILES["dot gain"])) <= 1


@pytest.mark.parametrize("colours", [200, 12, 4, 2])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_palettes_of_8_to_1_bits(kind: str, colours: int) -> None:
    palette = Image.fromarray(rgb()).quantize(colours)
    data = encode_with_pillow(palette, kind, icc_profile=ADOBE)
    picture = decode(data)
    assert difference(pixels_of(picture), as_srgb(np.asarray(palette.convert("RGB")), ADOBE)) <= 1
    assert picture.conversions == ADOBE_WORDS


@pytest.mark.parametrize("kind", ["png", "webp", "tiff", "tiff premultiplied"])
def test_colours_are_converted_before_they_are_laid_over_the_background(kind: str) -> None:
    alpha = np.full_like(gray(), 128)
    straight = np.dstack([rgb(), alpha])
    stored = straight
    if kind == "tiff premultiplied":
        stored = np.dstack([np.rint(rgb() * (128 / 255)).astype(np.uint8), alpha])
    data = {
        "png": lambda: encode_with_pillow(Image.fromarray(straight), "PNG", icc_profile=ADOBE),
        "webp": lambda: encode_with_pillow(Image.fromarray(straight), "WEBP", lossless=True, icc_profile=ADOBE),
        "tiff": lambda: encode_tiff(straight, extrasamples=["unassalpha"], iccprofile=ADOBE),
        "tiff premultiplied": lambda: encode_tiff(stored, extrasamples=["assocalpha"], iccprofile=ADOBE),
    }[kind]()
    expected = composite_over(np.dstack([as_srgb(rgb(), ADOBE), alpha]), (32, 64, 255))
    assert difference(pixels_of(decode(data, background="#2040ff")), expected) <= (4 if "pre" in kind else 1)


@pytest.mark.parametrize("name", SRGB_PROFILES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_srgb_profiles_change_nothing(kind: str, name: str) -> None:
    image = Image.fromarray(gray() if name == "gray" and kind != "WEBP" else rgb())
    plain, told = (encode_with_pillow(image, kind, icc_profile=profile) for profile in (None, SRGB_PROFILES[name]))
    without, found = decode(plain), decode(told)
    assert len(told) > len(plain)
    assert found.conversions == ()
    assert found.frame.format.name == without.frame.format.name
    assert np.array_equal(found.frame.to_ndarray(), without.frame.to_ndarray())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (b"no profile" * 60, "the colour profile is damaged and was ignored"),
        (ADOBE[:300], "the colour profile is damaged and was ignored"),
        (ADOBE[:128], "the colour profile is damaged and was ignored"),
        (ADOBE.replace(b"mntr", b"link"), "the profile 'Adobe RGB (1998)' is for other pictures and was ignored"),
        (GRAY_PROFILES["linear"], "the profile 'Linear Gray' is for gray pictures and was ignored"),
        (ADOBE.replace(b"RGB ", b"CMYK", 1), "the profile 'Adobe RGB (1998)' is for CMYK pictures and was ignored"),
    ],
)
def test_what_cannot_be_used_is_ignored_and_told(kind: str, profile: bytes, words: str) -> None:
    image = Image.fromarray(rgb())
    plain, told = (encode_with_pillow(image, kind, icc_profile=one) for one in (None, profile))
    without, found = decode(plain), decode(told)
    assert found.conversions == (words,)
    assert np.array_equal(found.frame.to_ndarray(), without.frame.to_ndarray())


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_profiles_above_the_limit_are_ignored(kind: str) -> None:
    """That of a JPEG is in test_stated_colours: Pillow takes half a minute to cut it."""
    picture = decode(encode_with_pillow(Image.fromarray(rgb()), kind, icc_profile=bytes(9 << 20)))
    assert picture.conversions == ("the colour profile is larger than 8 MiB and was ignored",)


def test_damage_anywhere_in_a_profile_never_ends_a_picture() -> None:
    random = np.random.default_rng(5)
    for profile in (ADOBE, PROFILES["lookup"], GRAY_PROFILES["dot gain"]):
        for _ in range(25):
            damaged = bytearray(profile)
            for place in random.integers(0, len(profile), 6):
                damaged[place] = random.integers(0, 256)
            decode(encode_tiff(rgb()[:4, :4], iccprofile=bytes(damaged)))


def test_a_profile_of_colour_does_not_fit_a_gray_picture() -> None:
    picture = decode(LOSSLESS["png"](gray(), ADOBE))
    np.testing.assert_array_equal(pixels_of(picture), gray())
    assert picture.conversions == ("the profile 'Adobe RGB (1998)' is for colour pictures and was ignored",)


@pytest.mark.parametrize("dtype", ["f4", "u4", "i2"])
def test_measurements_are_not_converted(dtype: str) -> None:
    samples = (np.dstack([gray()] * 3) * 100).astype(dtype)
    data = encode_tiff(samples, iccprofile=PROFILES["ProPhoto"])
    picture = decode(data, window=Window(0, 25500))
    np.testing.assert_array_equal(picture.raw_samples, samples)
    name = np.dtype(dtype).name
    assert picture.conversions == (f"the profile 'ProPhoto RGB' was not applied: {name} samples are measurements",)


def test_each_page_of_a_stack_has_its_own_profile() -> None:
    red = media.flat_picture((200, 60, 50))
    out = io.BytesIO()
    import tifffile

    with tifffile.TiffWriter(out) as writer:
        for profile in (ADOBE, None, PROFILES["Display P3"]):
            writer.write(red, photometric="rgb", iccprofile=profile, metadata=None)
    with tifffile.TiffFile(io.BytesIO(out.getvalue())) as file:
        offsets = [page.offset for page in file.pages]
    stack = TiffStack(io.BytesIO(out.getvalue()))
    pages = [stack.decode_page(offset, DecodeOptions(10_000_000))[0] for offset in offsets]
    assert [page.samples[0, 0].tolist() for page in pages] == [[231, 57, 46], [200, 60, 50], [217, 42, 39]]
    assert [len(page.conversions) for page in pages] == [1, 0, 1]
    kept, _ = stack.decode_page(offsets[0], DecodeOptions(10_000_000, keep_colours=True))
    assert kept.conversions == ("samples are kept as stored, in the profile 'Adobe RGB (1998)'",)
    np.testing.assert_array_equal(kept.samples, red)
