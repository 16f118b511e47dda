"""Images of every kind, written by tools that are not ours, with the pixels those tools mean."""

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
class Sample:
    """`pixels` as the tool itself means them; `tolerance` in levels (0: exact)."""

    name: str
    data: bytes
    pixels: Array
    tolerance: int = 0


def gray() -> Array:
    """Smooth slopes with a bright disc: every tool's chroma filter agrees on it within a level or two."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    disc = 60 * np.exp(-((x - 60) ** 2 + (y - 40) ** 2) / 500)
    return np.rint(20 + x + y / 2 + disc).clip(0, 255).astype(np.uint8)


def rgb() -> Array:
    g = gray()
    return np.dstack([g, g[::-1], 255 - g[:, ::-1]])


def deep(dtype: str) -> Array:
    """Values that use the type's own range, not a multiple of 8-bit ones."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    slope = (x / WIDTH + y / HEIGHT + 0.01 * np.sin(x * y)) / 2.02
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (slope * 3 - 1).astype(kind)
    limits = np.iinfo(kind)
    return (slope * (limits.max - limits.min) + limits.min).astype(kind)


def deep_rgb(dtype: str = "u2") -> Array:
    d = deep(dtype)
    return np.dstack([d, d[::-1], d[:, ::-1]])


def pillow(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def opencv(pixels: Array, suffix: str, *options: int) -> bytes:
    """`pixels` in RGB(A) order."""
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(pixels.shape[-1] if pixels.ndim == 3 else 0)
    done, data = cv2.imencode(suffix, pixels[..., order] if order else pixels, list(options))
    assert done
    return data.tobytes()


def ffmpeg(pixels: Array, given: str, suffix: str, *options: str) -> bytes:
    """One frame through the ffmpeg program; `given` is the pixel format of `pixels`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"out{suffix}"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", given]
        command += ["-s", f"{pixels.shape[1]}x{pixels.shape[0]}", "-i", "-", *options, "-frames:v", "1"]
        subprocess.run([*command, "-update", "1", str(path)], input=pixels.tobytes(), check=True)
        return path.read_bytes()


def tiff(pixels: Array, **options: Any) -> bytes:
    out = io.BytesIO()
    options.setdefault("photometric", "rgb" if pixels.ndim == 3 else "minisblack")
    tifffile.imwrite(out, pixels, **options)
    return out.getvalue()


def over(pixels: Array, background: tuple[int, ...]) -> Array:
    """Alpha (last) over a colour, in exact arithmetic."""
    top = np.iinfo(pixels.dtype).max
    alpha = pixels[..., -1:].astype(np.float64) / top
    mixed = pixels[..., :-1] * alpha + (1 - alpha) * np.array(background[: pixels.shape[2] - 1]) * (top / 255)
    found: Array = np.rint(mixed).astype(pixels.dtype)
    return found[..., 0] if found.shape[2] == 1 else found


def jpegs() -> Iterator[Sample]:
    color, g = Image.fromarray(rgb()), Image.fromarray(gray())
    for chroma in ("4:2:0", "4:2:2", "4:4:4"):
        for progressive in (False, True):
            data = pillow(color, "JPEG", quality=95, subsampling=chroma, progressive=progressive)
            yield Sample(f"jpeg pillow {chroma}{' progressive' * progressive}", data, _by_pillow(data), 5)
    yield Sample("jpeg pillow gray", data := pillow(g, "JPEG", quality=95), _by_pillow(data), 2)
    yield Sample("jpeg opencv", data := opencv(rgb(), ".jpg"), _by_pillow(data), 5)
    restarts = opencv(rgb(), ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 3)
    yield Sample("jpeg opencv restarts", restarts, _by_pillow(restarts), 5)
    for chroma in ("420", "422", "444"):
        data = ffmpeg(rgb(), "rgb24", ".jpg", "-pix_fmt", f"yuvj{chroma}p", "-q:v", "2")
        yield Sample(f"jpeg ffmpeg {chroma}", data, _by_pillow(data), 5)
    yield Sample("jpeg imagecodecs", data := bytes(imagecodecs.jpeg8_encode(rgb(), level=95)), _by_pillow(data), 5)


def _by_pillow(data: bytes) -> Array:
    return np.asarray(Image.open(io.BytesIO(data)))


def pngs() -> Iterator[Sample]:
    g, color, alpha = gray(), rgb(), np.dstack([rgb(), gray()])
    yield Sample("png pillow gray", pillow(Image.fromarray(g), "PNG"), g)
    yield Sample("png pillow rgb", pillow(Image.fromarray(color), "PNG"), color)
    yield Sample("png pillow rgba", pillow(Image.fromarray(alpha), "PNG"), over(alpha, (0, 0, 0)))
    la = np.dstack([g, g[::-1]])
    yield Sample("png pillow gray alpha", pillow(Image.fromarray(la), "PNG"), over(la, (0,)))
    palette = Image.fromarray(color).quantize(200)
    yield Sample("png pillow palette", pillow(palette, "PNG"), np.asarray(palette.convert("RGB")))
    few = Image.fromarray(color).quantize(4)
    yield Sample("png pillow palette of 4", pillow(few, "PNG"), np.asarray(few.convert("RGB")))
    clear = np.where((np.asarray(palette) == 7)[..., None], 0, np.asarray(palette.convert("RGB"))).astype(np.uint8)
    yield Sample("png pillow palette, one clear", pillow(palette, "PNG", transparency=7), clear)
    bilevel = Image.fromarray(g).convert("1")
    yield Sample("png pillow 1 bit", pillow(bilevel, "PNG"), np.asarray(bilevel).astype(np.uint8) * 255)
    yield Sample("png opencv rgb", opencv(color, ".png"), color)
    yield Sample("png opencv gray 16", opencv(deep("u2"), ".png"), deep("u2"))
    yield Sample("png opencv rgb 16", opencv(deep_rgb(), ".png"), deep_rgb())
    alpha16 = np.dstack([deep_rgb(), deep("u2")])
    yield Sample("png opencv rgba 16", opencv(alpha16, ".png"), over(alpha16, (0, 0, 0)))
    yield Sample("png imagecodecs 16", bytes(imagecodecs.png_encode(deep("u2"))), deep("u2"))
    yield Sample("png ffmpeg gray 16", ffmpeg(deep("u2"), "gray16le", ".png"), deep("u2"))
    yield Sample("png ffmpeg rgb 16", ffmpeg(deep_rgb(), "rgb48le", ".png"), deep_rgb())
    la16 = np.dstack([deep("u2"), deep("u2")[::-1]])
    yield Sample("png ffmpeg gray alpha 16", ffmpeg(la16.astype(">u2"), "ya16be", ".png"), over(la16, (0,)))


def webps() -> Iterator[Sample]:
    color, alpha = Image.fromarray(rgb()), np.dstack([rgb(), gray()])
    yield Sample("webp pillow", data := pillow(color, "WEBP", quality=92), _by_pillow(data), 6)
    yield Sample("webp pillow lossless", pillow(color, "WEBP", lossless=True), rgb())
    data = pillow(Image.fromarray(alpha), "WEBP", lossless=True, exact=True)
    yield Sample("webp pillow lossless alpha", data, over(alpha, (0, 0, 0)))
    data = pillow(Image.fromarray(alpha), "WEBP", quality=92)
    yield Sample("webp pillow alpha", data, over(_by_pillow(data), (0, 0, 0)))
    yield Sample("webp opencv", data := opencv(rgb(), ".webp", cv2.IMWRITE_WEBP_QUALITY, 92), _by_pillow(data), 6)
    yield Sample("webp ffmpeg", data := ffmpeg(rgb(), "rgb24", ".webp", "-q:v", "92"), _by_pillow(data), 6)


def tiffs() -> Iterator[Sample]:
    for dtype in ("u1", "u2", "i1", "i2", "u4", "i4", "f2", "f4", "f8"):
        yield Sample(f"tiff tifffile {dtype}", tiff(deep(dtype)), deep(dtype))
        yield Sample(f"tiff tifffile {dtype} big-endian", tiff(deep(dtype), byteorder=">"), deep(dtype))
    for method in ("deflate", "lzw", "zstd", "lzma", "packbits"):
        for options in ({}, {"tile": (32, 48)}, {"rowsperstrip": 7}):
            name = f"tiff tifffile u2 {method} {options}"
            yield Sample(name, tiff(deep("u2"), compression=method, **options), deep("u2"))
    for dtype, predictor in (("u2", 2), ("f4", 3), ("u1", 2)):
        for method in ("deflate", "lzw"):
            data = tiff(deep(dtype), compression=method, predictor=predictor, tile=(32, 48))
            yield Sample(f"tiff tifffile {dtype} {method} predictor", data, deep(dtype))
    yield from _tiff_layouts()
    yield from _tiffs_by_others()
    yield Sample("tiff 12 bit", twelve_bit(deep("u2") >> 4), deep("u2") >> 4)


def _tiff_layouts() -> Iterator[Sample]:
    color, color16 = rgb(), deep_rgb()
    yield Sample("tiff tifffile rgb", tiff(color), color)
    yield Sample("tiff tifffile rgb 16", tiff(color16), color16)
    for planes in ({}, {"tile": (32, 32)}, {"compression": "deflate"}, {"compression": "lzw"}):
        data = tiff(np.moveaxis(color16, -1, 0), planarconfig="separate", **planes)
        yield Sample(f"tiff tifffile rgb 16 planes {planes}", data, color16)
    yield Sample("tiff tifffile rgb float", tiff(deep_rgb("f4")), deep_rgb("f4"))
    yield Sample("bigtiff tifffile", tiff(deep("u2"), bigtiff=True, compression="zstd"), deep("u2"))
    yield Sample("bigtiff tifffile big-endian", tiff(deep("u2"), bigtiff=True, byteorder=">"), deep("u2"))
    yield Sample("tiff tifffile white is zero", tiff(deep("u2"), photometric="miniswhite"), 65535 - deep("u2"))
    alpha = np.dstack([color, gray()])
    for extra in ("unassalpha", "unspecified"):
        meant = over(alpha, (0, 0, 0)) if extra == "unassalpha" else color
        yield Sample(f"tiff tifffile {extra}", tiff(alpha, extrasamples=[extra]), meant)
    yield Sample("tiff tifffile jpeg", data := tiff(color, compression="jpeg"), tifffile.imread(io.BytesIO(data)))
    yield Sample(
        "tiff tifffile two samples",
        tiff(np.dstack([gray()] * 2), photometric="minisblack", planarconfig="contig"),
        gray(),
    )


def _tiffs_by_others() -> Iterator[Sample]:
    yield Sample("tiff opencv 16 lzw", opencv(deep("u2"), ".tiff", cv2.IMWRITE_TIFF_COMPRESSION, 5), deep("u2"))
    yield Sample("tiff opencv rgb 16", opencv(deep_rgb(), ".tiff"), deep_rgb())
    yield Sample("tiff opencv float", opencv(deep("f4"), ".tiff"), deep("f4"))
    for method in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "raw"):
        data = pillow(Image.fromarray(deep("u2")), "TIFF", compression=method)
        yield Sample(f"tiff pillow 16 {method}", data, deep("u2"))
    yield Sample("tiff pillow float", pillow(Image.fromarray(deep("f4")), "TIFF"), deep("f4"))
    palette = Image.fromarray(rgb()).quantize(200)
    for method in ("raw", "tiff_lzw"):
        data = pillow(palette, "TIFF", compression=method)
        yield Sample(f"tiff pillow palette {method}", data, np.asarray(palette.convert("RGB")))
    bilevel = Image.fromarray(gray()).convert("1")
    for method in ("raw", "tiff_lzw", "packbits"):
        data = pillow(bilevel, "TIFF", compression=method)
        yield Sample(f"tiff pillow 1 bit {method}", data, np.asarray(bilevel).astype(np.uint8) * 255)
    for method in ("raw", "lzw", "deflate", "packbits"):
        data = ffmpeg(deep_rgb(), "rgb48le", ".tiff", "-compression_algo", method)
        yield Sample(f"tiff ffmpeg rgb 16 {method}", data, deep_rgb())
    yield Sample("tiff ffmpeg gray 16", ffmpeg(deep("u2"), "gray16le", ".tiff"), deep("u2"))


def twelve_bit(pixels: Array) -> bytes:
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


SAMPLES = {sample.name: sample for make in (jpegs, pngs, webps, tiffs) for sample in make()}
