"""Images of one size, of each kind that takes memory in a way of its own."""

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support.data import colour_profiles, media

Array = np.ndarray[Any, np.dtype[Any]]
_PQ = bytes((9, 16, 0, 1))


def ramp(size: tuple[int, int], channels: int, kind: str) -> Array:
    """(height, width[, channels]): levels rise to the right, alpha, the last of 2 or 4 channels, downwards."""
    width, height = size
    top = 1 if kind[0] == "f" else np.iinfo(kind).max
    samples = np.empty((height, width, channels), kind)
    samples[:] = np.linspace(0, top, width)[None, :, None]
    if channels in (2, 4):
        samples[..., -1] = np.linspace(0, top, height)[:, None]
    return samples if channels > 1 else samples[..., 0]


def with_chunk(png: bytes, name: bytes, body: bytes) -> bytes:
    """The PNG with another chunk behind its header."""
    return png[:33] + struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) + png[33:]


def _png16(samples: Array) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.png_encode(samples, level=1))


def _png(samples: Array, mode: str | None = None, **options: Any) -> bytes:
    import io

    from PIL import Image

    file, image = io.BytesIO(), Image.fromarray(samples)
    (image.convert(mode) if mode else image).save(file, "PNG", compress_level=1, **options)
    return file.getvalue()


def _webp(samples: Array) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.webp_encode(samples, level=-1, lossless=True))


_PROFILE = colour_profiles.PROFILES["Adobe"]
KINDS: dict[str, Callable[[tuple[int, int]], bytes]] = {
    "JPEG 4:4:4, progressive": lambda size: media.jpeg(ramp(size, 3, "u1"), subsampling="4:4:4", progressive=True),
    "JPEG with a profile": lambda size: media.jpeg(ramp(size, 3, "u1"), icc_profile=_PROFILE),
    "PNG RGBA": lambda size: _png(ramp(size, 4, "u1")),
    "PNG gray and alpha": lambda size: _png(ramp(size, 2, "u1")),
    "PNG palette": lambda size: _png(ramp(size, 1, "u1"), "P"),
    "PNG palette with alpha": lambda size: _png(ramp(size, 1, "u1"), "P", transparency=3),
    "PNG 1 bit": lambda size: _png(ramp(size, 1, "u1"), "1"),
    "PNG 16-bit RGB": lambda size: _png16(ramp(size, 3, "u2")),
    "PNG 16-bit RGBA": lambda size: _png16(ramp(size, 4, "u2")),
    "PNG 16-bit HDR": lambda size: with_chunk(_png16(ramp(size, 3, "u2")), b"cICP", _PQ),
    "WebP lossless with alpha": lambda size: _webp(ramp(size, 4, "u1")),
    "TIFF 16-bit RGB": lambda size: media.tiff(ramp(size, 3, "u2")),
    "TIFF LZW": lambda size: media.tiff(ramp(size, 3, "u1"), compression="lzw"),
    "TIFF with alpha": lambda size: media.tiff(ramp(size, 4, "u2"), extrasamples=["assocalpha"]),
    "TIFF palette": lambda size: media.tiff(ramp(size, 1, "u1"), photometric="palette", colormap=_palette()),
    "TIFF float": lambda size: media.tiff(ramp(size, 1, "f4"), compression="zstd"),
}


def _palette() -> Array:
    return np.arange(768, dtype=np.uint16).reshape(3, 256) * 85
