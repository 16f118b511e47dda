"""ImageDecoder: every format that it reads, and every kind of damage that it must reject."""

import contextlib
import gc
import io
import tracemalloc
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.pipeline.planes import plane_views
from tests.pipeline.rendering import decode_pictures, numbered_jpegs, read_numbers, render
from tests.support.data import media

NUMBERED = media.numbered_picture(77)
GRAY = NUMBERED[..., 0]

GOOD: dict[str, tuple[bytes, str]] = {
    "jpeg 4:2:0": (media.jpeg(NUMBERED), "ffmpeg-mjpeg"),
    "jpeg 4:2:2": (media.jpeg(NUMBERED, subsampling="4:2:2"), "ffmpeg-mjpeg"),
    "jpeg 4:4:4": (media.jpeg(NUMBERED, subsampling="4:4:4"), "ffmpeg-mjpeg"),
    "jpeg progressive": (media.jpeg(NUMBERED, progressive=True), "ffmpeg-mjpeg"),
    "jpeg optimised": (media.jpeg(NUMBERED, optimize=True), "ffmpeg-mjpeg"),
    "jpeg gray": (media._encode_picture(GRAY, "JPEG", quality=95), "ffmpeg-mjpeg"),
    "jpeg with bytes after its end": (media.jpeg(NUMBERED) + bytes(700), "ffmpeg-mjpeg"),
    "png rgb": (media.png(NUMBERED), "ffmpeg-png"),
    "png gray": (media.png(GRAY), "ffmpeg-png"),
    "png rgba": (media.png(np.dstack([NUMBERED, np.full_like(GRAY, 255)])), "pillow-png"),
    "png 16 bit": (media.png16(NUMBERED), "libpng"),
    "tiff rgb": (media.tiff(NUMBERED), "tifffile"),
    "tiff gray": (media.tiff(GRAY), "tifffile"),
    "tiff deflate": (media.tiff(NUMBERED, compression="deflate"), "tifffile"),
    "tiff lzw": (media.tiff(NUMBERED, compression="lzw", predictor=True), "tifffile"),
    "tiff tiled deflate": (media.tiff(NUMBERED, compression="deflate", tile=(32, 32)), "tifffile"),
    "tiff planes": (media.tiff(np.moveaxis(NUMBERED, -1, 0), planarconfig="separate"), "tifffile"),
    "tiff white is zero": (media.tiff(255 - GRAY, photometric="miniswhite"), "tifffile"),
    "tiff big-endian": (media.tiff(NUMBERED, byteorder=">"), "tifffile"),
    "bigtiff": (media.tiff(NUMBERED, bigtiff=True), "tifffile"),
}

NOISE = np.random.default_rng(1).integers(0, 255, (96, 128, 3), np.uint8)
JPEG, PNG = media.jpeg(NOISE), media.png(NOISE)
TIFF = media.tiff(NUMBERED)


def animated_webp() -> bytes:
    out = io.BytesIO()
    frames = [Image.fromarray(media.numbered_picture(number)) for number in range(3)]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    return out.getvalue()


BAD: dict[str, tuple[bytes, str]] = {
    "zero bytes": (b"", "empty"),
    "text named .jpg": (b"this is not a picture\n" * 20, "not a JPEG, PNG, TIFF or WebP"),
    "an MP4 named .jpg": (media.video([NUMBERED] * 2), "not a JPEG, PNG, TIFF or WebP"),
    "jpeg cut in the header": (JPEG[:100], "cut short"),
    "jpeg cut in the picture": (media.truncate(JPEG), "truncated"),
    "jpeg without its last two bytes": (JPEG[:-2], "truncated"),
    "jpeg cut, with a whole thumbnail": (b"", "truncated"),
    "jpeg that lost its middle": (media.remove_bytes(JPEG, 0.5, 300), "damaged"),
    "jpeg of zeros after the header": (JPEG[:640] + bytes(2000) + b"\xff\xd9", "damaged"),
    "jpeg bomb": (media.jpeg(NUMBERED).replace(b"\0\x60\0\x80", b"\xff\xf0\xff\xf0", 1), "limit"),
    "png bomb": (media.png_bomb(), "30000x30000 is more than the limit"),
    "tiff bomb": (media.tiff_bomb(), "30000x30000 is more than the limit"),
    "png cut": (media.truncate(PNG), "truncated"),
    "png with a wrong checksum": (PNG[:2000] + bytes([PNG[2000] ^ 255]) + PNG[2001:], "damaged"),
    "tiff cut": (media.truncate(TIFF), "before its picture data"),
    "tiff cut in the directory": (TIFF[:20], "damaged"),
    "tiff damaged inside": (media.tiff(NUMBERED, compression="deflate")[:400] + bytes(4000), "damaged"),
    "tiff float, no window known": (media.tiff(GRAY.astype(np.float32)), "float32 samples need a tone window"),
    "cmyk jpeg": (media.cmyk_jpeg(NUMBERED), "CMYK"),
    "cmyk tiff": (media.cmyk_tiff(NUMBERED), "a CMYK TIFF is for print"),
    "lab tiff": (media.lab_tiff(NUMBERED), r"L\*a\*b\*"),
    "lab tiff of 16 bits": (media.tiff(NUMBERED.astype(np.int16), photometric="cielab"), r"L\*a\*b\*"),
    "itulab tiff": (media.tiff(NUMBERED, photometric="itulab"), "ITULAB"),
    "12-bit jpeg": (media.twelve_bit_jpeg(), "12-bit samples"),
    "animated webp": (animated_webp(), "animated"),
    "webp cut": (media.truncate(media._encode_picture(NOISE, "WEBP")), "truncated"),
    "png of 98 megapixels from nothing": (media.png_bomb(9_900), "claim to be 93 MiB"),
    "only magic": (b"\xff\xd8\xff", "cut short"),
}


