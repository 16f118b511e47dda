"""Light text on a dark ground, blended onto 4:2:0 or gray planes of 8 bits; chroma only fades to neutral."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from av import VideoFrame

from service.pipeline.glyphs import TextMask
from service.pipeline.planes import Plane, plane_view

_LIMITED, _FULL, _NEUTRAL = (16, 235), (0, 255), 128
BACKGROUND_OPACITY = 144
"""How much of the picture the ground hides, of 255."""

Weights = np.ndarray[Any, np.dtype[np.uint16]]


@dataclass(frozen=True, slots=True)
class BlendBlock:
    """A block at even (`left`, `top`): per plane, what is left of a sample (0 to 255) and what is added (times 255)."""

    left: int
    top: int
    sample_weights: tuple[Weights, Weights]
    offsets: tuple[Weights, Weights]


def blend_block(mask: TextMask, left: int, top: int, *, full_range: bool = False) -> BlendBlock:
    """`block` has even sides. Out = (sample * (255 - dark) + black * dark + (white - black) * light) / 255, where light
    <= dark; black and white are 16 and 235, or 0 and 255 in full range."""
    black, white = _FULL if full_range else _LIMITED
    outline = mask.text_and_outline.astype(np.uint16)
    dark = 255 - ((255 - outline) * (255 - BACKGROUND_OPACITY) + 127) // 255
    light = np.minimum(mask.text, dark).astype(np.uint16)
    rows = dark[::2] + dark[1::2]
    half = (rows[:, ::2] + rows[:, 1::2] + 2) // 4
    luma = black * dark + (white - black) * light + 127
    return BlendBlock(left, top, (255 - dark, 255 - half), (luma, _NEUTRAL * half + 127))


def blend_overlay(frame: VideoFrame, blocks: list[BlendBlock]) -> Callable[[], None]:
    """Blend onto the frame; the answer puts back what was there."""
    before: list[tuple[Plane, Plane]] = []
    for ink in blocks:
        for number, plane in enumerate(frame.planes):
            step = 2 if number else 1
            keep, add = ink.sample_weights[step - 1], ink.offsets[step - 1]
            y, x = ink.top // step, ink.left // step
            region = plane_view(plane)[y : y + keep.shape[0], x : x + keep.shape[1]]
            before.append((region, region.copy()))
            np.copyto(region, (region * keep + add) // 255, casting="unsafe")

    def restore() -> None:
        for region, samples in reversed(before):
            region[:] = samples

    return restore
