"""Draws a render's overlay: frame number, capture time, elapsed time, free text and scale bar."""

from collections.abc import Callable
from dataclasses import dataclass

from av import VideoFrame

from service.clock import from_unix_microseconds
from service.pipeline.overlay.glyphs import BlendBlock, GlyphCache, TextMask, blend_block, blend_overlay, empty_mask
from service.plan.overlay import Corner, Overlay, ScaleBar
from service.plan.render_plan import FrameRef

# Of the frame index, the capture time and the elapsed time.
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


@dataclass(frozen=True, slots=True)
class TextLayout:
    """The font and line breaks of a render: the same for every frame, so that the text does not move."""

    overlay: Overlay
    glyphs: GlyphCache
    free_text: tuple[str, ...]
    facts_share_line: bool

    def lines(self, facts: tuple[str, ...]) -> tuple[str, ...]:
        joined = ("  ".join(facts),) if self.facts_share_line and facts else facts
        return (*joined, *self.free_text)

    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of the widest text."""
        lines = self.lines(_widest_texts(self.overlay))
        return max(map(self.glyphs.width, lines), default=0), self.glyphs.height * len(lines)


def fit_text(overlay: Overlay, max_width: int, max_height: int) -> TextLayout:
    """The largest font, up to the overlay's size, whose text fits into this size in pixels."""
    facts = _widest_texts(overlay)
    for size in range(overlay.size, 0, -1):
        glyphs = GlyphCache(size)
        facts_share_line = glyphs.width("  ".join(facts)) <= max_width
        layout = TextLayout(overlay, glyphs, _wrap_text(overlay.text, glyphs, max_width), facts_share_line)
        width, height = layout.size()
        if size <= _MIN_FONT_SIZE or (width <= max_width and height <= max_height):
            break
    return layout


