"""Frames to render, as JPEGs of a camera, a microscope or a screen, or as 16-bit TIFFs.

The same OpenCV gives the same bytes. Frames are generated once and kept in the user's cache folder.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import tifffile
from PIL import Image

from benchmarks.scenes import JPEG_QUALITIES, SEED, Kind, pictures
from service.plan.names.natural_sort import natural_key

CACHE_VERSION = 1


class UnusableFolder(Exception):
    """The folder cannot be benchmarked; the text says why."""


class FootageShape(NamedTuple):
    """Number of frames, and their size in pixels."""

    frames: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Footage:
    """Ordered JPEGs or 16-bit gray TIFFs of one size."""

    frames: tuple[Path, ...]
    width: int
    height: int

    @property
    def shape(self) -> FootageShape:
        return FootageShape(len(self.frames), self.width, self.height)

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self.frames)


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reelmill-benchmarks"


def load_or_create(count: int, size: tuple[int, int], cache: Path, kind: Kind = "street") -> Footage:
    """`count` frames of (width, height), generated if the cache lacks them."""
    folder = cache / f"{kind}-v{CACHE_VERSION}-{size[0]}x{size[1]}-{count}"
    if not folder.is_dir():
        draft = folder.with_name(f".{folder.name}-{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        write_frames(draft, count, size, kind)
        draft.rename(folder)
    return load_folder(folder)


def convert_to_deep_tiffs(source: Footage, folder: Path) -> Footage:
    """Uncompressed 16-bit TIFFs of the same scene as a 12-bit monochrome camera would see it, with their own noise."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(SEED)
    noise = random.normal(0, 12, (source.height + 64, source.width + 64)).astype(np.float32)
    for number, path in enumerate(source.frames):
        gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert gray is not None
        left, top = random.integers(0, 64, 2)
        exposed = gray * np.float32(12) + 400 + noise[top : top + source.height, left : left + source.width]
        tifffile.imwrite(folder / f"{number:05d}.tif", exposed.clip(0, 4095).astype(np.uint16))
    return Footage(tuple(sorted(folder.iterdir())), source.width, source.height)


def repeat_frames(source: Footage, count: int, folder: Path) -> Footage:
    """A folder of `count` frames that repeats these as hard links: long footage without more disk space."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        if not path.exists():
            path.hardlink_to(source.frames[number % len(source.frames)])
    return load_folder(folder)


def load_folder(folder: Path) -> Footage:
    """The JPEGs of a folder in natural order. Raises UnusableFolder unless they have one size, a multiple of 4."""
    paths = [path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg")] if folder.is_dir() else []
    sizes = {_image_size(path) for path in paths}
    if len(sizes) != 1:
        raise UnusableFolder(f"{folder} holds no JPEGs" if not paths else f"{folder}: {len(sizes)} sizes of frames")
    width, height = sizes.pop()
    if width % 4 or height % 4:
        raise UnusableFolder(f"half of {width}x{height} has odd sides: crop the frames to multiples of 4")
    return Footage(tuple(sorted(paths, key=lambda path: natural_key(path.name))), width, height)


def _image_size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as picture:
            return picture.size
    except OSError as error:
        raise UnusableFolder(f"{path} cannot be read: {error}") from error


def write_frames(folder: Path, count: int, size: tuple[int, int], kind: Kind = "street") -> None:
    """Write `count` numbered JPEGs of (width, height) pixels."""
    for number, pixels in enumerate(pictures(kind, count, size)):
        cv2.imwrite(str(folder / f"{number:05d}.jpg"), pixels, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITIES[kind]))
