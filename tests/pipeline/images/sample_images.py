"""Images of every kind, written by independent tools, with the pixels that they should show."""

import io
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import imageio_ffmpeg
import numpy as np
import tifffile
from PIL import Image

Array = np.ndarray[Any, Any]
WIDTH, HEIGHT = 122, 90


@dataclass(frozen=True)
class SampleImage:
    """`pixels` are the expected ones; `tolerance` is in levels (0: exact)."""

    name: str
    data: bytes
    pixels: Array
    tolerance: int = 0


def gray() -> Array:
    """Smooth slopes with a bright disc, on which the tools' chroma filters differ by a level or two at most."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    disc = 60 * np.exp(-((x - 60) ** 2 + (y - 40) ** 2) / 500)
    return np.rint(20 + x + y / 2 + disc).clip(0, 255).astype(np.uint8)


def rgb() -> Array:
    g = gray()
    return np.dstack([g, g[::-1], 255 - g[:, ::-1]])


def high_bit_depth(dtype: str) -> Array:
    """Values over the whole range of the type, not multiples of 8-bit ones."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    slope = (x / WIDTH + y / HEIGHT + 0.01 * np.sin(x * y)) / 2.02
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (slope * 3 - 1).astype(kind)
    limits = np.iinfo(kind)
    return (slope * (limits.max - limits.min) + limits.min).astype(kind)


def high_bit_depth_rgb(dtype: str = "u2") -> Array:
    d = high_bit_depth(dtype)
    return np.dstack([d, d[::-1], d[:, ::-1]])


