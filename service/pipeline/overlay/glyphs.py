"""Rasterizes text to masks and blends them onto 8-bit gray or 4:2:0 frames."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from av import VideoFrame
from PIL import Image, ImageDraw, ImageFont

from service.pipeline.orientation import Plane
from service.pipeline.planes import plane_view

Mask = np.ndarray[Any, np.dtype[np.uint8]]


class TextMask(NamedTuple):
    """Coverage from 0 to 255, (height, width): of the text, and of the text with its outline."""

    text: Mask
    text_and_outline: Mask


def empty_mask(width: int, height: int) -> TextMask:
    return TextMask(np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8))


class GlyphCache:
    """Renders outlined text of one size, given in pixels.

    A character always has the same width (there is no kerning), so that changing digits do not move.
    """

    def __init__(self, size: int) -> None:
        self._font = ImageFont.load_default(size)
        assert isinstance(self._font, ImageFont.FreeTypeFont)
        self._ascent, self._descent = self._font.getmetrics()
        self.outline = max(1, round(size / 12))
        self.height = self._ascent + self._descent + 2 * self.outline
        self._glyphs: dict[str, TextMask] = {}
        self._advances: dict[str, int] = {}

    def width(self, text: str) -> int:
        """Of a line, in pixels, with its outline."""
        return sum(self._advance(character) for character in text) + 2 * self.outline

    def render_line(self, text: str) -> TextMask:
        """A mask of (`height`, `width(text)`)."""
        line, left = empty_mask(self.width(text), self.height), 0
        for character in text:
            if character not in self._glyphs:
                self._glyphs[character] = self._draw_mu() if character == "µ" else self._draw(character)
            glyph = self._glyphs[character]
            for whole, part in zip(line, glyph, strict=True):
                region = whole[:, left : left + part.shape[1]]
                np.maximum(region, part[:, : region.shape[1]], out=region)
            left += self._advance(character)
        return line

    def _advance(self, character: str) -> int:
        if character not in self._advances:
            self._advances[character] = round(self._font.getlength("u" if character == "µ" else character))
        return self._advances[character]

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
        """The font has no µ: draw its u with a longer left stem."""
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


# Levels of black and white.
_LIMITED, _FULL, _NEUTRAL = (16, 235), (0, 255), 128
# How opaque the background of the text is, from 0 to 255.
BACKGROUND_OPACITY = 144

Weights = np.ndarray[Any, np.dtype[np.uint16]]


class PlaneBlend(NamedTuple):
    """(height, width) of uint16: a sample becomes (sample * weight + offset) / 255."""

    weight: Weights
    offset: Weights


@dataclass(frozen=True, slots=True)
class BlendBlock:
    """What is blended onto the luma plane at (`left`, `top`), which are even, and onto the chroma planes at half."""

    left: int
    top: int
    luma: PlaneBlend
    chroma: PlaneBlend


def blend_block(mask: TextMask, left: int, top: int, *, full_range: bool = False) -> BlendBlock:
    """White text with a black outline on a translucent black background; `mask` has even sides.

    Luma becomes (sample * (255 - dark) + black * dark + (white - black) * light) / 255, where light <= dark.
    """
    black, white = _FULL if full_range else _LIMITED
    outline = mask.text_and_outline.astype(np.uint16)
    dark = 255 - ((255 - outline) * (255 - BACKGROUND_OPACITY) + 127) // 255
    light = np.minimum(mask.text, dark).astype(np.uint16)
    rows = dark[::2] + dark[1::2]
    chroma_dark = (rows[:, ::2] + rows[:, 1::2] + 2) // 4
    luma = PlaneBlend(255 - dark, black * dark + (white - black) * light + 127)
    return BlendBlock(left, top, luma, PlaneBlend(255 - chroma_dark, _NEUTRAL * chroma_dark + 127))


def blend_overlay(frame: VideoFrame, blocks: list[BlendBlock]) -> Callable[[], None]:
    """Blend onto the frame, 4:2:0 or gray of 8 bits; returns a function that restores the covered samples."""
    covered: list[tuple[Plane, Plane]] = []
    for block in blocks:
        for number, plane in enumerate(frame.planes):
            step, (weight, offset) = (2, block.chroma) if number else (1, block.luma)
            y, x = block.top // step, block.left // step
            region = plane_view(plane)[y : y + weight.shape[0], x : x + weight.shape[1]]
            covered.append((region, region.copy()))
            np.copyto(region, (region * weight + offset) // 255, casting="unsafe")

    def restore() -> None:
        for region, samples in reversed(covered):
            region[:] = samples

    return restore
