"""The middle columns of all pictures, side by side: a whole night or a whole growth at one glance."""

import io

import numpy as np
from PIL import Image

MAX_KEOGRAM_COLUMNS = 16_384
"""Beyond, neighbouring columns are averaged into one: browsers refuse wider pictures."""


class Keogram:
    """One column for each of `frames` pictures; memory is bounded by MOST_COLUMNS, not by the frames."""

    def __init__(self, frames: int, height: int) -> None:
        self._frames, self._width = frames, min(frames, MAX_KEOGRAM_COLUMNS)
        self._sums = np.zeros((self._width, height, 3), np.uint32)
        self._counts = np.zeros(self._width, np.uint32)
        self._next = 0

    def add(self, piece: bytes) -> None:
        """A segment's columns, in order."""
        with Image.open(io.BytesIO(piece)) as strip:
            columns = np.asarray(strip.convert("RGB")).transpose(1, 0, 2)
        places = np.arange(self._next, self._next + len(columns)) * self._width // self._frames
        np.add.at(self._sums, places, columns)
        np.add.at(self._counts, places, 1)
        self._next += len(columns)

    def finish(self) -> bytes:
        """PNG, rounded to the nearest level."""
        counts = np.maximum(self._counts, 1)[:, None, None]
        pixels = ((self._sums + counts // 2) // counts).astype(np.uint8).transpose(1, 0, 2)
        out = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG")
        return out.getvalue()
