"""Measures whether pictures are interlaced: are both fields of a moving picture from the same time?

A field is every other row of a picture: the top one has row 0. `later` fields are those of the next picture.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from av import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.lib.stride_tricks import sliding_window_view

from service.plan.colour import BT709

Luma = np.ndarray[Any, np.dtype[np.float32]]
PairVerdict = Literal["progressive", "top", "bottom"]

# A block, in rows of a field and in columns; how far it is searched, in rows of the picture and in columns.
_ROWS, _COLUMNS = 8, 16
_SEARCH_ROWS, _SEARCH_COLUMNS = 6, 16
# Wider pictures are averaged to about this many columns: noise falls, and fast motion stays within the search.
_WIDTH = 640
_BLOCKS_A_FIELD = 16
# Levels by which a block must differ from the next picture to count as moving.
_MOVING = 4.0
# Where the other field may be, in halves of the way to the next picture: unmoved, later, earlier. Telecined film has
# whole ways.
_WAYS = ((0,), (1, 2), (-1, -2))
# A verdict needs so many blocks, of which so many say the same.
_LEAST_VOTES, _AGREEMENT = 4, 0.8


class Votes(NamedTuple):
    """How many blocks look progressive, interlaced with the top field first, and with the bottom field first."""

    progressive: int
    top: int
    bottom: int

    def verdict(self) -> PairVerdict | None:
        """What nearly all of at least four blocks say."""
        names: tuple[PairVerdict, ...] = ("progressive", "top", "bottom")
        count, name = max(zip(self, names, strict=True))
        return name if count >= _LEAST_VOTES and count >= _AGREEMENT * sum(self) else None

    def plus(self, other: "Votes") -> "Votes":
        return Votes(*map(sum, zip(self, other, strict=True)))


def to_luma(frame: VideoFrame) -> Luma:
    """(height, width) of brightness 0 to 255, height even, width averaged down to about 640."""
    # Any matrix will do for both sides: swscale refuses those that it does not know.
    gray = VideoReformatter().reformat(frame, format="gray", src_colorspace=BT709, dst_colorspace=BT709, threads=1)
    rows = np.frombuffer(memoryview(gray.planes[0]), np.uint8).reshape(gray.height, gray.planes[0].line_size)
    factor = max(1, round(gray.width / _WIDTH))
    columns = gray.width // factor
    inside = rows[: gray.height // 2 * 2, : columns * factor].astype(np.float32)
    luma: Luma = inside.reshape(len(inside), columns, factor).mean(2)
    return luma


def count_votes(picture: Luma, later: Luma) -> Votes:
    """What the blocks of the picture that move sideways say of it, by the picture after it.

    Blocks are judged by where the other field is: unmoved in a progressive picture, on the way to the next picture if
    it is the second field, on the way back to the one before if it is the first. Vertical motion says nothing: between
    rows of one field there is only a guess.
    """
    top, bottom, later_top, later_bottom = picture[::2], picture[1::2], later[::2], later[1::2]
    unmoved, second, first = _places_of_other_field(top, later_top, bottom, 1)
    unmoved_top, second_top, first_top = _places_of_other_field(bottom, later_bottom, top, -1)
    return Votes(unmoved + unmoved_top, second + first_top, first + second_top)


def _places_of_other_field(field: Luma, later: Luma, other: Luma, below: int) -> list[int]:
    """How many blocks have the `other` field unmoved, later than the field, and earlier.

    Its rows are `below` (1 or -1) those of the field, whose motion is known from that of the `later` picture.
    """
    search = min(_SEARCH_ROWS, len(field) // 4), min(_SEARCH_COLUMNS, field.shape[1] // 8)
    between = np.empty((2 * len(field) - 1, field.shape[1]), np.float32)  # the field with the missing rows guessed
    between[::2], between[1::2] = field, (field[:-1] + field[1:]) / 2
    counts = [0, 0, 0]
    for row, column in _moving_blocks(np.abs(later - field), search):
        motion = _block_motion(between, later, (row, column), search)
        if motion is None:
            continue
        shown = other[row : row + _ROWS, column : column + _COLUMNS]
        costs = [
            min(np.abs(_shifted(between, (2 * row + below, column), motion, halves) - shown).mean() for halves in ways)
            for ways in _WAYS
        ]
        best, second_best = sorted(costs)[:2]
        if best < 0.75 * second_best - 0.5:
            counts[costs.index(best)] += 1
    return counts


def _moving_blocks(change: Luma, search: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """(row, column) in the field of the blocks that change most, far enough from the edges."""
    top_margin, side = search[0] // 2 + 1, search[1] + 1
    rows = np.arange(top_margin, change.shape[0] - _ROWS - top_margin, _ROWS)
    columns = np.arange(side, change.shape[1] - _COLUMNS - side, max(4, min(_COLUMNS, change.shape[1] // 20)))
    if not rows.size or not columns.size:
        return
    means = sliding_window_view(change, (_ROWS, _COLUMNS))[rows[:, None], columns[None, :]].mean((2, 3))
    for index in np.argsort(-means, axis=None, kind="stable")[:_BLOCKS_A_FIELD]:
        row, column = divmod(int(index), len(columns))
        if means[row, column] > _MOVING:
            yield int(rows[row]), int(columns[column])


def _block_motion(
    between: Luma, later_top: Luma, place: tuple[int, int], search: tuple[int, int]
) -> tuple[int, int] | None:
    """How far the block moves to the next picture, in (rows of the picture, columns); None if that is not sideways by
    two columns or more, or if the block is not found again."""
    (row, column), (rows, columns) = place, search
    target = later_top[row : row + _ROWS, column : column + _COLUMNS]
    region = between[2 * row - rows : 2 * (row + _ROWS) - 1 + rows, column - columns : column + _COLUMNS + columns]
    candidates = sliding_window_view(region, (2 * _ROWS - 1, _COLUMNS))[:, :, ::2]
    costs = np.abs(candidates - target).mean((2, 3))
    costs += 0.25 * np.abs(np.arange(-rows, rows + 1))[:, None]  # upright edges fit at any height
    down, right = np.unravel_index(int(costs.argmin()), costs.shape)
    vertical, sideways = rows - int(down), columns - int(right)
    found = costs[down, right] <= 0.4 * costs[rows, columns]
    return (vertical, sideways) if found and abs(sideways) >= max(2, 2 * abs(vertical)) else None


def _shifted(between: Luma, place: tuple[int, int], motion: tuple[int, int], halves: int) -> Luma:
    """Every other row of the block at `place` (row, column), as predicted after so many halves of the motion."""
    row, column = place
    rows, columns = ({halves * way // 2, -(-halves * way // 2)} for way in motion)
    blocks = [
        between[row - down : row - down + 2 * _ROWS : 2, column - right : column - right + _COLUMNS]
        for down in sorted(rows)
        for right in sorted(columns)
    ]
    result: Luma = np.mean(blocks, axis=0)
    return result
