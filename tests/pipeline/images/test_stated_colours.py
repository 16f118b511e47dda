"""Where files say what their colours are: APP2 of JPEG, the chunks of PNG and WebP, EXIF."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.pipeline.images.decoder import read_header
from service.pipeline.images.jpeg import jpeg_header
from service.pipeline.images.stored_colour import STATED_SRGB, UNSTATED
from service.pipeline.probe import probe_image
from tests.pipeline.images.sample_images import Array, encode_tiff, encode_with_pillow
from tests.pipeline.images.test_colour_conversion import ADOBE_WORDS, as_srgb, decode, difference, pixels_of
from tests.pipeline.rendering import decode_pictures, render
from tests.support.data import colour_profiles, media
from tests.support.data.colour_profiles import ADOBE_GAMMA, D65, GRAY_PROFILES, P3, PROFILES, SRGB, to_srgb

RED = media.flat_picture((200, 60, 50))
ADOBE = PROFILES["Adobe"]
BY_CAMERA = ("colours converted from the colour space Adobe RGB (1998) to sRGB",)
INCOMPLETE = "the colour profile is incomplete (parts of it are missing) and was ignored"


def jpeg_with_parts(*parts: tuple[int, int, bytes]) -> bytes:
    """(number, count, bytes) of APP2 segments, as ICC.1 cuts long profiles."""
    plain = media.jpeg(RED)
    segments = (b"ICC_PROFILE\0" + bytes([number, count]) + body for number, count, body in parts)
    return plain[:2] + b"".join(b"\xff\xe2" + struct.pack(">H", len(one) + 2) + one for one in segments) + plain[2:]


LONG = ADOBE + bytes(150_000)
THIRDS = [LONG[:60_000], LONG[60_000:120_000], LONG[120_000:]]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 3, 1)])
def test_parts_of_a_jpeg_s_profile_in_any_order(order: tuple[int, ...]) -> None:
    data = jpeg_with_parts(*((number, 3, THIRDS[number - 1]) for number in order))
    picture = decode(data)
    assert picture.conversions == ADOBE_WORDS
    assert difference(pixels_of(picture), as_srgb(np.asarray(_decode_with_pillow(data)), ADOBE)) <= 1


@pytest.mark.parametrize(
    "parts",
    [
        [(1, 3, THIRDS[0]), (3, 3, THIRDS[2])],
        [(2, 2, THIRDS[0])],
        [(1, 2, THIRDS[0]), (1, 2, THIRDS[1])],
        [(0, 1, ADOBE)],
        [(1, 1, ADOBE), (2, 2, ADOBE)][1:],
        [(1, 1, ADOBE), (2, 1, ADOBE)],
    ],
)
def test_parts_that_are_missing_or_double(parts: list[tuple[int, int, bytes]]) -> None:
    picture = decode(jpeg_with_parts(*parts))
    assert picture.conversions == (INCOMPLETE,)
    assert picture.frame.format.name == "yuvj420p"


def test_a_jpeg_s_profile_above_the_limit() -> None:
    parts = [bytes(65_000)] * 140
    data = jpeg_with_parts(*((number, 140, part) for number, part in enumerate(parts, 1)))
    assert decode(data).conversions == ("the colour profile is larger than 8 MiB and was ignored",)


def test_other_app2_segments_are_no_profiles() -> None:
    plain = media.jpeg(RED)
    data = plain[:2] + b"\xff\xe2\x00\x10MPF\0II*\0\x08\0\0\0\0\0" + plain[2:]
    assert jpeg_header(data).colour is UNSTATED


def png_with(*chunks: tuple[bytes, bytes], pixels: Array = RED) -> bytes:
    """A PNG with these chunks after its header."""
    plain = media.png(pixels)
    told = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return plain[:33] + told + plain[33:]


def gama(value: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def chrm(primaries: colour_profiles.Primaries) -> tuple[bytes, bytes]:
    red, green, blue, white = primaries
    numbers = [round(number * 100_000) for number in (*white, *red, *green, *blue)]
    return b"cHRM", struct.pack(">8I", *numbers)


def iccp(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"name\0\0" + zlib.compress(profile)


SRGB_CHUNK, PROFILE_CHUNK = (b"sRGB", b"\0"), iccp(ADOBE)
P3_CODE, BT2020_LINEAR = (b"cICP", bytes((12, 13, 0, 1))), (b"cICP", bytes((9, 8, 0, 1)))
BT2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    {
        "gamma of 1.0": ([gama(1.0)], to_srgb(RED / 255, SRGB, 1.0) * 255),
        "gamma of 1.8": ([gama(0.5556)], to_srgb(RED / 255, SRGB, 1.8) * 255),
        "Adobe by numbers": ([gama(0.45471), chrm(colour_profiles.ADOBE)], to_srgb(RED / 255, colour_profiles.ADOBE, ADOBE_GAMMA) * 255),
        "primaries alone": ([chrm(P3)], as_srgb(RED, PROFILES["Display P3"])),
        "Display P3 by code": ([P3_CODE], as_srgb(RED, PROFILES["Display P3"])),
        "BT.2020 light by code": ([BT2020_LINEAR], to_srgb(RED / 255, BT2020, 1.0) * 255),
        "a code before a profile": ([PROFILE_CHUNK, P3_CODE], as_srgb(RED, PROFILES["Display P3"])),
        "a profile before sRGB and numbers": ([gama(1.0), SRGB_CHUNK, PROFILE_CHUNK], as_srgb(RED, ADOBE)),
    }.values(),
)  # fmt: skip
def test_png_chunks(chunks: list[tuple[bytes, bytes]], expected: Array) -> None:
    picture = decode(png_with(*chunks))
    assert difference(pixels_of(picture), expected) <= 1
    assert len(picture.conversions) == 1


@pytest.mark.parametrize(
    "chunks",
    [
        [gama(0.45455)],
        [gama(0.45455), chrm(SRGB)],
        [gama(0.45)],
        [chrm(SRGB)],
        [SRGB_CHUNK, gama(1.0), chrm(P3)],
        [(b"cICP", bytes((1, 13, 0, 1)))],
        [(b"cICP", bytes((1, 1, 0, 1)))],
        [iccp(colour_profiles.SRGB_PROFILES["v2"])],
    ],
)
def test_pngs_that_are_srgb_stay_as_they_are(chunks: list[tuple[bytes, bytes]]) -> None:
    picture = decode(png_with(*chunks))
    assert picture.conversions == ()
    np.testing.assert_array_equal(pixels_of(picture), RED)


@pytest.mark.parametrize(
    ("chunk", "words"),
    [
        ((b"cICP", bytes((9, 9, 0, 1))), "the PNG's colour code cICP 9/9/0/1 is not supported and was ignored"),
        ((b"cICP", bytes((9, 13, 0, 0))), "the PNG's colour code cICP 9/13/0/0 is not supported and was ignored"),
        ((b"cICP", b"\1"), "the PNG's cICP chunk is damaged and was ignored"),
        ((b"gAMA", b"\0\0"), "the PNG's gAMA chunk is damaged and was ignored"),
        ((b"cHRM", bytes(8)), "the PNG's cHRM chunk is damaged and was ignored"),
        ((b"sRGB", b""), "the PNG's sRGB chunk is damaged and was ignored"),
        ((b"cHRM", bytes(32)), "the colour profile is damaged and was ignored"),
        (gama(0), "the PNG's gamma of 0 makes no sense and was ignored"),
        ((b"iCCP", b"name\0\0not compressed"), "the colour profile is damaged and was ignored"),
        ((b"iCCP", b"name\0\1" + zlib.compress(ADOBE)), "the colour profile is damaged and was ignored"),
        ((b"iCCP", b"name\0\0" + zlib.compress(ADOBE)[:-9]), "the colour profile is damaged and was ignored"),
        ((b"iCCP", b"name"), "the colour profile is damaged and was ignored"),
        (iccp(bytes(64 << 20)), "the colour profile is larger than 8 MiB and was ignored"),
    ],
)
@pytest.mark.parametrize("kind", ["RGB", "P", "RGBA"])
def test_png_chunks_that_are_ignored(chunk: tuple[bytes, bytes], words: str, kind: str) -> None:
    """None of the three decoders behind the kinds ends on it, nor unpacks 64 MiB."""
    pixels = Image.fromarray(RED).convert(kind) if kind != "P" else Image.fromarray(RED).quantize(4)
    plain = encode_with_pillow(pixels, "PNG")
    told = png_with(chunk)[33 : 33 + 12 + len(chunk[1])]
    picture = decode(plain[:33] + told + plain[33:])
    assert picture.conversions == (words,)
    np.testing.assert_array_equal(pixels_of(picture), RED)


def bt2020_light(pixels: Array) -> Array:
    """Light of BT.2020 primaries, 1 is white, of sRGB levels."""
    mixing = np.linalg.inv(colour_profiles.to_xyz(BT2020)) @ colour_profiles.to_xyz(SRGB)
    light: Array = colour_profiles.srgb_light(pixels / 255) @ mixing.T
    return light


def pq(light: Array) -> Array:
    """BT.2100, table 4: code of light whose white is 203 cd/m²."""
    power = (light * 203 / 10_000) ** 0.1593017578125
    code: Array = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    return code


def hlg(light: Array) -> Array:
    """BT.2100, table 5, on a display of 1,000 cd/m²: code of light whose white is 203 cd/m²."""
    display = light * 203 / 1000
    luminance = (display @ np.array([0.2627, 0.6780, 0.0593]))[..., None]
    scene = display * luminance ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-6)) + 0.55991073
    code: Array = np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)
    return code


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("code", "encode", "name"), [(16, pq, "PQ"), (18, hlg, "HLG")])
def test_hdr_pngs_are_tone_mapped(code: int, encode: Any, name: str, dtype: Any) -> None:
    """Colours below the knee of the tone map stay what they are."""
    import imagecodecs

    top = np.iinfo(dtype).max
    samples = np.rint(encode(bt2020_light(RED)) * top).astype(dtype)
    plain = bytes(imagecodecs.png_encode(samples))
    body = b"cICP" + bytes((9, code, 0, 1))
    data = plain[:33] + b"\0\0\0\4" + body + struct.pack(">I", zlib.crc32(body)) + plain[33:]
    picture = decode(data)
    assert difference(pixels_of(picture) / top * 255, RED) <= (3 if dtype == np.uint8 else 1.5)
    assert picture.conversions == (f"tone-mapped from {name} (BT.2100) to SDR BT.709",)
    kept = decode(data, keep_colours=True)
    np.testing.assert_array_equal(pixels_of(kept), samples)
    assert kept.conversions == (f"samples are kept as stored, in {name} (BT.2100)",)


def test_a_gray_png_has_its_gamma_converted() -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = as_srgb(gray, GRAY_PROFILES["linear"])
    assert difference(pixels_of(decode(png_with(gama(1.0), pixels=gray))), expected) <= 1
    assert decode(png_with(gama(0.45455), chrm(P3), pixels=gray)).conversions != ()


def test_a_plain_png_says_nothing_and_an_srgb_chunk_speaks_for_itself() -> None:
    assert read_header(png_with()).colour is UNSTATED
    assert read_header(png_with(SRGB_CHUNK)).colour is STATED_SRGB


def exif_of(colour_space: int | None, index: str | None) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 1
    own: dict[int, Any] = {} if colour_space is None else {0xA001: colour_space}
    if index is not None:
        own[0xA005] = {1: index}
    exif._ifds[0x8769] = own
    exif[0x8769] = own
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("colour_space", "index", "is_adobe"),
    [
        (2, None, True),
        (0xFFFF, "R03", True),
        (None, "R03", True),
        (0xFFFF, None, False),
        (1, "R03", False),
        (1, "R98", False),
    ],
)
def test_adobe_rgb_of_cameras(kind: str, colour_space: int | None, index: str | None, is_adobe: bool) -> None:
    """DCF: cameras write no profile, but "R03" as the interoperability index, or a colour space of 2."""
    options = {"WEBP": {"lossless": True}}.get(kind, {})
    data = encode_with_pillow(Image.fromarray(RED), kind, exif=exif_of(colour_space, index), **options)
    picture = decode(data)
    assert picture.conversions == (BY_CAMERA if is_adobe else ())
    if is_adobe:
        expected = as_srgb(np.asarray(_decode_with_pillow(data)), ADOBE)
        assert difference(pixels_of(picture), expected) <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_profile_comes_before_exif(kind: str) -> None:
    image, exif = Image.fromarray(RED), exif_of(2, "R03")
    told = encode_with_pillow(image, kind, exif=exif, icc_profile=colour_profiles.SRGB_PROFILES["v4"])
    assert decode(told).conversions == ()
    told = encode_with_pillow(image, kind, exif=exif, icc_profile=PROFILES["Display P3"])
    assert decode(told).conversions == ("colours converted from the profile 'Display P3' to sRGB",)


def test_12_bit_samples_are_no_16_bit_ones() -> None:
    """A profile describes the whole range of 16 bits; the samples of a 12-bit TIFF fill a sixteenth of it."""
    from tests.pipeline.images.sample_images import encode_12_bit_tiff

    plain = encode_12_bit_tiff(np.full((8, 8), 2048, np.uint16))
    assert decode(plain).conversions == ()
    assert decode(encode_tiff(np.full((8, 8), 2048, np.uint16))).conversions == ()


DOWN, ACROSS = np.mgrid[0:112, 0:64].astype(np.uint8)
COLOURFUL = np.dstack([20 + 2 * DOWN, np.full_like(DOWN, 90), 3 * ACROSS])


def marked(jfif: bool, transform: int | None = None, ids: bytes = b"\1\2\3", progressive: bool = False) -> bytes:
    """A JPEG with or without its JFIF marker, with an Adobe marker, and with other component ids."""
    data = media.jpeg(COLOURFUL, subsampling="4:4:4", progressive=progressive)
    frame, scan = data.index(b"\xff\xc2" if progressive else b"\xff\xc0"), data.index(b"\xff\xda")
    own = bytearray(data)
    own[frame + 10 : frame + 19 : 3] = ids
    own[scan + 5 : scan + 11 : 2] = ids
    adobe = b"" if transform is None else b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform])
    return bytes(own[:2] + adobe + own[2 if jfif else 20 :])


@pytest.mark.parametrize("ids", [b"\1\2\3", b"\0\1\2", b"RGB", b"rgb"])
@pytest.mark.parametrize("transform", [None, 0, 1, 2])
@pytest.mark.parametrize("jfif", [False, True])
def test_ycbcr_or_rgb_as_libjpeg_decides(jfif: bool, transform: int | None, ids: bytes) -> None:
    """By JFIF, then by Adobe's marker, then by the ids of the components."""
    data = marked(jfif, transform, ids)
    theirs = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    is_rgb = decode(data).frame.format.is_rgb
    assert probe_image(data, len(data)).pixel_format == ("bgr0" if is_rgb else "yuvj444p")
    flat = render([data], codec="ffv1", form="bgr0", width=64, height=112)
    assert np.abs(decode_pictures(flat.data)[0].astype(int) - theirs).max() <= 4


@pytest.mark.parametrize("subsampling", ["411", "440"])
def test_rare_chroma_samplings(subsampling: str) -> None:
    import imagecodecs

    data = bytes(imagecodecs.jpeg8_encode(COLOURFUL, level=95, subsampling=subsampling))
    theirs = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    shown = decode_pictures(render([data], codec="ffv1", form="bgr0", width=64, height=112).data)[0]
    assert np.abs(shown.astype(int) - theirs).mean() <= 1.5


def _decode_with_pillow(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")
