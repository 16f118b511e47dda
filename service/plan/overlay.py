"""What is written onto the pictures. Sizes are in pixels of the output."""

from dataclasses import dataclass
from typing import Any, Literal

from service.errors import invalid_field

Corner = Literal["top_left", "top_right", "bottom_left", "bottom_right"]

CHARACTERS = frozenset(
    chr(code)
    for code in (
        *range(0x20, 0x7F),
        *(0xA9, 0xAB, 0xB0, 0xB1, 0xB4, 0xB5, 0xB7, 0xBB),
        *(0x2018, 0x2019, 0x201C, 0x201D, 0x2026, 0x2039, 0x203A, 0x2044, 0x2122),
    )
)
"""What the overlay's font can draw: Pillow's own, and a µ made of its u."""


@dataclass(frozen=True, slots=True)
class ScaleBar:
    pixels: int
    label: str


@dataclass(frozen=True, slots=True)
class Overlay:
    """Text in one corner, the scale bar in the one beside it; `size` is the height of a line of text."""

    frame_index: bool
    captured_at: bool
    elapsed: bool
    text: str
    bar: ScaleBar | None
    position: Corner
    size: int

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Overlay":
        bar = document["bar"]
        return cls(**document | {"bar": ScaleBar(**bar) if bar else None})


def text_size(height: int) -> int:
    """A twenty-eighth of the picture's height, at least 12 pixels: read with ease in a window as at full size."""
    return max(12, round(height / 28))


def require_drawable(text: str) -> None:
    """Raises Invalid for the first character that the font lacks."""
    for place, character in enumerate(text, 1):
        if character not in CHARACTERS:
            detail = f"character {place} cannot be drawn: the overlay has ASCII, © ° ± µ · … ™ and typographic quotes"
            raise invalid_field("#/overlay/text", detail, "unsupported_character")
