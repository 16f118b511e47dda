"""Four kinds of footage, as BGR pictures without JPEG: a street by day, the same at night, a microscope, a screen.

The same seed and OpenCV give the same pictures.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Kind = Literal["street", "night", "microscope", "screen"]
Size = tuple[int, int]
Pixels = NDArray[np.float32]
Picture = NDArray[np.uint8]

SEED = 20
# Pixels of scene around the picture, for the pan.
MARGIN = 96
NOISE_FIELDS = 4
# What cameras of the kind are usually set to.
JPEG_QUALITIES: dict[Kind, int] = {"street": 80, "night": 92, "microscope": 90, "screen": 90}


def pictures(kind: Kind, count: int, size: Size) -> Iterator[Picture]:
    """`count` pictures (H, W, 3) of this kind; `size` is (width, height)."""
    return _KINDS[kind](count, size)


class _SensorNoise:
    """Gaussian noise that differs from frame to frame: one of a few fields, at a random place."""

    def __init__(self, random: np.random.Generator, size: Size, channels: int = 3) -> None:
        self._random, self._size = random, size
        shape = (size[1] + 64, size[0] + 64, channels)
        self._fields = [random.normal(0, 1, shape).astype(np.float32) for _ in range(NOISE_FIELDS)]

    def next_field(self) -> Pixels:
        """(H, W, channels), standard deviation 1."""
        left, top = self._random.integers(0, 64, 2)
        field = self._fields[int(self._random.integers(NOISE_FIELDS))]
        part: Pixels = field[top : top + self._size[1], left : left + self._size[0]]
        return part


def _street(count: int, size: Size) -> Iterator[Picture]:
    """A slow pan over a street-like scene with walkers and the noise of a sensor by day."""
    random = np.random.default_rng(SEED)
    scene, noise = _Scene(random, size), _SensorNoise(random, size)
    for number in range(count):
        picture = scene.frame(number)
        exposed = picture + noise.next_field() * (0.5 + 0.04 * np.sqrt(np.clip(picture, 0, 255)))
        yield np.clip(exposed + 0.5, 0, 255).astype(np.uint8)


def _night(count: int, size: Size) -> Iterator[Picture]:
    """The street without a pan, at a tenth of the light, with lamps and the noise of a sensor at full gain."""
    random = np.random.default_rng(SEED)
    scene, noise = _Scene(random, size), _SensorNoise(random, size)
    lamps = _draw_lamps(random, size)
    for number in range(count):
        picture = scene.frame(number, pan=False) * (0.1 + 0.5 * lamps) + 70 * lamps**2 + 10
        exposed = picture + noise.next_field() * (2.5 + 0.5 * np.sqrt(picture))
        yield np.clip(exposed + 0.5, 0, 255).astype(np.uint8)


def _draw_lamps(random: np.random.Generator, size: Size) -> Pixels:
    """(H, W, 1), 0 to 1: how far the light of each lamp reaches."""
    light = np.zeros((size[1], size[0]), np.float32)
    for place in random.uniform(0.1, 0.9, (5, 2)) * size:
        cv2.circle(light, (int(place[0]), int(place[1] * 0.6)), max(size[1] // 60, 2), 1, -1)
    halo = cv2.GaussianBlur(light, (0, 0), size[1] / 16)
    return np.maximum(light, halo / max(float(halo.max()), 1e-6) * 0.5)[..., None].astype(np.float32)


def _microscope(count: int, size: Size) -> Iterator[Picture]:
    """Fluorescent cells that drift and pulsate on black, in gray, with shot noise."""
    random = np.random.default_rng(SEED)
    noise = _SensorNoise(random, size, 1)
    places, drifts = random.uniform(0, 1, (150, 2)) * size, random.normal(0, 0.8, (150, 2))
    radii, lights = random.uniform(0.006, 0.03, 150) * size[1], random.uniform(15, 130, 150)
    for number in range(count):
        light: Pixels = np.full((size[1], size[0]), 7, np.float32)
        for place, radius, level in zip(places + drifts * number, radii, lights, strict=True):
            pulse = level * (1 + 0.3 * np.sin(number / 20 + radius))
            cv2.circle(light, (int(place[0]), int(place[1])), int(radius), float(pulse), -1)
        light = cv2.blur(light, (9, 9)).astype(np.float32, copy=False)[..., None]
        exposed = light + noise.next_field() * np.sqrt(0.5 * light + 1)
        yield np.repeat(np.clip(exposed + 0.5, 0, 255).astype(np.uint8), 3, axis=2)


def _screen(count: int, size: Size) -> Iterator[Picture]:
    """A window of scrolling text, a growing chart and a moving pointer: sharp edges, no noise."""
    random = np.random.default_rng(SEED)
    width, height = size
    page = _draw_page(random, (width // 2, height * 2))
    curve = (np.cumsum(random.normal(0, height / 90, width)) + height / 2).clip(height * 0.1, height * 0.9)
    for number in range(count):
        picture = np.full((height, width, 3), (236, 232, 228), np.uint8)
        top = (number // 2 * 4) % (page.shape[0] - height * 3 // 4)
        picture[height // 8 : height // 8 + height * 3 // 4, width // 32 : width // 32 + page.shape[1]] = page[
            top : top + height * 3 // 4
        ]
        left, shown = width * 9 // 16, 4 + number * width * 3 // 8 // max(count, 1)
        line = np.stack([left + np.arange(shown), curve[:shown]], axis=1).astype(np.int32)
        cv2.rectangle(picture, (left, height // 8), (width * 31 // 32, height * 7 // 8), (255, 255, 255), -1)
        cv2.polylines(picture, [line], False, (200, 60, 40), 2, cv2.LINE_AA)
        pointer = (int(width * (0.5 + 0.4 * np.sin(number / 25))), int(height * (0.5 + 0.3 * np.cos(number / 31))))
        cv2.drawMarker(picture, pointer, (20, 20, 20), cv2.MARKER_TILTED_CROSS, max(height // 60, 4), 2)
        yield picture


def _draw_page(random: np.random.Generator, size: Size) -> Picture:
    """(H, W, 3): black lines of words of random letters on white."""
    page = np.full((size[1], size[0], 3), 255, np.uint8)
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789    ")
    step = max(size[1] // 90, 8)
    for top in range(step, size[1], step):
        line = "".join(random.choice(letters, 60))
        cv2.putText(page, line, (8, top), cv2.FONT_HERSHEY_SIMPLEX, step / 42, (30, 30, 30), 1, cv2.LINE_AA)
    return page


_KINDS: dict[Kind, Callable[[int, Size], Iterator[Picture]]] = {
    "street": _street,
    "night": _night,
    "microscope": _microscope,
    "screen": _screen,
}


class _Scene:
    """A textured backdrop with facades, crossed by walkers; (H, W, 3) BGR levels as float32."""

    def __init__(self, random: np.random.Generator, size: tuple[int, int]) -> None:
        self._size = size
        width, height = size[0] + 2 * MARGIN, size[1] + 2 * MARGIN
        self._backdrop = _draw_facades(random, _make_texture(random, width, height) * 34 + 105)
        self._walkers = [_Walker(random, size) for _ in range(14)]

    def frame(self, number: int, pan: bool = True) -> Pixels:
        """The picture of a frame, before noise."""
        angle = number if pan else 0
        shift = (MARGIN * (1 + 0.8 * np.sin(angle * 0.011)), MARGIN * (1 + 0.3 * np.sin(angle * 0.017)))
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
