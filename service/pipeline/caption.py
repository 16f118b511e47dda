"""The overlay of a render: what each picture says, and where."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
from av import VideoFrame

from service.pipeline.glyphs import Glyphs, Inked
from service.pipeline.ink import Ink, inked, laid_on
from service.plan.overlay import Corner, Overlay, ScaleBar
from service.plan.render_plan import FrameRef

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WIDEST = ("#0000000", "0000-00-00 00:00:00.000", "+00:00:00.000")
_SMALLEST = 6
_BESIDE: dict[Corner, Corner] = {
    "top_left": "top_right",
    "top_right": "top_left",
    "bottom_left": "bottom_right",
    "bottom_right": "bottom_left",
}
_ACROSS: dict[Corner, Corner] = {
    "top_left": "bottom_left",
    "top_right": "bottom_right",
    "bottom_left": "top_left",
    "bottom_right": "top_right",
}


class Caption:
    """Lays the overlay onto pictures of one size. Only its own pixels are touched, and put back after encoding.

    `corner` is the (left, top) of the text's ground, `pad` what is left free at its sides, `glyphs` the font.
    """

    def __init__(self, overlay: Overlay, width: int, height: int, *, full_range: bool = False) -> None:
        self._overlay, self._size = overlay, (width - width % 2, height - height % 2)
        self._full_range = full_range
        self.pad = overlay.size // 6
        self._room = self._size[0] - 2 * (overlay.size // 4 + self.pad)
        self.glyphs, self._fixed, self._one_line = self._fitted()
        self._block = self._block_size()
        self.corner = self._corner(self._block, overlay.position)
        self._bar = [self._bar_ink(overlay.bar)] if overlay.bar else []
        self._drawn: tuple[tuple[str, ...], list[Ink]] = ((), [])

    def laid_on(self, frame: VideoFrame, ref: FrameRef) -> Callable[[], None]:
        """Write onto the frame (4:2:0 or gray, 8 bits); call the answer when it has been encoded."""
        frame.make_writable()  # the decoder of a source video may still predict from it
        return laid_on(frame, self._inks(ref))

    def lines(self, ref: FrameRef) -> tuple[str, ...]:
        facts = facts_of(self._overlay, ref)
        return (*(("  ".join(facts),) if self._one_line and facts else facts), *self._fixed)

    def _inks(self, ref: FrameRef) -> list[Ink]:
        lines = self.lines(ref)
        if lines != self._drawn[0]:
            self._drawn = (lines, [self._text_ink(lines)])
        return [*self._drawn[1], *self._bar]

    def _fitted(self) -> tuple[Glyphs, tuple[str, ...], bool]:
        """(font, the lines of free text, whether the facts share a line): the largest that fits, the same all along."""
        facts = widest_of(self._overlay)
        size = self._overlay.size
        while True:
            glyphs = Glyphs(size)
            text = _wrapped(self._overlay.text, glyphs, self._room)
            widest = max((glyphs.width(line) for line in (*facts, *text)), default=0)
            if size <= _SMALLEST or (widest <= self._room and self._stacked(glyphs, facts, text) <= self._size[1]):
                return glyphs, text, glyphs.width("  ".join(facts)) <= self._room
            size -= 1

    def _stacked(self, glyphs: Glyphs, facts: tuple[str, ...], text: tuple[str, ...]) -> int:
        joined = glyphs.width("  ".join(facts)) <= self._room
        return glyphs.height * (len(text) + (min(len(facts), 1) if joined else len(facts)))

    def _block_size(self) -> tuple[int, int]:
        """(width, height) of the text's ground, even, whatever the numbers are."""
        facts = widest_of(self._overlay)
        lines = [*(["  ".join(facts)] if self._one_line else facts), *self._fixed]
        width = max((self.glyphs.width(line) for line in lines if line), default=0)
        return _even(width + 2 * self.pad, self._size[0]), _even(
            self.glyphs.height * sum(map(bool, lines)), self._size[1]
        )

    def _text_ink(self, lines: tuple[str, ...]) -> Ink:
        block = _empty(*self._block)
        for number, text in enumerate(lines):
            _paste(block, self.glyphs.line(text), self.pad, number * self.glyphs.height)
        return inked(block, *self.corner, full_range=self._full_range)

    def _bar_ink(self, bar: ScaleBar) -> Ink:
        glyphs = self.glyphs
        thick, edge = max(2, self._overlay.size // 5), glyphs.outline
        label = glyphs.line(bar.label)
        width = max(bar.pixels + 4 * edge, label.light.shape[1]) + 2 * self.pad
        height = glyphs.height + thick + 4 * edge
        size = _even(width, self._size[0]), _even(height, self._size[1])
        block = _empty(*size)
        _paste(block, label, (size[0] - label.light.shape[1]) // 2, 0)
        left, top = (size[0] - bar.pixels) // 2, glyphs.height + edge
        block.dark[top - edge : top + thick + edge, max(left - edge, 0) : left + bar.pixels + edge] = 255
        block.light[top : top + thick, left : left + bar.pixels] = 255
        corner = self._corner(size, self._bar_corner(size[0]))
        return inked(block, *corner, full_range=self._full_range)

    def _bar_corner(self, width: int) -> Corner:
        """Beside the text where there is room, across from it where not."""
        beside = _BESIDE[self._overlay.position]
        return beside if width + self._block[0] <= self._size[0] - self._overlay.size else _ACROSS[beside]

    def _corner(self, block: tuple[int, int], corner: Corner) -> tuple[int, int]:
        """Even (left, top) of a block, a quarter of a line from the edges where it fits."""
        free = self._size[0] - block[0], self._size[1] - block[1]
        margin = self._overlay.size // 4 // 2 * 2
        left = margin if corner.endswith("left") else free[0] - margin
        top = margin if corner.startswith("top") else free[1] - margin
        return max(min(left, free[0]), 0) // 2 * 2, max(min(top, free[1]), 0) // 2 * 2


def facts_of(overlay: Overlay, ref: FrameRef) -> tuple[str, ...]:
    """What is written of this frame; dashes where it is not known."""
    facts = []
    if overlay.frame_index:
        facts.append(f"#{ref.index}")
    if overlay.captured_at:
        facts.append(_moment(ref.captured))
    if overlay.elapsed:
        facts.append(_span(ref.elapsed))
    return tuple(facts)


def widest_of(overlay: Overlay) -> tuple[str, ...]:
    wanted = (overlay.frame_index, overlay.captured_at, overlay.elapsed)
    return tuple(text for text, is_on in zip(_WIDEST, wanted, strict=True) if is_on)


def _moment(captured: int | None) -> str:
    if captured is None:
        return "----------  --:--:--"
    precision = "milliseconds" if captured % 1_000_000 else "seconds"
    return (EPOCH + timedelta(microseconds=captured)).replace(tzinfo=None).isoformat(" ", precision)


def _span(elapsed: int | None) -> str:
    """Hours run on past a day: 100 of them are not four days and a bit to someone who counts hours."""
    if elapsed is None:
        return "+--:--:--"
    milliseconds = abs(elapsed) // 1000
    seconds, rest = divmod(milliseconds, 1000)
    sign = "-" if elapsed < 0 else "+"
    text = f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{rest:03d}" if rest else text


def _wrapped(text: str, glyphs: Glyphs, room: int) -> tuple[str, ...]:
    lines: list[str] = []
    for word in text.split():
        if lines and glyphs.width(f"{lines[-1]} {word}") <= room:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(word)
    return tuple(lines)


def _empty(width: int, height: int) -> Inked:
    return Inked(np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8))


def _paste(block: Inked, part: Inked, left: int, top: int) -> None:
    for whole, mask in ((block.light, part.light), (block.dark, part.dark)):
        place = whole[top : top + part.light.shape[0], left : left + part.light.shape[1]]
        place[:] = mask[: place.shape[0], : place.shape[1]]


def _even(length: int, most: int) -> int:
    return min(length + length % 2, most)
