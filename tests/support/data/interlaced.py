"""Footage that moves sideways, as a camera of 50 fields a second would store it, encoded by FFmpeg's command line."""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import imageio_ffmpeg
import numpy as np

Gray = np.ndarray[Any, np.dtype[np.uint8]]
Order = Literal["progressive", "top", "bottom"]

WIDTH, HEIGHT = 128, 96
# Command line options that make an encoder flag its pictures, and say which field is first.
FLAGGED = {
    "top": ("-vf", "setfield=tff", "-flags", "+ildct+ilme", "-field_order", "tt"),
    "bottom": ("-vf", "setfield=bff", "-flags", "+ildct+ilme", "-field_order", "bb"),
    "progressive": ("-vf", "setfield=prog"),
}


def moments(count: int, speed: int = 3, size: tuple[int, int] = (WIDTH, HEIGHT), seed: int = 1) -> list[Gray]:
    """(height, width) pictures of a smooth random texture that moves by `speed` pixels from each to the next."""
    width, height = size
    rough = np.random.default_rng(seed).normal(0, 1, (height, width + speed * count))
    taps = np.array([1.0, 4, 6, 4, 1]) / 16
    for axis in (0, 1):
        rough = np.apply_along_axis(lambda line: np.convolve(line, taps, "same"), axis, rough)
    texture = np.clip(126 + 160 * rough, 16, 235).astype(np.uint8)
    return [texture[:, speed * number : speed * number + width] for number in range(count)]


def woven(fields: Sequence[Gray], order: Order) -> list[Gray]:
    """Pictures of two moments each, with the even rows of the first (`top`) or of the second (`bottom`)."""
    if order == "progressive":
        return list(fields[::2])
    pictures = []
    for first, second in zip(fields[::2], fields[1::2], strict=True):
        picture = first.copy()
        row = 1 if order == "top" else 0
        picture[row::2] = second[row::2]
        pictures.append(picture)
    return pictures


def encode(pictures: Sequence[Gray], suffix: str, *arguments: str) -> bytes:
    """A file of pictures with this luma and no colour, at 25 pictures a second, by FFmpeg's command line."""
    height, width = pictures[0].shape
    source = ("-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-r", "25", "-i", "-")
    chroma = bytes([128]) * (width * height // 2)
    return run_ffmpeg(b"".join(picture.tobytes() + chroma for picture in pictures), suffix, *source, *arguments)


def run_ffmpeg(data: bytes, suffix: str, *arguments: str) -> bytes:
    """FFmpeg with `data` on its standard input; the bytes of its output file."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"out{suffix}"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *arguments, str(out)]
        subprocess.run(command, input=data, check=True, capture_output=True)
        return out.read_bytes()


def ffmpeg_log(data: bytes, *arguments: str) -> str:
    """What FFmpeg's command line says while it reads `data` from its standard input."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", *arguments, "-f", "null", "-"]
    return subprocess.run(command, input=data, check=True, capture_output=True).stderr.decode()
