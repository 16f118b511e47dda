"""Rasterizes text to masks and blends them onto 8-bit gray or 4:2:0 frames."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from av import VideoFrame
from PIL import Image, ImageDraw, ImageFont

from service.pipeline.orientation import Plane
from service.pipeline.planes import plane_view

Mask = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True)
class TextMask:
    """`light` is where the text is, `dark` where it or its outline is; both (height, width)."""

    text: Mask
    text_and_outline: Mask


class GlyphCache:
    """Text of one size, outlined. A character takes the same width wherever it stands, so numbers do not dance."""

    def __init__(self, size: int) -> None:
        self._font = ImageFont.load_default(size)
        assert isinstance(self._font, ImageFont.FreeTypeFont)
        self._ascent, self._descent = self._font.getmetrics()
        self.outline = max(1, round(size / 12))
        self.height = self._ascent + self._descent + 2 * self.outline
        self._glyphs: dict[str, TextMask] = {}
        self._advances: dict[str, int] = {}

    def width(self, text: str) -> int:
        return sum(self._advance(character) for character in text) + 2 * self.outline

    def render_line(self, text: str) -> TextMask:
        """The text in a strip of `height` x `width(text)`."""
        shape = (self.height, self.width(text))
        strip, left = TextMask(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)), 0
        for character in text:
            glyph = self._glyph(character)
            for whole, part in ((strip.text, glyph.text), (strip.text_and_outline, glyph.text_and_outline)):
                place = whole[:, left : left + part.shape[1]]
                np.maximum(place, part[:, : place.shape[1]], out=place)
            left += self._advance(character)
        return strip

    def _advance(self, character: str) -> int:
        if character not in self._advances:
            self._advances[character] = round(self._font.getlength("u" if character == "µ" else character))
        return self._advances[character]

    def _glyph(self, character: str) -> TextMask:
        if character not in self._glyphs:
            self._glyphs[character] = self._draw_mu() if character == "µ" else self._draw(character)
        return self._glyphs[character]

    def _draw(self, character: str) -> TextMask:
        shape = (self._advance(character) + 2 * self.outline, self.height)
        masks = []
        for stroke in (0, self.outline):
            image = Image.new("L", shape)
            at = (self.outline, self.outline)
            ImageDraw.Draw(image).text(at, character, fill=255, font=self._font, stroke_width=stroke)
            masks.append(np.asarray(image, np.uint8))
        return TextMask(*masks)

    def _draw_mu(self) -> TextMask:
        """The font has no µ: its u, with the left stem drawn down."""
        u = self._draw("u")
        base = self._ascent + self.outline
        row = u.text[base - self._ascent // 4]
        left = int(np.argmax(row > 127))
        right = left + int(np.argmin(row[left:] > 127))
        foot = base + round(self._descent * 0.8)
        light, dark = u.text.copy(), u.text_and_outline.copy()
        light[base - self._ascent // 4 : foot, left:right] = 255
        edge = self.outline
        dark[base - self._ascent // 4 : foot + edge, max(left - edge, 0) : right + edge] = 255
        return TextMask(light, dark)


_LIMITED, _FULL, _NEUTRAL = (16, 235), (0, 255), 128
# How much of the picture the ground hides, of 255.
BACKGROUND_OPACITY = 144

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
