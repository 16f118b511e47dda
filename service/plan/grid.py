"""Grids: pictures made of the frames of several datasets, each in a panel of its own.

Panels are filled row by row, in the order of the datasets. The first dataset leads: each of its frames makes an output
frame, and the others are shown in step with it. Sizes are (width, height) in pixels.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from service.plan.formats import SourceKind
from service.plan.overlay import Overlay
from service.plan.tone import Tone

MAX_PANELS = 16

# What brings two frames together: the position in their datasets, or the nearest capture time.
Align = Literal["index", "captured"]


@dataclass(frozen=True, slots=True)
class GridSpec:
    """The grid of a request. A frame that is further than `within_seconds` from the first dataset's is not shown."""

    datasets: tuple[UUID, ...]
    columns: int | None = None
    align: Align = "index"
    within_seconds: float | None = None
    labels: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """(columns, rows): about as many of each, unless the request has the columns."""
        count = len(self.datasets)
        columns = min(self.columns or math.isqrt(count - 1) + 1, count)
        return columns, -(-count // columns)


@dataclass(frozen=True, slots=True)
class Panel:
    """What differs from panel to panel: `label` is drawn onto it. `square`: its pixels are shown in their shape, which
    the scan has noted."""

    kind: SourceKind
    tone: Tone | None = None
    label: Overlay | None = None
    square: bool = True


@dataclass(frozen=True, slots=True)
class Grid:
    """`width` x `height` is the size of each panel; both are even. `within_us` is in microseconds, None: any."""

    columns: int
    width: int
    height: int
    panels: tuple[Panel, ...]
    align: Align = "index"
    within_us: int | None = None

    def place(self, panel: int) -> tuple[int, int]:
        """(left, top) of this panel in the picture."""
        row, column = divmod(panel, self.columns)
        return column * self.width, row * self.height

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Grid":
        panels = tuple(
            Panel(
                each["kind"],
                Tone.from_json(each["tone"]) if each["tone"] else None,
                Overlay.from_json(each["label"]) if each["label"] else None,
                each["square"],
            )
            for each in document["panels"]
        )
        return cls(**document | {"panels": panels})
