"""Camera-like pictures made with numpy and Pillow alone: texture, edges, a pan and sensor noise."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.devices.cases import Size

SEED, JPEG_QUALITY = 5, 80
# Pixels that the view pans per picture.
PAN_STEP = 6
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def make_jpegs(size: Size, count: int) -> tuple[bytes, ...]:
    """4:2:0 JPEGs of (width, height); deterministic for the same numpy and Pillow."""
    return tuple(_encode_jpeg(picture) for picture in make_pictures(size, count))


def make_pictures(size: Size, count: int) -> Sequence[Pixels]:
    """Pictures of (H, W, 3), uint8 R'G'B'."""
    random = np.random.default_rng(SEED)
    scene = _draw_scene(random, (size[0] + PAN_STEP * count, size[1]))
    noise = random.normal(0, 1.6, (size[1], size[0] + 64, 1)).astype(np.float32)
    pictures = []
    for number in range(count):
        shift = int(random.integers(64))
        shown = scene[:, number * PAN_STEP : number * PAN_STEP + size[0]] + noise[:, shift : shift + size[0]]
        pictures.append(shown.clip(0, 255).astype(np.uint8))
    return pictures


def make_deep_pictures(size: Size, count: int) -> "list[np.ndarray[Any, np.dtype[np.uint16]]]":
    """Pictures of (H, W), uint16, with the levels of a 12-bit camera."""
    return [picture[..., 1].astype(np.uint16) * 15 + 90 for picture in make_pictures(size, count)]


def _draw_scene(random: np.random.Generator, size: Size) -> "np.ndarray[Any, np.dtype[np.float32]]":
    total = np.full((size[1], size[0], 3), 110, np.float32)
    for octave in range(2, 8):
        step = 2**octave
        grid = random.normal(0, 1, (-(-size[1] // step) + 1, -(-size[0] // step) + 1, 3))
        grid = (grid + 3 * grid[..., :1]) * step**0.3
        total += np.kron(grid, np.ones((step, step, 1), np.float32))[: size[1], : size[0]].astype(np.float32)
    for _ in range(24):
        left, top = random.integers(0, size[0]), random.integers(0, size[1])
        total[top : top + size[1] // 5, left : left + size[0] // 12] += random.uniform(-60, 60, 3).astype(np.float32)
    return total


def _encode_jpeg(picture: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "jpeg", quality=JPEG_QUALITY, subsampling="4:2:0")
    return buffer.getvalue()