def truncated_jpeg_with_thumbnail() -> bytes:
    """The EXIF thumbnail is a complete JPEG, so the file has an end-of-image marker, but not that of the image."""
    thumbnail = b"Exif\0\0" + media.jpeg(media.flat_picture((9, 9, 9), 16, 16))
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    return media.truncate(JPEG[:2] + segment + JPEG[2:], 0.8)


BAD["jpeg cut, with a whole thumbnail"] = (truncated_jpeg_with_thumbnail(), "truncated")


@pytest.mark.parametrize("name", GOOD)
def test_reads(name: str) -> None:
    data, decoder = GOOD[name]
    result = render([data], corrupt="fail")
    assert read_numbers(result.data) == [77]
    assert result.reports[0].decoder == decoder


@pytest.mark.parametrize("name", BAD)
def test_refuses_with_a_reason(name: str) -> None:
    data, reason = BAD[name]
    with pytest.raises(MediaUnreadable, match=reason):
        ImageDecoder(DecodeOptions(max_pixels=100_000_000)).decode(data)


@pytest.mark.parametrize("name", BAD)
def test_damage_is_held_and_named_never_silent(name: str) -> None:
    good = numbered_jpegs(3)
    result = render([good[0], BAD[name][0], good[2]], corrupt="hold")
    assert read_numbers(result.data) == [0, 0, 2]
    assert [report.outcome for report in result.reports] == ["ok", "held", "ok"]
    assert result.reports[1].reason


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("make", [media.jpeg, media.png, media.tiff])
def test_no_truncation_goes_unseen(make: Any, keep: float) -> None:
    pixels = np.random.default_rng(2).integers(0, 255, (96, 128, 3), np.uint8)
    with pytest.raises(MediaUnreadable):
        ImageDecoder(DecodeOptions(100_000_000)).decode(media.truncate(make(pixels), keep))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int) -> None:
    corner = media.flat_picture((40, 40, 40), 128, 96)
    corner[:48, :64] = (220, 60, 60)
    corner[48:, :64] = (60, 220, 60)
    result = render([media.oriented_jpeg(corner, orientation)], mismatch="fail")
    picture = decode_pictures(result.data)[0].astype(int)
    assert np.abs(picture[24, 32] - (220, 60, 60)).max() <= 3
    assert np.abs(picture[72, 32] - (60, 220, 60)).max() <= 3
    assert np.abs(picture[24, 96] - (40, 40, 40)).max() <= 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_orientation_of_other_formats(kind: str) -> None:
    corner = media.flat_picture((40, 40, 40), 96, 128)
    corner[:64, :48] = (220, 60, 60)
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    Image.fromarray(corner).save(out, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    picture = decode_pictures(render([out.getvalue()], mismatch="fail", corrupt="fail").data)[0].astype(int)
    assert np.abs(picture[24, 96] - (220, 60, 60)).max() <= 4
    assert np.abs(picture[72, 32] - (40, 40, 40)).max() <= 4


@pytest.mark.parametrize("make", [media.tiff, media.png])
def test_what_a_decoder_leaves_behind_is_freed_at_once(make: Any) -> None:
    """tifffile's objects form reference cycles, which would keep each frame's bytes until garbage collection."""
    decoder, frame = ImageDecoder(DecodeOptions(10_000_000)), make(np.zeros((600, 800), np.uint8))
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(40):
            decoder.decode(bytes(bytearray(frame)))
        assert tracemalloc.get_traced_memory()[0] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()
        gc.enable()


def test_mixed_formats_in_one_segment() -> None:
    frames: list[bytes | None] = [data for data, _ in GOOD.values()]
    assert read_numbers(render(frames, corrupt="fail").data) == [77] * len(GOOD)


@pytest.mark.parametrize("name", [name for name in GOOD if name != "jpeg with bytes after its end"])
def test_random_damage_is_refused_or_shown_but_never_crashes(name: str) -> None:
    """imagecodecs' own LZW decoder crashed the process on some of these."""
    random, decoder = np.random.default_rng(7), ImageDecoder(DecodeOptions(10_000_000))
    for _ in range(60):
        data = np.frombuffer(GOOD[name][0], np.uint8).copy()
        places = random.integers(0, len(data), random.integers(1, 20))
        data[places] = random.integers(0, 256, len(places))
        with contextlib.suppress(MediaUnreadable):
            assert decoder.decode(data.tobytes()).frame.width > 0


COLOUR_NOISE = np.random.default_rng(3).integers(0, 256, (480, 640, 3), np.uint8)
GRAY_NOISE = COLOUR_NOISE // 8 + 96


def decode_exactly(data: bytes) -> list[media.Pixels]:
    """With FFmpeg's floating-point inverse DCT."""
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options = {"idct": "faani"}
    return plane_views(decoder.decode(av.Packet(data))[0])


@pytest.mark.parametrize("pixels", [COLOUR_NOISE, GRAY_NOISE], ids=["noise", "soft noise"])
@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_level_at_most_and_none_on_average(pixels: media.Pixels, quality: int, progressive: bool) -> None:
    data = media.jpeg(pixels, quality=quality, progressive=progressive)
    ours = plane_views(ImageDecoder(DecodeOptions(10**7)).decode(data).frame)
    for found, exact in zip(ours, decode_exactly(data), strict=True):
        off = found.astype(np.int16) - exact
        assert abs(off).max() <= 1
        assert abs(off.mean()) < 0.0125
        assert (off != 0).mean() < 0.02