class OverlayRenderer:
    """Draws a render's overlay on frames of one size.

    `corner` is the (left, top) of the text's background, `pad` its margin left and right of the text, in pixels.
    """

    def __init__(self, overlay: Overlay, width: int, height: int, *, full_range: bool = False) -> None:
        self._overlay, self._size = overlay, (width - width % 2, height - height % 2)
        self._full_range = full_range
        self.pad = overlay.size // 6
        self._layout = fit_text(overlay, self._size[0] - 2 * (overlay.size // 4 + self.pad), self._size[1])
        text_width, text_height = self._layout.size()
        self._text_size = self._even_size(text_width + 2 * self.pad, text_height)
        self.corner = self._block_position(self._text_size, overlay.position)
        self._scale_bars = [self._scale_bar_block(overlay.bar)] if overlay.bar else []
        self._cached_text: tuple[tuple[str, ...], list[BlendBlock]] = ((), [])

    @property
    def glyphs(self) -> GlyphCache:
        return self._layout.glyphs

    def draw(self, frame: VideoFrame, ref: FrameRef) -> Callable[[], None]:
        """Draw on the frame (4:2:0 or gray, 8 bits); returns a function that restores the covered samples."""
        frame.make_writable()  # the decoder of a source video may still predict from it
        lines = self.lines(ref)
        if lines != self._cached_text[0]:
            self._cached_text = (lines, [self._text_block(lines)])
        return blend_overlay(frame, [*self._cached_text[1], *self._scale_bars])

    def lines(self, ref: FrameRef) -> tuple[str, ...]:
        return self._layout.lines(frame_texts(self._overlay, ref))

    def _text_block(self, lines: tuple[str, ...]) -> BlendBlock:
        block = empty_mask(*self._text_size)
        for number, text in enumerate(lines):
            _paste(block, self.glyphs.render_line(text), self.pad, number * self.glyphs.height)
        return blend_block(block, *self.corner, full_range=self._full_range)

    def _scale_bar_block(self, bar: ScaleBar) -> BlendBlock:
        """The bar under its label: beside the text if there is room, else at the opposite edge."""
        glyphs = self.glyphs
        thickness, edge = max(2, self._overlay.size // 5), glyphs.outline
        label = glyphs.render_line(bar.label)
        label_width = label.text.shape[1]
        size = self._even_size(
            max(bar.pixels + 4 * edge, label_width) + 2 * self.pad, glyphs.height + thickness + 4 * edge
        )
        block = empty_mask(*size)
        _paste(block, label, (size[0] - label_width) // 2, 0)
        left, top = (size[0] - bar.pixels) // 2, glyphs.height + edge
        outline = slice(top - edge, top + thickness + edge), slice(max(left - edge, 0), left + bar.pixels + edge)
        block.text_and_outline[outline] = 255
        block.text[top : top + thickness, left : left + bar.pixels] = 255
        beside = _OTHER_SIDE[self._overlay.position]
        has_room = size[0] + self._text_size[0] <= self._size[0] - self._overlay.size
        corner = self._block_position(size, beside if has_room else _OTHER_EDGE[beside])
        return blend_block(block, *corner, full_range=self._full_range)

    def _even_size(self, width: int, height: int) -> tuple[int, int]:
        """Rounded up to even, at most the frame's size."""
        return min(width + width % 2, self._size[0]), min(height + height % 2, self._size[1])

    def _block_position(self, block: tuple[int, int], corner: Corner) -> tuple[int, int]:
        """Even (left, top) of a block of this (width, height), a quarter of a line from the edges if it fits."""
        free = self._size[0] - block[0], self._size[1] - block[1]
        margin = self._overlay.size // 4 // 2 * 2
        left = margin if corner.endswith("left") else free[0] - margin
        top = margin if corner.startswith("top") else free[1] - margin
        return max(min(left, free[0]), 0) // 2 * 2, max(min(top, free[1]), 0) // 2 * 2


def frame_texts(overlay: Overlay, ref: FrameRef) -> tuple[str, ...]:
    """The requested facts about this frame; dashes for an unknown time."""
    facts = []
    if overlay.frame_index:
        facts.append(f"#{ref.index}")
    if overlay.captured_at:
        facts.append(_format_time(ref.captured))
    if overlay.elapsed:
        facts.append(_format_elapsed(ref.elapsed))
    return tuple(facts)


def _widest_texts(overlay: Overlay) -> tuple[str, ...]:
    """The widest texts that `frame_texts` can return for this overlay."""
    requested = (overlay.frame_index, overlay.captured_at, overlay.elapsed)
    return tuple(text for text, is_on in zip(_WIDEST_TEXTS, requested, strict=True) if is_on)


def _format_time(captured: int | None) -> str:
    if captured is None:
        return "----------  --:--:--"
    precision = "milliseconds" if captured % 1_000_000 else "seconds"
    return from_unix_microseconds(captured).replace(tzinfo=None).isoformat(" ", precision)


def _format_elapsed(elapsed: int | None) -> str:
    """[+-]hh:mm:ss, with milliseconds unless they are 0; hours continue past 24."""
    if elapsed is None:
        return "+--:--:--"
    milliseconds = abs(elapsed) // 1000
    seconds, rest = divmod(milliseconds, 1000)
    sign = "-" if elapsed < 0 else "+"
    text = f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{rest:03d}" if rest else text


def _wrap_text(text: str, glyphs: GlyphCache, max_width: int) -> tuple[str, ...]:
    """Break between words; a word wider than `max_width` pixels gets a line of its own."""
    lines: list[str] = []
    for word in text.split():
        if lines and glyphs.width(f"{lines[-1]} {word}") <= max_width:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(word)
    return tuple(lines)


def _paste(block: TextMask, part: TextMask, left: int, top: int) -> None:
    """Copy `part` into the block, as far as it is inside."""
    for whole, mask in zip(block, part, strict=True):
        region = whole[top : top + mask.shape[0], left : left + mask.shape[1]]
        region[:] = mask[: region.shape[0], : region.shape[1]]
