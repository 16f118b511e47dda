"""Images of every kind of sample, palette and transparency, with what an independent reader shows of them."""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from tests.pipeline.images.sample_images import (
    Array,
    composite_over,
    encode_tiff,
    encode_with_pillow,
    gray,
    high_bit_depth,
    high_bit_depth_rgb,
    rgb,
)

RED, MID_GRAY = (255, 0, 0), (128, 128, 128)


@dataclass(frozen=True)
class ImageKind:
    """`shown` (height, width) is gray and (height, width, 3) RGB: what the picture means, in its own samples."""

    name: str
    data: bytes
    shown: Array
    background: tuple[int, int, int] = (0, 0, 0)


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def encode_png(samples: Array, depth: int, colour_type: int, *chunks: bytes, after: bytes = b"") -> bytes:
    """A PNG of (height, width) or (height, width, channels) samples below 2^depth; `chunks` go before the image data,
    `after` goes behind it."""
    height, width = samples.shape[:2]
    lines = samples.reshape(height, -1)
    if depth < 8:
        bits = (lines[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(bits.astype(np.uint8).reshape(height, -1), axis=1)
    else:
        rows = lines.astype(f">u{depth // 8}").view(np.uint8)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = png_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    ending = after + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + b"".join(chunks) + data + ending


def encode_packed_tiff(indexes: Array, bits: int, palette: Array, compression: int) -> bytes:
    """A TIFF of a palette (TIFF 6.0, section 5) below 8 bits; `compression` is 1, 5 (LZW) or 32773 (PackBits)."""
    height, width = indexes.shape
    ones = (indexes[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(ones.astype(np.uint8).reshape(height, -1), axis=1)
    if compression == 5:
        pixels = bytes(imagecodecs.lzw_encode(rows.tobytes()))
    elif compression == 32773:
        pixels = b"".join(bytes(imagecodecs.packbits_encode(row.tobytes())) for row in rows)
    else:
        pixels = rows.tobytes()
    colours = (palette.T.astype("<u2") * 257).tobytes()
    fields = {256: width, 257: height, 258: bits, 259: compression, 262: 3, 273: 8, 277: 1, 278: height}
    fields |= {279: len(pixels), 320: 8 + len(pixels)}
    data = b"II*\0" + (8 + len(pixels) + len(colours)).to_bytes(4, "little") + pixels + colours
    data += len(fields).to_bytes(2, "little")
    for tag, value in fields.items():
        kind, count = (3, 3 << bits) if tag == 320 else (4, 1)
        data += struct.pack("<HHII", tag, kind, count, value)
    return data + bytes(4)


def _quantized(bits: int) -> tuple[Array, Array]:
    """(indexes (height, width), palette (colours, 3)) of a colour picture."""
    image = Image.fromarray(rgb()).quantize(1 << bits)
    palette = np.array(image.getpalette(), np.uint8).reshape(-1, 3)[: 1 << bits]
    return np.asarray(image), palette


def _palettes() -> list[ImageKind]:
    found = []
    for bits in (1, 2, 4, 8):
        indexes, palette = _quantized(bits)
        colours = png_chunk(b"PLTE", palette.tobytes())
        found.append(ImageKind(f"png palette {bits}", encode_png(indexes, bits, 3, colours), palette[indexes]))
        for compression in (1, 5, 32773) if bits < 8 else ():
            data = encode_packed_tiff(indexes, bits, palette, compression)
            assert (np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) == palette[indexes]).all()
            found.append(ImageKind(f"tiff palette {bits}, compression {compression}", data, palette[indexes]))
    alpha = np.full(len(palette), 255)
    alpha[:40] = 0
    alpha[40:80] = 100
    clear = png_chunk(b"tRNS", alpha.astype(np.uint8).tobytes())
    shown = composite_over(np.dstack([palette[indexes], alpha[indexes].astype(np.uint8)]), RED)
    found.append(ImageKind("png palette, clear", encode_png(indexes, 8, 3, colours, clear), shown, RED))
    grays = np.repeat(np.arange(256, dtype=np.uint8)[::-1, None], 3, axis=1)
    of_gray = encode_png(gray(), 8, 3, png_chunk(b"PLTE", grays.tobytes()))
    found.append(ImageKind("png palette of gray", of_gray, grays[gray()]))
    table = palette.T.astype(np.uint16)
    for name, colormap in (("16-bit", table * 257), ("high bytes", table << 8), ("8-bit", table)):
        data = encode_tiff(indexes, photometric="palette", colormap=np.ascontiguousarray(colormap))
        found.append(ImageKind(f"tiff palette of {name} colours", data, palette[indexes]))
    pillow = Image.fromarray(rgb()).quantize(200)
    shown = np.asarray(pillow.convert("RGB"))
    found.append(ImageKind("tiff palette of pillow", encode_with_pillow(pillow, "TIFF", compression="raw"), shown))
    lut = np.stack([np.arange(256), np.zeros(256), np.zeros(256)]).astype(np.uint16) * 257
    imagej = encode_tiff(gray(), photometric="palette", colormap=lut, metadata=None, description="ImageJ=1.53t\n")
    found.append(ImageKind("tiff with ImageJ's red", imagej, np.dstack([gray(), gray() * 0, gray() * 0])))
    return found


def _transparent() -> list[ImageKind]:
    found, deep = [], high_bit_depth("u2")
    pair, deep_pair = np.dstack([gray(), gray()[::-1]]), np.dstack([deep, deep[::-1]])
    for background in ((0, 0, 0), MID_GRAY, RED):
        name = f"over {background}"
        for kind, samples, depth in (("", pair, 8), (" 16", deep_pair, 16)):
            shown = composite_over(samples, background[:1])
            if background == RED:
                shown = composite_over(np.dstack([*[samples[..., 0]] * 3, samples[..., 1]]), RED)
            found.append(ImageKind(f"png gray alpha{kind} {name}", encode_png(samples, depth, 4), shown, background))
            tiff = encode_tiff(samples, photometric="minisblack", extrasamples=["unassalpha"], planarconfig="contig")
            found.append(ImageKind(f"tiff gray alpha{kind} {name}", tiff, shown, background))
    colours = np.dstack([rgb(), gray()])
    premultiplied = np.rint(rgb() * (gray()[..., None] / 255)).astype(np.uint8)
    tiff = encode_tiff(np.dstack([premultiplied, gray()]), extrasamples=["assocalpha"])
    exact = np.rint(premultiplied + (255 - gray()[..., None].astype(float)) / 255 * RED).clip(0, 255)
    found.append(ImageKind("tiff rgb premultiplied", tiff, exact.astype(np.uint8), RED))
    tiff = encode_tiff(colours, extrasamples=["unassalpha"])
    found.append(ImageKind("tiff rgb alpha", tiff, composite_over(colours, RED), RED))
    found.append(ImageKind("png rgb alpha", encode_png(colours, 8, 6), composite_over(colours, RED), RED))
    return found + [_transparent_level(depth) for depth in (1, 2, 4, 8, 16)] + [_transparent_colour(d) for d in (8, 16)]


def _transparent_level(depth: int) -> ImageKind:
    """PNG 3, 11.3.2.1: samples equal to tRNS, at the depth of the image, are transparent. The level whose 8-bit value
    is that number stays as it is."""
    top = (1 << depth) - 1
    samples = (high_bit_depth("u2") >> (16 - depth)).astype(np.uint16)
    level = int(samples[40, 60])
    eight = samples * (255 // top) if depth < 8 else samples
    full = 255 if depth < 16 else 65_535
    pixels = np.dstack([*[eight] * 3, np.where(samples == level, 0, full)]).astype(np.uint16 if depth > 8 else np.uint8)
    data = encode_png(samples, depth, 0, png_chunk(b"tRNS", struct.pack(">H", level)))
    return ImageKind(f"png gray {depth}, clear level", data, composite_over(pixels, RED), RED)


def _transparent_colour(depth: int) -> ImageKind:
    samples = rgb() // 16 * 16 if depth == 8 else high_bit_depth_rgb() // 8000 * 8000
    colour = samples[40, 60]
    opaque = np.where((samples == colour).all(-1), 0, 255 if depth == 8 else 65_535)
    data = encode_png(samples, depth, 2, png_chunk(b"tRNS", struct.pack(">HHH", *map(int, colour))))
    pixels = np.dstack([samples, opaque]).astype(samples.dtype)
    return ImageKind(f"png rgb {depth}, clear colour", data, composite_over(pixels, RED), RED)


def _tiffs() -> list[ImageKind]:
    found = []
    for dtype in ("i1", "u2", "i2", "f2", "u4", "i4", "f4", "f8"):
        found.append(ImageKind(f"tiff gray {dtype}", encode_tiff(high_bit_depth(dtype)), high_bit_depth(dtype)))
        found.append(ImageKind(f"tiff rgb {dtype}", encode_tiff(high_bit_depth_rgb(dtype)), high_bit_depth_rgb(dtype)))
    planes = encode_tiff(np.moveaxis(high_bit_depth_rgb("f4"), -1, 0), planarconfig="separate")
    found.append(ImageKind("tiff rgb f4 planes", planes, high_bit_depth_rgb("f4")))
    bilevel = Image.fromarray(gray()).convert("1")
    white = encode_with_pillow(bilevel, "TIFF", tiffinfo={262: 0})
    found.append(ImageKind("tiff white is zero, 1 bit", white, np.asarray(Image.open(io.BytesIO(white)).convert("L"))))
    inverted = encode_tiff(gray(), photometric="miniswhite")
    found.append(ImageKind("tiff white is zero", inverted, 255 - gray()))
    jpeg = encode_tiff(rgb(), photometric="ycbcr", compression="jpeg", subsampling=(2, 2), rowsperstrip=96)
    found.append(ImageKind("tiff jpeg 4:2:0", jpeg, tifffile.imread(io.BytesIO(jpeg))))
    three = encode_tiff(np.dstack([gray(), gray()[::-1], gray()]), photometric="minisblack", planarconfig="contig")
    found.append(ImageKind("tiff of three channels, not RGB", three, gray()))
    composite = io.BytesIO()
    tifffile.imwrite(composite, high_bit_depth("u2")[None], imagej=True, metadata={"mode": "composite"})
    found.append(ImageKind("tiff of ImageJ, 16 bit", composite.getvalue(), high_bit_depth("u2")))
    ome = io.BytesIO()
    tifffile.imwrite(ome, high_bit_depth_rgb(), ome=True, photometric="rgb")
    found.append(ImageKind("ome-tiff rgb 16", ome.getvalue(), high_bit_depth_rgb()))
    return found


def _others() -> list[ImageKind]:
    lossless = encode_with_pillow(Image.fromarray(rgb()), "WEBP", lossless=True)
    alpha = np.dstack([rgb(), gray()])
    data = encode_with_pillow(Image.fromarray(alpha), "WEBP", lossless=True, exact=True)
    return [
        ImageKind("webp lossless", lossless, rgb()),
        ImageKind("webp alpha", data, composite_over(alpha, RED), RED),
        ImageKind("png gray 16", bytes(imagecodecs.png_encode(high_bit_depth("u2"))), high_bit_depth("u2")),
        ImageKind("png rgb 16", bytes(imagecodecs.png_encode(high_bit_depth_rgb())), high_bit_depth_rgb()),
        ImageKind("png gray", encode_png(gray(), 8, 0), gray()),
    ]


KINDS = {kind.name: kind for kind in (*_palettes(), *_transparent(), *_tiffs(), *_others())}


def refused_tiffs() -> dict[str, tuple[bytes, str]]:
    """TIFFs whose colours have no meaning on a screen, or too many of them: the bytes, and a word of the reason."""
    cmyk = encode_with_pillow(Image.fromarray(rgb()).convert("CMYK"), "TIFF")
    lab = encode_with_pillow(Image.fromarray(rgb()).convert("LAB"), "TIFF")
    options: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}
    five = encode_tiff(np.dstack([gray()] * 5), **options)
    return {"cmyk": (cmyk, "CMYK"), "lab": (lab, r"L\*a\*b\*"), "five channels": (five, "5 samples")}
