"""Draws a render's overlay: frame number, capture time, elapsed time, free text and scale bar."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
from av import VideoFrame

from service.pipeline.overlay.glyphs import BlendBlock, GlyphCache, TextMask, blend_block, blend_overlay
from service.plan.overlay import Corner, Overlay, ScaleBar
from service.plan.render_plan import FrameRef

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WIDEST_TEXTS = ("#0000000", "0000-00-00 00:00:00.000", "+00:00:00.000")
_MIN_FONT_SIZE = 6
_OTHER_SIDE: dict[Corner, Corner] = {
    "top_left": "top_right",
    "top_right": "top_left",
    "bottom_left": "bottom_right",
    "bottom_right": "bottom_left",
}
_OTHER_EDGE: dict[Corner, Corner] = {
    "top_left": "bottom_left",
    "top_right": "bottom_right",
    "bottom_left": "top_left",
    "bottom_right": "top_right",
}


class OverlayRenderer:
    """Lays the overlay onto pictures of one size. Only its own pixels are touched, and put back after encoding.

    `corner` is the (left, top) of the text's ground, `pad` what is left free at its sides, `glyphs` the font.
    """

    def __init__(self, overlay: Overlay, width: int, height: int, *, full_range: bool = False) -> None:
        self._overlay, self._size = overlay, (width - width % 2, height - height % 2)
        self._full_range = full_range
        self.pad = overlay.size // 6
        self._max_text_width = self._size[0] - 2 * (overlay.size // 4 + self.pad)
        self.glyphs, self._free_text, self._facts_on_one_line = self._fit_font()
        self._text_size = self._block_size()
        self.corner = self._block_position(self._text_size, overlay.position)
        self._scale_bars = [self._scale_bar_block(overlay.bar)] if overlay.bar else []
        self._cached_text: tuple[tuple[str, ...], list[BlendBlock]] = ((), [])

    def draw(self, frame: VideoFrame, ref: FrameRef) -> Callable[[], None]:
        """Write onto the frame (4:2:0 or gray, 8 bits); call the answer when it has been encoded."""
        frame.make_writable()  # the decoder of a source video may still predict from it
        return blend_overlay(frame, self._blocks_for(ref))

    def lines(self, ref: FrameRef) -> tuple[str, ...]:
        facts = frame_texts(self._overlay, ref)
        return (*(("  ".join(facts),) if self._facts_on_one_line and facts else facts), *self._free_text)

    def _blocks_for(self, ref: FrameRef) -> list[BlendBlock]:
        lines = self.lines(ref)
        if lines != self._cached_text[0]:
            self._cached_text = (lines, [self._text_block(lines)])
        return [*self._cached_text[1], *self._scale_bars]

    def _fit_font(self) -> tuple[GlyphCache, tuple[str, ...], bool]:
        """(font, the lines of free text, whether the facts share a line): the largest that fits, the same all along."""
        facts = widest_texts(self._overlay)
        size = self._overlay.size
        while True:
            glyphs = GlyphCache(size)
            text = _wrap_text(self._overlay.text, glyphs, self._max_text_width)
            widest = max((glyphs.width(line) for line in (*facts, *text)), default=0)
            if size <= _MIN_FONT_SIZE or (
                widest <= self._max_text_width and self._text_height(glyphs, facts, text) <= self._size[1]
            ):
                return glyphs, text, glyphs.width("  ".join(facts)) <= self._max_text_width
            size -= 1

    def _text_height(self, glyphs: GlyphCache, facts: tuple[str, ...], text: tuple[str, ...]) -> int:
        joined = glyphs.width("  ".join(facts)) <= self._max_text_width
        return glyphs.height * (len(text) + (min(len(facts), 1) if joined else len(facts)))

    def _block_size(self) -> tuple[int, int]:
        """(width, height) of the text's ground, even, whatever the numbers are."""
        facts = widest_texts(self._overlay)
        lines = [*(["  ".join(facts)] if self._facts_on_one_line else facts), *self._free_text]
        width = max((self.glyphs.width(line) for line in lines if line), default=0)
        return _round_up_to_even(width + 2 * self.pad, self._size[0]), _round_up_to_even(
            self.glyphs.height * sum(map(bool, lines)), self._size[1]
        )

    def _text_block(self, lines: tuple[str, ...]) -> BlendBlock:
        block = _empty_mask(*self._text_size)
        for number, text in enumerate(lines):
            _paste(block, self.glyphs.render_line(text), self.pad, number * self.glyphs.height)
        return blend_block(block, *self.corner, full_range=self._full_range)

    def _scale_bar_block(self, bar: ScaleBar) -> BlendBlock:
        glyphs = self.glyphs
        thick, edge = max(2, self._overlay.size // 5), glyphs.outline
        label = glyphs.render_line(bar.label)
        width = max(bar.pixels + 4 * edge, label.text.shape[1]) + 2 * self.pad
        height = glyphs.height + thick + 4 * edge
        size = _round_up_to_even(width, self._size[0]), _round_up_to_even(height, self._size[1])
        block = _empty_mask(*size)
        _paste(block, label, (size[0] - label.text.shape[1]) // 2, 0)
        left, top = (size[0] - bar.pixels) // 2, glyphs.height + edge
        block.text_and_outline[top - edge : top + thick + edge, max(left - edge, 0) : left + bar.pixels + edge] = 255
        block.text[top : top + thick, left : left + bar.pixels] = 255
        corner = self._block_position(size, self._bar_corner(size[0]))
        return blend_block(block, *corner, full_range=self._full_range)

    def _bar_corner(self, width: int) -> Corner:
        """Beside the text where there is room, across from it where not."""
        beside = _OTHER_SIDE[self._overlay.position]
        return beside if width + self._text_size[0] <= self._size[0] - self._overlay.size else _OTHER_EDGE[beside]

    def _block_position(self, block: tuple[int, int], corner: Corner) -> tuple[int, int]:
        """Even (left, top) of a block, a quarter of a line from the edges where it fits."""
        free = self._size[0] - block[0], self._size[1] - block[1]
        margin = self._overlay.size // 4 // 2 * 2
        left = margin if corner.endswith("left") else free[0] - margin
        top = margin if corner.startswith("top") else free[1] - margin
        return max(min(left, free[0]), 0) // 2 * 2, max(min(top, free[1]), 0) // 2 * 2


def frame_texts(overlay: Overlay, ref: FrameRef) -> tuple[str, ...]:
    """What is written of this frame; dashes where it is not known."""
    facts = []
    if overlay.frame_index:
        facts.append(f"#{ref.index}")
    if overlay.captured_at:
        facts.append(_format_time(ref.captured))
    if overlay.elapsed:
        facts.append(_format_elapsed(ref.elapsed))
    return tuple(facts)


def widest_texts(overlay: Overlay) -> tuple[str, ...]:
    wanted = (overlay.frame_index, overlay.captured_at, overlay.elapsed)
    return tuple(text for text, is_on in zip(_WIDEST_TEXTS, wanted, strict=True) if is_on)


def _format_time(captured: int | None) -> str:
    if captured is None:
        return "----------  --:--:--"
    precision = "milliseconds" if captured % 1_000_000 else "seconds"
    return (EPOCH + timedelta(microseconds=captured)).replace(tzinfo=None).isoformat(" ", precision)


def _format_elapsed(elapsed: int | None) -> str:
    """Hours run on past a day: 100 of them are not four days and a bit to someone who counts hours."""
    if elapsed is None:
        return "+--:--:--"
    milliseconds = abs(elapsed) // 1000
    seconds, rest = divmod(milliseconds, 1000)
    sign = "-" if elapsed < 0 else "+"
    text = f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{rest:03d}" if rest else text


def _wrap_text(text: str, glyphs: GlyphCache, max_width: int) -> tuple[str, ...]:
    lines: list[str] = []
    for word in text.split():
        if lines and glyphs.width(f"{lines[-1]} {word}") <= max_width:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(word)
    return tuple(lines)


def _empty_mask(width: int, height: int) -> TextMask:
    return TextMask(np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8))


def _paste(block: TextMask, part: TextMask, left: int, top: int) -> None:
    for whole, mask in ((block.text, part.text), (block.text_and_outline, part.text_and_outline)):
        place = whole[top : top + part.text.shape[0], left : left + part.text.shape[1]]
        place[:] = mask[: place.shape[0], : place.shape[1]]


def _round_up_to_even(length: int, maximum: int) -> int:
    return min(length + length % 2, maximum)