def encode_with_pillow(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def encode_with_opencv(pixels: Array, suffix: str, *options: int) -> bytes:
    """`pixels` in RGB(A) order."""
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(pixels.shape[-1] if pixels.ndim == 3 else 0)
    done, data = cv2.imencode(suffix, pixels[..., order] if order else pixels, list(options))
    assert done
    return data.tobytes()


def encode_with_ffmpeg(pixels: Array, pixel_format: str, suffix: str, *options: str) -> bytes:
    """One frame encoded by the ffmpeg program; `given` is the pixel format of `pixels`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"out{suffix}"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", pixel_format]
        command += ["-s", f"{pixels.shape[1]}x{pixels.shape[0]}", "-i", "-", *options, "-frames:v", "1"]
        subprocess.run([*command, "-update", "1", str(path)], input=pixels.tobytes(), check=True)
        return path.read_bytes()


def encode_tiff(pixels: Array, **options: Any) -> bytes:
    out = io.BytesIO()
    options.setdefault("photometric", "rgb" if pixels.ndim == 3 else "minisblack")
    tifffile.imwrite(out, pixels, **options)
    return out.getvalue()


def composite_over(pixels: Array, background: tuple[int, ...]) -> Array:
    """Alpha (last) over a colour, in exact arithmetic."""
    top = np.iinfo(pixels.dtype).max
    alpha = pixels[..., -1:].astype(np.float64) / top
    mixed = pixels[..., :-1] * alpha + (1 - alpha) * np.array(background[: pixels.shape[2] - 1]) * (top / 255)
    found: Array = np.rint(mixed).astype(pixels.dtype)
    return found[..., 0] if found.shape[2] == 1 else found


def jpegs() -> Iterator[SampleImage]:
    color, g = Image.fromarray(rgb()), Image.fromarray(gray())
    for chroma in ("4:2:0", "4:2:2", "4:4:4"):
        for progressive in (False, True):
            data = encode_with_pillow(color, "JPEG", quality=95, subsampling=chroma, progressive=progressive)
            yield SampleImage(f"jpeg pillow {chroma}{' progressive' * progressive}", data, _decode_with_pillow(data), 5)
    yield SampleImage(
        "jpeg pillow gray", data := encode_with_pillow(g, "JPEG", quality=95), _decode_with_pillow(data), 2
    )
    yield SampleImage("jpeg opencv", data := encode_with_opencv(rgb(), ".jpg"), _decode_with_pillow(data), 5)
    restarts = encode_with_opencv(rgb(), ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 3)
    yield SampleImage("jpeg opencv restarts", restarts, _decode_with_pillow(restarts), 5)
    for chroma in ("420", "422", "444"):
        data = encode_with_ffmpeg(rgb(), "rgb24", ".jpg", "-pix_fmt", f"yuvj{chroma}p", "-q:v", "2")
        yield SampleImage(f"jpeg ffmpeg {chroma}", data, _decode_with_pillow(data), 5)
    yield SampleImage(
        "jpeg imagecodecs", data := bytes(imagecodecs.jpeg8_encode(rgb(), level=95)), _decode_with_pillow(data), 5
    )


def _decode_with_pillow(data: bytes) -> Array:
    return np.asarray(Image.open(io.BytesIO(data)))


def pngs() -> Iterator[SampleImage]:
    g, color, alpha = gray(), rgb(), np.dstack([rgb(), gray()])
    yield SampleImage("png pillow gray", encode_with_pillow(Image.fromarray(g), "PNG"), g)
    yield SampleImage("png pillow rgb", encode_with_pillow(Image.fromarray(color), "PNG"), color)
    yield SampleImage(
        "png pillow rgba", encode_with_pillow(Image.fromarray(alpha), "PNG"), composite_over(alpha, (0, 0, 0))
    )
    la = np.dstack([g, g[::-1]])
    yield SampleImage("png pillow gray alpha", encode_with_pillow(Image.fromarray(la), "PNG"), composite_over(la, (0,)))
    palette = Image.fromarray(color).quantize(200)
    yield SampleImage("png pillow palette", encode_with_pillow(palette, "PNG"), np.asarray(palette.convert("RGB")))
    few = Image.fromarray(color).quantize(4)
    yield SampleImage("png pillow palette of 4", encode_with_pillow(few, "PNG"), np.asarray(few.convert("RGB")))
    clear = np.where((np.asarray(palette) == 7)[..., None], 0, np.asarray(palette.convert("RGB"))).astype(np.uint8)
    yield SampleImage("png pillow palette, one clear", encode_with_pillow(palette, "PNG", transparency=7), clear)
    bilevel = Image.fromarray(g).convert("1")
    yield SampleImage(
        "png pillow 1 bit", encode_with_pillow(bilevel, "PNG"), np.asarray(bilevel).astype(np.uint8) * 255
    )
    yield SampleImage("png opencv rgb", encode_with_opencv(color, ".png"), color)
    yield SampleImage("png opencv gray 16", encode_with_opencv(high_bit_depth("u2"), ".png"), high_bit_depth("u2"))
    yield SampleImage("png opencv rgb 16", encode_with_opencv(high_bit_depth_rgb(), ".png"), high_bit_depth_rgb())
    alpha16 = np.dstack([high_bit_depth_rgb(), high_bit_depth("u2")])
    yield SampleImage("png opencv rgba 16", encode_with_opencv(alpha16, ".png"), composite_over(alpha16, (0, 0, 0)))
    yield SampleImage("png imagecodecs 16", bytes(imagecodecs.png_encode(high_bit_depth("u2"))), high_bit_depth("u2"))
    yield SampleImage(
        "png ffmpeg gray 16", encode_with_ffmpeg(high_bit_depth("u2"), "gray16le", ".png"), high_bit_depth("u2")
    )
    yield SampleImage(
        "png ffmpeg rgb 16", encode_with_ffmpeg(high_bit_depth_rgb(), "rgb48le", ".png"), high_bit_depth_rgb()
    )
    la16 = np.dstack([high_bit_depth("u2"), high_bit_depth("u2")[::-1]])
    yield SampleImage(
        "png ffmpeg gray alpha 16", encode_with_ffmpeg(la16.astype(">u2"), "ya16be", ".png"), composite_over(la16, (0,))
    )


def webps() -> Iterator[SampleImage]:
    color, alpha = Image.fromarray(rgb()), np.dstack([rgb(), gray()])
    yield SampleImage(
        "webp pillow", data := encode_with_pillow(color, "WEBP", quality=92), _decode_with_pillow(data), 6
    )
    yield SampleImage("webp pillow lossless", encode_with_pillow(color, "WEBP", lossless=True), rgb())
    data = encode_with_pillow(Image.fromarray(alpha), "WEBP", lossless=True, exact=True)
    yield SampleImage("webp pillow lossless alpha", data, composite_over(alpha, (0, 0, 0)))
    data = encode_with_pillow(Image.fromarray(alpha), "WEBP", quality=92)
    yield SampleImage("webp pillow alpha", data, composite_over(_decode_with_pillow(data), (0, 0, 0)))
    yield SampleImage(
        "webp opencv",
        data := encode_with_opencv(rgb(), ".webp", cv2.IMWRITE_WEBP_QUALITY, 92),
        _decode_with_pillow(data),
        6,
    )
    yield SampleImage(
        "webp ffmpeg", data := encode_with_ffmpeg(rgb(), "rgb24", ".webp", "-q:v", "92"), _decode_with_pillow(data), 6
    )


def tiffs() -> Iterator[SampleImage]:
    for dtype in ("u1", "u2", "i1", "i2", "u4", "i4", "f2", "f4", "f8"):
        yield SampleImage(f"tiff tifffile {dtype}", encode_tiff(high_bit_depth(dtype)), high_bit_depth(dtype))
        yield SampleImage(
            f"tiff tifffile {dtype} big-endian",
            encode_tiff(high_bit_depth(dtype), byteorder=">"),
            high_bit_depth(dtype),
        )
    for method in ("deflate", "lzw", "zstd", "lzma", "packbits"):
        for options in ({}, {"tile": (32, 48)}, {"rowsperstrip": 7}):
            name = f"tiff tifffile u2 {method} {options}"
            yield SampleImage(
                name, encode_tiff(high_bit_depth("u2"), compression=method, **options), high_bit_depth("u2")
            )
    for dtype, predictor in (("u2", 2), ("f4", 3), ("u1", 2)):
        for method in ("deflate", "lzw"):
            data = encode_tiff(high_bit_depth(dtype), compression=method, predictor=predictor, tile=(32, 48))
            yield SampleImage(f"tiff tifffile {dtype} {method} predictor", data, high_bit_depth(dtype))
    yield from _tiff_layouts()
    yield from _tiffs_of_other_tools()
    yield SampleImage("tiff 12 bit", encode_12_bit_tiff(high_bit_depth("u2") >> 4), high_bit_depth("u2") >> 4)


def _tiff_layouts() -> Iterator[SampleImage]:
    color, color16 = rgb(), high_bit_depth_rgb()
    yield SampleImage("tiff tifffile rgb", encode_tiff(color), color)
    yield SampleImage("tiff tifffile rgb 16", encode_tiff(color16), color16)
    for planes in ({}, {"tile": (32, 32)}, {"compression": "deflate"}, {"compression": "lzw"}):
        data = encode_tiff(np.moveaxis(color16, -1, 0), planarconfig="separate", **planes)
        yield SampleImage(f"tiff tifffile rgb 16 planes {planes}", data, color16)
    yield SampleImage("tiff tifffile rgb float", encode_tiff(high_bit_depth_rgb("f4")), high_bit_depth_rgb("f4"))
    yield SampleImage(
        "bigtiff tifffile", encode_tiff(high_bit_depth("u2"), bigtiff=True, compression="zstd"), high_bit_depth("u2")
    )
    yield SampleImage(
        "bigtiff tifffile big-endian",
        encode_tiff(high_bit_depth("u2"), bigtiff=True, byteorder=">"),
        high_bit_depth("u2"),
    )
    yield SampleImage(
        "tiff tifffile white is zero",
        encode_tiff(high_bit_depth("u2"), photometric="miniswhite"),
        65535 - high_bit_depth("u2"),
    )
    alpha = np.dstack([color, gray()])
    for extra in ("unassalpha", "unspecified"):
        expected = composite_over(alpha, (0, 0, 0)) if extra == "unassalpha" else color
        yield SampleImage(f"tiff tifffile {extra}", encode_tiff(alpha, extrasamples=[extra]), expected)
    yield SampleImage(
        "tiff tifffile jpeg", data := encode_tiff(color, compression="jpeg"), tifffile.imread(io.BytesIO(data))
    )
    yield SampleImage(
        "tiff tifffile two samples",
        encode_tiff(np.dstack([gray()] * 2), photometric="minisblack", planarconfig="contig"),
        gray(),
    )


def _tiffs_of_other_tools() -> Iterator[SampleImage]:
    yield SampleImage(
        "tiff opencv 16 lzw",
        encode_with_opencv(high_bit_depth("u2"), ".tiff", cv2.IMWRITE_TIFF_COMPRESSION, 5),
        high_bit_depth("u2"),
    )
    yield SampleImage("tiff opencv rgb 16", encode_with_opencv(high_bit_depth_rgb(), ".tiff"), high_bit_depth_rgb())
    yield SampleImage("tiff opencv float", encode_with_opencv(high_bit_depth("f4"), ".tiff"), high_bit_depth("f4"))
    for method in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "raw"):
        data = encode_with_pillow(Image.fromarray(high_bit_depth("u2")), "TIFF", compression=method)
        yield SampleImage(f"tiff pillow 16 {method}", data, high_bit_depth("u2"))
    yield SampleImage(
        "tiff pillow float", encode_with_pillow(Image.fromarray(high_bit_depth("f4")), "TIFF"), high_bit_depth("f4")
    )
    palette = Image.fromarray(rgb()).quantize(200)
    for method in ("raw", "tiff_lzw"):
        data = encode_with_pillow(palette, "TIFF", compression=method)
        yield SampleImage(f"tiff pillow palette {method}", data, np.asarray(palette.convert("RGB")))
    bilevel = Image.fromarray(gray()).convert("1")
    for method in ("raw", "tiff_lzw", "packbits", "tiff_ccitt", "group3", "group4"):
        data = encode_with_pillow(bilevel, "TIFF", compression=method)
        yield SampleImage(f"tiff pillow 1 bit {method}", data, np.asarray(bilevel).astype(np.uint8) * 255)
    for method in ("raw", "lzw", "deflate", "packbits"):
        data = encode_with_ffmpeg(high_bit_depth_rgb(), "rgb48le", ".tiff", "-compression_algo", method)
        yield SampleImage(f"tiff ffmpeg rgb 16 {method}", data, high_bit_depth_rgb())
    yield SampleImage(
        "tiff ffmpeg gray 16", encode_with_ffmpeg(high_bit_depth("u2"), "gray16le", ".tiff"), high_bit_depth("u2")
    )


def encode_12_bit_tiff(pixels: Array) -> bytes:
    """Two samples in three bytes, high bits first, as TIFF 6.0 packs them; the width must be even."""
    first, second = pixels[:, 0::2].astype(np.uint32), pixels[:, 1::2].astype(np.uint32)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1).astype(np.uint8).tobytes()
    height, width = pixels.shape
    fields = [(256, width), (257, height), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    fields.append((279, len(packed)))
    entries = b"".join(tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + n.to_bytes(4, "little") for tag, n in fields)
    start = 8 + len(packed) + len(packed) % 2
    head = b"II*\0" + start.to_bytes(4, "little") + packed + bytes(len(packed) % 2)
    return head + len(fields).to_bytes(2, "little") + entries + bytes(4)


SAMPLE_IMAGES = {sample.name: sample for make in (jpegs, pngs, webps, tiffs) for sample in make()}
