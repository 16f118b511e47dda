"""A mixed corpus of clips: street, hall, graphics and cells, as limited-range yuv420p."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from benchmarks.footage import cache_folder, load_or_create
from service.pipeline.colour import LIMITED_RANGE
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.pipeline.transform.colour_range import convert_range

FRAMES, SIZE = 48, (960, 540)
Clip = list[VideoFrame]
Pixels = NDArray[np.uint8]
FloatImage = NDArray[np.float32]


def clips(hall_video: Path) -> dict[str, Clip]:
    """Name -> frames. `hall` is vtest.avi of Debian's package opencv-doc, omitted if the file does not exist."""
    found = {"street": _street_clip(), "graphics": _clip_of(_draw_graphics), "cells": _clip_of(_draw_cells)}
    if hall_video.is_file():
        with av.open(str(hall_video)) as container:
            found["hall"] = list(itertools.islice(container.decode(video=0), FRAMES))
    return found


def _street_clip() -> Clip:
    """JPEGs of twice the size, reduced: at full size, libjpeg would meet levels that it has quantised itself."""
    decoder, reformatter = ImageDecoder(DecodeOptions(10_000_000)), VideoReformatter()
    footage = load_or_create(FRAMES, (2 * SIZE[0], 2 * SIZE[1]), cache_folder())
    large = (
        convert_range(LIMITED_RANGE, decoder.decode(path.read_bytes()).frame, "yuv420p") for path in footage.frames
    )
    return [reformatter.reformat(frame, *SIZE, interpolation=Interpolation.AREA) for frame in large]


def _clip_of(pictures: Callable[[], Iterator[Pixels]]) -> Clip:
    """RGB pictures as limited-range yuv420p frames."""
    reformatter = VideoReformatter()
    return [
        reformatter.reformat(
            VideoFrame.from_ndarray(pixels, format="rgb24"), format="yuv420p", dst_colorspace=5, dst_color_range=1
        )
        for pixels in pictures()
    ]


def _draw_graphics() -> Iterator[Pixels]:
    """A growing chart, text and moving flat shapes: sharp edges, no noise."""
    random = np.random.default_rng(4)
    curve = np.cumsum(random.normal(0, 6, SIZE[0])) + SIZE[1] / 2
    for number in range(FRAMES):
        picture = np.full((SIZE[1], SIZE[0], 3), (250, 250, 246), np.uint8)
        cv2.rectangle(picture, (60, 40), (SIZE[0] - 40, SIZE[1] - 60), (90, 90, 90), 1)
        shown = np.stack([np.arange(60, 100 + number * 16), curve[60 : 100 + number * 16]], axis=1).astype(np.int32)
        cv2.polylines(picture, [shown], False, (200, 30, 40), 2, cv2.LINE_AA)
        cv2.circle(picture, (80 + number * 17, 130 + number * 5), 46, (40, 90, 200), -1, cv2.LINE_AA)
        cv2.rectangle(picture, (820 - number * 12, 300), (900 - number * 12, 380), (30, 160, 70), -1)
        for line in range(5):
            text = f"channel {line}: {number * (line + 3) / 7:8.3f} mV"
            cv2.putText(
                picture, text, (90, 90 + line * 26), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (20, 20, 20), 1, cv2.LINE_AA
            )
        yield picture


def _draw_cells() -> Iterator[Pixels]:
    """Dim spots that drift and pulsate on black, in gray, with shot and read noise."""
    random = np.random.default_rng(9)
    places, drifts = random.uniform(0, 1, (60, 2)) * SIZE, random.normal(0, 1.2, (60, 2))
    radii, lights = random.uniform(4, 22, 60), random.uniform(15, 110, 60)
    for number in range(FRAMES):
        light: FloatImage = np.full((SIZE[1], SIZE[0]), 6, np.float32)
        for place, radius, level in zip(places + drifts * number, radii, lights, strict=True):
            spot = np.zeros_like(light)
            cv2.circle(spot, (int(place[0]), int(place[1])), int(radius), float(level), -1)
            light += spot * (1 + 0.3 * np.sin(number / 9 + radius))
        light = cv2.GaussianBlur(light, (0, 0), 3).astype(np.float32, copy=False)
        noisy = random.poisson(np.maximum(light, 0) * 2) / 2 + random.normal(0, 1.5, light.shape)
        yield np.repeat(np.clip(noisy + 0.5, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
