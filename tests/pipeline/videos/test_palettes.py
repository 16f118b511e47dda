"""Source videos with a palette have their colours at every picture, however it is reached."""

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from service.pipeline.probe import probe_video
from service.pipeline.videos.source import VideoSource
from tests.pipeline.rendering import decode_pictures
from tests.pipeline.videos.test_source import render_pictures
from tests.support.data.ffmpeg_command import make_video, shown_by_ffmpeg
from tests.support.data.riff import gray_ramp, palette_avi

RNG = np.random.default_rng(5)
COUNT = 12
COLOURS = [tuple(int(level) for level in RNG.integers(0, 256, 3)) for _ in range(256)]


def indexes(bits: int) -> list[np.ndarray]:
    return [RNG.integers(0, 1 << bits, (30, 42), np.uint8) for _ in range(COUNT)]


def of_imagej(bits: int) -> bytes:
    return palette_avi(indexes(bits), bits, gray_ramp(bits))


def of_windows(bits: int) -> bytes:
    return palette_avi(indexes(bits), bits, COLOURS[: 1 << bits])


def changing() -> bytes:
    return palette_avi(indexes(8), 8, COLOURS, {5: COLOURS[::-1], 9: COLOURS})


def by_ffmpeg(name: str, codec: str, pixel_format: str) -> Callable[[], bytes]:
    pictures = ("-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=0.48")
    return lambda: make_video(name, *pictures, "-c:v", codec, "-pix_fmt", pixel_format)


def animation() -> bytes:
    """A FLC: the palette is in the first picture, a second one in the sixth, and lines change between."""
    width, height, out, pixels = 40, 30, io.BytesIO(), RNG.integers(0, 256, (30, 40), np.uint8)
    colours = np.array(COLOURS, np.uint8)

    def chunk(kind: int, body: bytes) -> bytes:
        return struct.pack("<IH", 6 + len(body), kind) + body

    def frame(*chunks: bytes) -> bytes:
        return struct.pack("<IHH8x", 16 + sum(map(len, chunks)), 0xF1FA, len(chunks)) + b"".join(chunks)

    first = frame(chunk(4, struct.pack("<HBB", 1, 0, 0) + colours.tobytes()), chunk(16, pixels.tobytes()))
    frames = [first]
    for number in range(1, COUNT):
        line = struct.pack("<HHBBB", number * 2, 1, 1, 0, width) + RNG.integers(0, 256, width, np.uint8).tobytes()
        palette = [chunk(4, struct.pack("<HBB", 1, 0, 0) + colours[::-1].tobytes())] if number == 5 else []
        frames.append(frame(*palette, chunk(12, line + b"\0" * (len(line) % 2))))
    body = b"".join(frames)
    header = struct.pack("<IHHHHHHI", 128 + len(body), 0xAF12, COUNT, width, height, 8, 3, 40)
    out.write(header.ljust(80, b"\0") + struct.pack("<II", 128, 128 + len(first)) + bytes(40) + body)
    return out.getvalue()


def animated_gif() -> bytes:
    out = io.BytesIO()
    pictures = [Image.fromarray(RNG.integers(0, 256, (40, 50, 3), np.uint8)).quantize(200) for _ in range(COUNT)]
    pictures[0].save(out, "GIF", save_all=True, append_images=pictures[1:], duration=80)
    return out.getvalue()


SOURCES: dict[str, Callable[[], bytes]] = {
    "imagej-avi": lambda: of_imagej(8),
    "avi-8-bit": lambda: of_windows(8),
    "avi-4-bit": lambda: of_windows(4),
    "avi-1-bit": lambda: of_windows(1),
    "avi-changing": changing,
    "raw-avi": by_ffmpeg("v.avi", "rawvideo", "pal8"),
    "raw-mov": by_ffmpeg("v.mov", "rawvideo", "pal8"),
    "gray-mov": by_ffmpeg("v.mov", "rawvideo", "gray"),
    "msrle-avi": by_ffmpeg("v.avi", "msrle", "pal8"),
    "qtrle-mov": by_ffmpeg("v.mov", "qtrle", "pal8"),
    "smc-mov": by_ffmpeg("v.mov", "smc", "pal8"),
    "smc-mkv": lambda: make_video("v.mkv", "-c", "copy", source=SOURCES["smc-mov"]()),
    "png-mov": by_ffmpeg("v.mov", "png", "pal8"),
    "bottom-up-rgb": by_ffmpeg("v.avi", "bmp", "bgr24"),
    "flc": animation,
    "gif": animated_gif,
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_picture_has_its_colours(name: str) -> None:
    data = SOURCES[name]()
    pts = probe_video(io.BytesIO(data)).pts
    assert len(pts) == COUNT
    orders = [range(COUNT), range(2, COUNT, 3), range(COUNT - 1, -1, -2), (6,), (COUNT - 1,), (7, 1, 11, 0)]
    for order in orders:
        with VideoSource(io.BytesIO(data)) as source:
            frames = {number: source.picture(pts[number]).frame.to_ndarray(format="rgb24") for number in order}
        shown = shown_by_ffmpeg(data, (frames[order[0]].shape[1], frames[order[0]].shape[0]))
        for number, pixels in frames.items():
            assert np.array_equal(pixels, shown[number]), (order, number)


@pytest.mark.parametrize("name", ["imagej-avi", "raw-mov", "avi-4-bit"])
@pytest.mark.parametrize("part", [None, (3, 5, 20, 16)], ids=["whole", "crop"])
def test_a_lossless_render_holds_the_colours(name: str, part: tuple[int, int, int, int] | None) -> None:
    """Rows of an AVI are stored from the bottom up: a crop must not read beyond them."""
    from service.plan.geometry import Crop

    data = SOURCES[name]()
    facts = probe_video(io.BytesIO(data))
    assert facts.pixel_format == "bgr0"
    x, y, width, height = part or (0, 0, facts.width, facts.height)
    crop = Crop(x, y, width, height, facts.width, facts.height) if part else None
    result = render_pictures(data, [0, 7], codec="ffv1", form="bgr0", width=width, height=height, crop=crop)
    shown = shown_by_ffmpeg(data, (facts.width, facts.height))[[0, 7], y : y + height, x : x + width]
    assert np.array_equal(np.array(decode_pictures(result.data)), shown)
