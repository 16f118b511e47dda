"""Frames that show their own number, as stripes that survive a crop, a tone window, scaling and an encoder."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
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


def deep_tiff(number: int, size: tuple[int, int] = SIZE) -> bytes:
    """Of 16 bits."""
    file = io.BytesIO()
    Image.fromarray(levels(number, size).astype(np.uint16) * 200).save(file, "TIFF")
    return file.getvalue()


def flawed_jpegs(numbers: int) -> dict[str, bytes]:
    return _files_with_flaws(numbers, gray_jpeg, "jpg")


def flawed_tiffs(numbers: int) -> dict[str, bytes]:
    return _files_with_flaws(numbers, deep_tiff, "tif")


def _files_with_flaws(numbers: int, encode: Callable[..., bytes], suffix: str) -> dict[str, bytes]:
    """Frame 23 is corrupt, 31 has another size, and 40 to 42 are missing."""
    files = {f"cam_{number:04}.{suffix}": encode(number) for number in range(numbers) if number not in (40, 41, 42)}
    corrupt = f"cam_0023.{suffix}"
    files[corrupt] = files[corrupt][: len(files[corrupt]) // 2]
    files[f"cam_0031.{suffix}"] = encode(31, (160, 120))
    return files


def numbers_of(video: Path, left: float, width: float) -> list[int | None]:
    """What each frame of a file shows, which lies over `width` pixels of the source from `left` on."""
    with av.open(str(video)) as container:
        pictures = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    return [number_of(list(each[len(each) // 2]), left, width) for each in pictures]


def as_told(shown: list[int | None], lines: list[dict[str, Any]]) -> list[int | None]:
    """What each frame shows by the receipt; what has another size does not show its number where the others do."""
    told = sorted((line for line in lines if line["output"] is not None), key=lambda line: line["output"])
    assert [line["output"] for line in told] == list(range(len(shown)))
    numbers = {line["source"]: int("".join(filter(str.isdigit, line["key"].split("/")[-1]))) for line in lines}
    sources = [line["source"] if line.get("substituted_from") is None else line["substituted_from"] for line in told]
    return [
        shown[place] if line["outcome"] == "resized" else numbers[source]
        for place, (line, source) in enumerate(zip(told, sources, strict=True))
    ]
