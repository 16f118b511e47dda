"""What a render makes besides its video: asked for by name, made of small pieces that lie beside each segment."""

from collections.abc import Iterable
from typing import Literal

Output = Literal["preview_strip", "keogram"]

PIECES: dict[Output, str] = {"preview_strip": "preview.jpg", "keogram": "keogram.png"}
"""The name of a segment's piece, and of the picture made of all pieces."""


def canonical(wanted: Iterable[Output]) -> tuple[Output, ...]:
    """Each once, in one order: two requests for the same compare equal."""
    asked = set(wanted)
    return tuple(output for output in PIECES if output in asked)
