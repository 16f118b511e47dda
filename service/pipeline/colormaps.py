"""Colormaps as arrays: 256 steps from the lowest level to the highest."""

import base64
from typing import Any

import numpy as np

from service.pipeline.colormap_tables import COLORMAP_TABLES
from service.plan.tone import Colormap

LookupTable = np.ndarray[Any, np.dtype[np.uint8]]
_RAMPS: dict[str, tuple[int, int, int]] = {
    "gray": (1, 1, 1),
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "cyan": (0, 1, 1),
    "magenta": (1, 0, 1),
    "yellow": (1, 1, 0),
}
"""Black to one full colour, as microscopists show fluorescence channels."""


def colormap(name: Colormap) -> LookupTable:
    """(256, 3) of R'G'B'."""
    if name in _RAMPS:
        ramp: LookupTable = np.arange(256, dtype=np.uint8)[:, None] * np.array(_RAMPS[name], np.uint8)
        return ramp
    return np.frombuffer(base64.b64decode(COLORMAP_TABLES[name]), np.uint8).reshape(256, 3)
