"""Frames that show their own number, as stripes that survive a crop, a tone window, scaling and an encoder."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (160, 90)
DARK, BRIGHT = 60, 190
BITS = 9
# A dark and a bright stripe to judge by, and one for each bit, in the middle of the frame.
FIRST_X, STRIPE = 41, 7
# How far the two must be apart to be stripes at all.
LEAST_CONTRAST = 30


def levels(number: int, size: tuple[int, int] = SIZE) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    picture = np.full((size[1], size[0]), 125, np.uint8)
    bits = [False, True, *(bool(number >> bit & 1) for bit in range(BITS))]
    for place, bit in enumerate(bits):
        picture[:, FIRST_X + place * STRIPE : FIRST_X + (place + 1) * STRIPE] = BRIGHT if bit else DARK
    return picture


def gray_jpeg(number: int, size: tuple[int, int] = SIZE) -> bytes:
    file = io.BytesIO()
    Image.fromarray(levels(number, size)).save(file, "JPEG", quality=92)
    return file.getvalue()


def number_of(row: Sequence[float], left: float = 0, width: float = SIZE[0]) -> int | None:
    """The number that a row of pixels shows, which lies over `width` pixels of the frame; None: it shows no frame."""
    middles = [FIRST_X + (place + 0.5) * STRIPE for place in range(2 + BITS)]
    dark, bright, *bits = [float(row[int((middle - left) / width * len(row))]) for middle in middles]
    if bright - dark < LEAST_CONTRAST:
        return None
    return sum((bit > (dark + bright) / 2) << place for place, bit in enumerate(bits))


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def flawed_jpegs(numbers: int) -> dict[str, bytes]:
    """Frame 23 is corrupt, 31 has another size, and 40 to 42 are missing."""
    files = {f"cam_{number:04}.jpg": gray_jpeg(number) for number in range(numbers) if number not in (40, 41, 42)}
    files["cam_0023.jpg"] = files["cam_0023.jpg"][: len(files["cam_0023.jpg"]) // 2]
    files["cam_0031.jpg"] = gray_jpeg(31, (160, 120))
    return files
