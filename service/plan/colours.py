"""Colours by name or as #rrggbb, canonical."""

import re

NAMED: dict[str, str] = {
    "black": "#000000",
    "white": "#ffffff",
    "gray": "#808080",
    "silver": "#c0c0c0",
    "red": "#ff0000",
    "maroon": "#800000",
    "orange": "#ffa500",
    "yellow": "#ffff00",
    "olive": "#808000",
    "lime": "#00ff00",
    "green": "#008000",
    "cyan": "#00ffff",
    "teal": "#008080",
    "blue": "#0000ff",
    "navy": "#000080",
    "magenta": "#ff00ff",
    "purple": "#800080",
}
"""The basic CSS names, and orange, cyan and magenta."""

BLACK = NAMED["black"]
_HEX = re.compile(r"#[0-9a-f]{6}")


def canonical(colour: str) -> str:
    """ "White" and "#FFFFFF" are both "#ffffff". Raises ValueError."""
    lower = colour.lower()
    found = NAMED.get(lower, lower)
    if not _HEX.fullmatch(found):
        raise ValueError(f"a colour is #rrggbb or one of {', '.join(NAMED)}")
    return found


def rgb(colour: str) -> tuple[int, int, int]:
    """Three levels of 0..255 of a canonical colour."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
