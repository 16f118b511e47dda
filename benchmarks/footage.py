"""Camera frames to render: a slow pan over a street-like scene with walkers and sensor noise.

The same seed and OpenCV give the same bytes. Frames are generated once and kept in the user's cache folder.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from service.plan.natural_sort import natural_key

SEED, CACHE_VERSION = 20, 1
# Pixels of scene around the picture, for the pan.
MARGIN = 96
JPEG_QUALITY = 80
NOISE_FIELDS = 4

Pixels = NDArray[np.float32]


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


def load_or_create(count: int, size: tuple[int, int], cache: Path) -> Footage:
    """`count` frames of (width, height), generated if the cache lacks them."""
    folder = cache / f"street-v{CACHE_VERSION}-{size[0]}x{size[1]}-{count}"
    if not folder.is_dir():
        draft = folder.with_name(f".{folder.name}-{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        write_frames(draft, count, size)
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


def write_frames(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write `count` numbered JPEGs of (width, height) pixels."""
    random = np.random.default_rng(SEED)
    scene = _Scene(random, size)
    noise = [random.normal(0, 1, (size[1] + 64, size[0] + 64, 3)).astype(np.float32) for _ in range(NOISE_FIELDS)]
    for number in range(count):
        picture = scene.frame(number)
        left, top = random.integers(0, 64, 2)
        field = noise[int(random.integers(NOISE_FIELDS))][top : top + size[1], left : left + size[0]]
        exposed = picture + field * (0.5 + 0.04 * np.sqrt(np.clip(picture, 0, 255)))
        path = folder / f"{number:05d}.jpg"
        pixels = np.clip(exposed + 0.5, 0, 255).astype(np.uint8)
        cv2.imwrite(str(path), pixels, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))


class _Scene:
    """A textured backdrop with facades, crossed by walkers; (H, W, 3) BGR levels as float32."""

    def __init__(self, random: np.random.Generator, size: tuple[int, int]) -> None:
        self._size = size
        width, height = size[0] + 2 * MARGIN, size[1] + 2 * MARGIN
        self._backdrop = _draw_facades(random, _make_texture(random, width, height) * 34 + 105)
        self._walkers = [_Walker(random, size) for _ in range(14)]

    def frame(self, number: int) -> Pixels:
        """The picture of a frame, before noise."""
        shift = (MARGIN * (1 + 0.8 * np.sin(number * 0.011)), MARGIN * (1 + 0.3 * np.sin(number * 0.017)))
        move = np.array([[1, 0, -shift[0]], [0, 1, -shift[1]]], np.float32)
        picture = cv2.warpAffine(self._backdrop, move, self._size, flags=cv2.INTER_LINEAR).astype(
            np.float32, copy=False
        )
        for walker in self._walkers:
            walker.draw(picture, number)
        return picture


class _Walker:
    """An upright textured ellipse that crosses the picture and sways."""

    def __init__(self, random: np.random.Generator, size: tuple[int, int]) -> None:
        tall = int(size[1] * random.uniform(0.08, 0.26))
        wide = max(tall // 3, 4)
        colour = random.uniform(40, 210, 3).astype(np.float32)
        self._cloth = _make_texture(random, wide, tall) * 40 + colour
        rows, columns = np.mgrid[0:tall, 0:wide]
        round_ = ((columns / wide - 0.5) / 0.5) ** 2 + ((rows / tall - 0.5) / 0.5) ** 2
        self._alpha = cv2.GaussianBlur((round_ < 0.9).astype(np.float32), (5, 5), 0)[..., None]
        self._start, self._speed = random.uniform(0, size[0]), random.uniform(1.0, 5.0) * random.choice((-1, 1))
        self._top = random.uniform(0.35, 0.95) * (size[1] - tall)
        self._size = size

    def draw(self, picture: Pixels, number: int) -> None:
        """Blend into the picture; a walker that leaves one side returns on the other."""
        tall, wide = self._alpha.shape[:2]
        left = int((self._start + self._speed * number) % (self._size[0] + wide)) - wide
        top = int(np.clip(self._top + 4 * np.sin(number * 0.3), 0, self._size[1] - tall))
        begin, end = max(left, 0), min(left + wide, self._size[0])
        alpha = self._alpha[:, begin - left : end - left]
        place = picture[top : top + tall, begin:end]
        place += (self._cloth[:, begin - left : end - left] - place) * alpha


def _make_texture(random: np.random.Generator, width: int, height: int) -> Pixels:
    """Noise with the spectrum of photographs: about -1 to 1, with little colour."""
    total = np.zeros((height, width, 3), np.float32)
    for octave in range(8):
        step = 2**octave
        grid = random.normal(0, 1, (height // step + 2, width // step + 2, 1)).astype(np.float32)
        tint = grid + random.normal(0, 0.25, (*grid.shape[:2], 3)).astype(np.float32)
        total += cv2.resize(tint, (width, height), interpolation=cv2.INTER_CUBIC) * (0.042 * step**0.53)
    return total


def _draw_facades(random: np.random.Generator, picture: Pixels) -> Pixels:
    """Add houses with windows to the upper two thirds of the picture, and darken the road below."""
    height, width = picture.shape[:2]
    unit = max(height // 90, 2)
    for left in range(0, width, unit * 16):
        roof = int(height * random.uniform(0.05, 0.3))
        picture[roof : height * 2 // 3, left : left + unit * 15] += random.uniform(-45, 45, 3).astype(np.float32)
        for top in range(roof + unit * 2, height * 2 // 3 - unit * 4, unit * 7):
            for column in range(left + unit * 2, left + unit * 12, unit * 4):
                picture[top : top + unit * 4, column : column + unit * 2] += random.uniform(-60, 70)
    picture[height * 2 // 3 :] *= 0.8
    return picture
